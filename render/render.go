// Package render turns a collector into the objects that run it. It is pure: the same collector and options give the same
// objects, and nothing is read but the arguments.
package render

import (
	"fmt"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// Options are what the operator's own configuration adds to every collector.
type Options struct {
	// Image of collectors whose spec has none.
	Image string
	// Env are variables, such as HTTP_PROXY, that every collector's container gets unless its spec sets them.
	Env map[string]string
	// AnnotationsFilter and LabelsFilter match the names of annotations and labels of a collector that are not copied to its
	// objects.
	AnnotationsFilter []*regexp.Regexp
	LabelsFilter      []*regexp.Regexp
	// AllocatorURL is where collectors reach the allocator, without a slash at its end: http://otelier.otelier-system.svc:80. Only those
	// that ask for allocation need it.
	AllocatorURL string
}

// Result is everything that a collector gives rise to.
type Result struct {
	// Objects in the order in which they are applied. Each is exactly what the API server prints back of it, up to fields that it
	// adds: see toUnstructured.
	Objects []*unstructured.Unstructured
	// Warnings are about things in the configuration that are probably not meant; each begins with the field's path.
	Warnings []string
}

// Collector renders c. Objects have no owner references: they need c's UID, and are added where it is known.
//
// An error is a *crds.FieldError: the configuration can't be parsed, or no collector could start with it.
func Collector(c *crds.Collector, o Options) (*Result, error) {
	in, err := newInput(c, o)
	if err != nil {
		return nil, err
	}
	var objects []any
	if c.Spec.ServiceAccount == "" {
		objects = append(objects, in.serviceAccount())
	}
	objects = append(objects, in.configMap())
	if c.Spec.Mode != crds.ModeSidecar {
		for _, s := range in.services() {
			objects = append(objects, s)
		}
		objects = append(objects, in.workload())
		if c.Spec.Mode != crds.ModeDaemonSet {
			objects = append(objects, in.disruptionBudget())
		}
	}
	out := &Result{Warnings: in.warnings}
	for _, o := range objects {
		u, err := toUnstructured(o)
		if err != nil {
			return nil, err
		}
		out.Objects = append(out.Objects, u)
	}
	return out, nil
}

// input is a collector with everything worked out that more than one object needs.
type input struct {
	*crds.Collector
	options  Options
	image    string // of the collector's container
	version  string // the image's tag
	config   string // the text of collector.yaml
	hash     string // hex SHA-256 of config
	doc      *document
	ports    openPorts
	warnings []string

	allocation *crds.Allocation // nil when targets are not shared out
	receivers  []receiver       // that targets are shared out to
}

func newInput(c *crds.Collector, o Options) (*input, error) {
	c = withDefaults(c)
	in := &input{Collector: c, options: o, image: c.Spec.Image}
	if in.image == "" {
		in.image = o.Image
	}
	in.version = imageVersion(in.image)
	doc, err := parseConfig(c.Spec.Config)
	if err != nil {
		return nil, err
	}
	dropped := droppedNulls(c)
	if !in.completedByArgs() {
		if err := doc.check(); err != nil {
			return nil, withDropped(err, dropped)
		}
	}
	for _, path := range dropped {
		in.warnings = append(in.warnings, path+": null in the manifest, and dropped by kubectl; write {}, or apply with --server-side")
	}
	in.doc = doc
	in.ports = doc.openPorts()
	doc.applyDefaults()
	if err := in.allocate(); err != nil {
		return nil, withDropped(err, dropped)
	}
	if in.config, err = doc.print(); err != nil {
		return nil, err
	}
	in.hash = sha256Hex(in.config)
	in.warnings = slices.Concat(in.warnings, doc.warnings, doc.unknownSections(), in.ports.warnings, in.specWarnings())
	return in, nil
}

// completedByArgs tells whether the configuration is not all that the collector reads.
func (in *input) completedByArgs() bool {
	_, ok := in.Spec.Args["set"]
	return ok
}

// withDefaults fills in what the CRD would have, for manifests that no API server has seen.
func withDefaults(c *crds.Collector) *crds.Collector {
	out := *c
	if out.Spec.Mode == "" {
		out.Spec.Mode = crds.ModeDeployment
	}
	return &out
}

// maxStatefulSetName leaves room in a label for "-" and the hash of a revision (k8s.io/kubernetes/pkg/controller/history,
// ControllerRevisionName).
const maxStatefulSetName = 52

// specWarnings are about fields that lose against what the operator has to set, and about annotations that it does not know.
func (in *input) specWarnings() []string {
	out := in.UnknownAnnotations()
	if _, ok := in.Spec.Args["config"]; ok {
		out = append(out, "spec.args.config: ignored, the operator sets --config itself")
	}
	if name := crds.WorkloadName(in.Name); in.Spec.Mode == crds.ModeStatefulSet && len(name) > maxStatefulSetName {
		out = append(out, fmt.Sprintf("metadata.name: too long for a StatefulSet to make pods: %s has %d characters, at most %d leave room for its "+
			"controller-revision-hash label", name, len(name), maxStatefulSetName))
	}
	if in.Spec.SessionAffinityConfig != nil && !in.hasAffinity() {
		out = append(out, "spec.sessionAffinityConfig: ignored, spec.sessionAffinity is not ClientIP")
	}
	if in.Spec.Mode == crds.ModeDaemonSet && len(in.Spec.TopologySpreadConstraints) > 0 {
		out = append(out, "spec.topologySpreadConstraints: ignored, a DaemonSet has a pod on every node that it may run on")
	}
	return out
}
