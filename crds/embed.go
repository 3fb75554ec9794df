package crds

import (
	"bytes"
	_ "embed" // of the manifests
	"fmt"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/validation"
)

//go:embed opentelemetrycollectors.yaml
var collectorCRD []byte

//go:embed install.yaml.tmpl
var installTemplate string

// YAML is the CustomResourceDefinitions as one YAML stream.
func YAML() []byte { return bytes.Clone(collectorCRD) }

// InstallOptions are what an installation can be told.
type InstallOptions struct {
	// Namespace to make and to run in.
	Namespace string
	// Image of the operator.
	Image string
	// Replicas of the operator; one of them works, the others wait to.
	Replicas int
	// Watch lists the namespaces whose collectors are worked on; all when empty. Rights are granted in these only.
	Watch []string
	// CollectorImage is for collectors whose spec has none; the operator's default when empty.
	CollectorImage string
	// Discovery grants what finding targets takes: reading monitors and what they look for.
	Discovery bool
	// Secrets grants reading those that monitors refer to. Without Discovery it grants nothing.
	Secrets bool
}

// check names what would not make a valid manifest.
func (o InstallOptions) check() error {
	for _, namespace := range append([]string{o.Namespace}, o.Watch...) {
		if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
			return fmt.Errorf("namespace %q: %s", namespace, problems[0])
		}
	}
	if o.Image == "" || strings.ContainsAny(o.Image+o.CollectorImage, " \t\r\n\"\\") {
		return fmt.Errorf("images %q, %q: want references such as registry.example.com/otelier:v1", o.Image, o.CollectorImage)
	}
	if o.Replicas < 0 {
		return fmt.Errorf("replicas: %d, want 0 or more", o.Replicas)
	}
	return nil
}

// Install is one manifest with everything that it takes to run the operator: namespace, CRDs, rights and Deployment.
func Install(o InstallOptions) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	t, err := template.New("install").Funcs(template.FuncMap{"join": strings.Join}).Parse(installTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, struct {
		InstallOptions
		Name               string
		CRDs               string
		Lease, DryRunLease string
		Group              string
		Kinds              []OwnedKind

		Allocator, AllocatorURL                       string
		AllocatorPortName, AllocatorContainerPortName string
		AllocatorPort, AllocatorContainerPort         int
	}{
		o, Program, string(collectorCRD), LeaseName, DryRunLeaseName, Group, OwnedKinds(),
		AllocatorService, AllocatorURL(o.Namespace), AllocatorPortName, AllocatorContainerPortName, AllocatorPort, AllocatorContainerPort,
	})
	return out.Bytes(), err
}
