package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/internal/manifest"
	"github.com/otelier/otelier/internal/show"
	"github.com/otelier/otelier/reconcile"
)

// Exit codes of diff, as those of the program diff and of kubectl's.
const (
	exitDifferences = 1
	exitTrouble     = 2
)

type diffCmd struct {
	Name          string      `arg:"" optional:"" help:"Name of a collector; by default all of the namespace."`
	AllNamespaces bool        `help:"All collectors of the cluster." short:"A"`
	Filename      []string    `help:"Instead of what is in the cluster, what \"kubectl apply -f\" of this would make of it: a file, directory or - for stdin; may be repeated." short:"f" placeholder:"FILE"`
	Namespace     string      `help:"Namespace; by default that of the kubeconfig's context." short:"n" placeholder:"NAMESPACE"`
	ExitCode      bool        `help:"Exit with 1 when there are differences. Errors exit with 2 in any case." default:"true" negatable:""`
	Offline       bool        `help:"Ask the API server only for what is there, and predict what it would make of changes, without its defaults and webhooks."`
	Kube          kubeFlags   `embed:"" group:"Cluster"`
	Format        formatFlags `embed:"" group:"Output"`
	Rendering     renderFlags `embed:"" group:"Rendering"`
}

type formatFlags struct {
	Output      string `help:"Format: text; json or yaml, with a versioned schema; name, of what would be changed; or patch, what would be applied." short:"o" enum:"text,json,yaml,name,patch" default:"text"`
	Quiet       bool   `help:"Only count." short:"q"`
	Unchanged   bool   `help:"List also what would not be changed."`
	ShowSecrets bool   `help:"Show secrets instead of ‹redacted #3›, where the same number is the same secret."`
	Color       string `help:"Use colours: always, never, or auto, which is on a terminal unless NO_COLOR is set." enum:"auto,always,never" default:"auto"`
}

// Validate is called by kong.
func (c *diffCmd) Validate() error {
	switch {
	case c.Name != "" && c.AllNamespaces:
		return errors.New("a name and --all-namespaces exclude each other")
	case len(c.Filename) > 0 && (c.Name != "" || c.AllNamespaces):
		return errors.New("--filename excludes a name and --all-namespaces")
	case c.Format.Quiet && c.Format.Output != string(show.Text):
		return errors.New("--quiet is for --output=text: the other formats have no line of counts")
	}
	if _, err := c.Rendering.options(nil); err != nil {
		return err
	}
	if c.Namespace == "" {
		return nil
	}
	return checkNamespaces("--namespace", c.Namespace)
}

// Run prints what the operator would change, and changes nothing: all that it sends are GET requests and dry runs.
func (c *diffCmd) Run(ctx context.Context, io streams) error {
	summary, err := c.diff(ctx, io)
	_, usage := errors.AsType[usageError](err)
	switch {
	case usage:
		return err
	case err != nil:
		return statusError{exitTrouble, err}
	case summary.Errors > 0: // they have been printed
		return statusError{exitTrouble, nil}
	case summary.Differences() && c.ExitCode:
		return statusError{exitDifferences, nil}
	}
	return nil
}

func (c *diffCmd) diff(ctx context.Context, io streams) (show.Summary, error) {
	options, err := c.Rendering.options(nil)
	if err != nil {
		return show.Summary{}, err
	}
	config, inCluster, err := c.Kube.config()
	if err != nil {
		return show.Summary{}, err
	}
	config.WarningHandler = rest.NewWarningWriter(io.err, rest.WarningWriterOptions{Deduplicate: true})
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return show.Summary{}, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	if c.Namespace == "" {
		if c.Namespace, err = c.Kube.namespace(inCluster, os.ReadFile); err != nil {
			return show.Summary{}, err
		}
	}
	d := &differ{
		planner: reconcile.NewPlanner(renderer(options)), reader: reconcile.NewReader(client), cluster: reconcile.NewCluster(client),
		proposer: proposer{client: client, offline: c.Offline, admission: sync.OnceValues(crds.NewAdmission)},
	}
	if c.Offline {
		d.cluster = reconcile.NoDryRun{Cluster: d.cluster}
	}
	collectors, err := c.collectors(ctx, io, d)
	if err != nil {
		return show.Summary{}, err
	}
	if ctx.Err() != nil { // what is there would be full of errors
		return show.Summary{}, context.Cause(ctx)
	}
	return show.Write(io.out, collectors, show.Options{
		Format: show.Format(c.Format.Output), Quiet: c.Format.Quiet, Unchanged: c.Format.Unchanged, ShowSecrets: c.Format.ShowSecrets,
		Color: c.Format.paints(io.out), Now: time.Now(), Errors: io.err,
	})
}

// collectors finds the collectors and plans for each.
func (c *diffCmd) collectors(ctx context.Context, io streams, d *differ) ([]show.Collector, error) {
	if len(c.Filename) > 0 {
		files, err := c.read(io)
		if err != nil {
			return nil, err
		}
		return d.proposed(ctx, files)
	}
	namespace := c.Namespace
	if c.AllNamespaces {
		namespace = ""
	}
	snapshot, err := d.load(ctx, namespace)
	if err != nil {
		return nil, err
	}
	found := snapshot.Collectors()
	if c.Name != "" {
		found = slices.DeleteFunc(found, func(u *unstructured.Unstructured) bool { return u.GetName() != c.Name })
		if len(found) == 0 {
			return nil, fmt.Errorf("%s %s: not found in namespace %s", crds.Kind, c.Name, c.Namespace)
		}
	}
	if len(found) == 0 && namespace != "" {
		say(io, "no %s found in namespace %s", crds.Kind, namespace)
	} else if len(found) == 0 {
		say(io, "no %s found", crds.Kind)
	}
	return each(ctx, found, func(ctx context.Context, u *unstructured.Unstructured) show.Collector {
		return show.Collector{Preview: d.planner.Preview(ctx, d.cluster, snapshot, u), Source: u}
	})
}

// read reads the collectors of the files, by namespace and name.
func (c *diffCmd) read(io streams) ([]manifest.Object, error) {
	var out []manifest.Object
	for _, source := range c.Filename {
		objects, err := manifest.Read(source, io.in)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			if o.GroupVersionKind().Group != crds.Group || o.GetKind() != crds.Kind {
				say(io, "%s: skipped, %s is not a collector", o.Source, o.GetKind())
				continue
			}
			if o.GetNamespace() == "" {
				o.SetNamespace(c.Namespace)
			}
			same := func(other manifest.Object) bool {
				return o.GetName() != "" && other.GetName() == o.GetName() && other.GetNamespace() == o.GetNamespace()
			}
			if i := slices.IndexFunc(out, same); i >= 0 { // kubectl applies them one after the other
				if !reflect.DeepEqual(out[i].Object, o.Object) {
					say(io, "%s: skipped, %s %s is also in %s, which counts as it comes later", out[i].Source, crds.Kind, o.GetName(), o.Source)
				}
				out = slices.Delete(out, i, i+1)
			}
			out = append(out, o)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no %s found in what -f names", crds.Kind)
	}
	slices.SortStableFunc(out, func(a, b manifest.Object) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return out, nil
}

// differ is what plans are made with.
type differ struct {
	planner  *reconcile.Planner
	reader   *reconcile.Reader
	cluster  reconcile.Cluster
	proposer proposer
}

// errNoCRD is returned where there is no API for collectors.
type errNoCRD struct{}

func (errNoCRD) Error() string {
	return "the CRD is not installed: run `otelier crds | kubectl apply --server-side -f -`"
}

// load reads what is there.
func (d *differ) load(ctx context.Context, namespace string) (*reconcile.Snapshot, error) {
	snapshot, err := d.reader.Load(ctx, namespace)
	if !apierrors.IsNotFound(err) {
		return snapshot, err
	}
	// Of which resource it is, the error does not say in a way that a program can read.
	if _, again := d.proposer.client.Resource(crds.CollectorResource()).List(ctx, metav1.ListOptions{Limit: 1}); apierrors.IsNotFound(again) {
		return nil, errNoCRD{}
	}
	return nil, err
}

// proposed plans for collectors as they would be once their files are applied.
func (d *differ) proposed(ctx context.Context, files []manifest.Object) ([]show.Collector, error) {
	type loaded struct {
		*reconcile.Snapshot
		error
	}
	var namespaces []string
	for _, f := range files {
		if !slices.Contains(namespaces, f.GetNamespace()) {
			namespaces = append(namespaces, f.GetNamespace())
		}
	}
	snapshots, err := each(ctx, namespaces, func(ctx context.Context, namespace string) loaded {
		s, err := d.load(ctx, namespace)
		return loaded{s, err}
	})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(snapshots, func(s loaded) bool { return errors.Is(s.error, errNoCRD{}) }) {
		return nil, errNoCRD{}
	}
	return each(ctx, files, func(ctx context.Context, f manifest.Object) show.Collector {
		snapshot := snapshots[slices.Index(namespaces, f.GetNamespace())]
		if snapshot.error != nil {
			return failed(f, snapshot.error)
		}
		p, err := d.proposer.propose(ctx, f.Unstructured)
		if err != nil {
			return failed(f, err)
		}
		return show.Collector{
			Preview: d.planner.Preview(ctx, d.cluster, snapshot.Snapshot, p.collector), Source: p.collector, Predicted: p.predicted,
		}
	})
}

// failed is a collector that can't be planned for.
func failed(f manifest.Object, err error) show.Collector {
	out := show.Collector{Source: f.Unstructured}
	out.Plan.Collector.Namespace, out.Plan.Collector.Name = f.GetNamespace(), f.GetName()
	out.Problem = &reconcile.Problem{Message: f.Source + ": " + err.Error()}
	return out
}

// parallel is how many collectors are planned for at a time.
const parallel = 4

// each calls f for every item, some at a time, and returns the results in the order of the items.
func each[T, R any](ctx context.Context, items []T, f func(context.Context, T) R) ([]R, error) {
	out := make([]R, len(items))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, item := range items {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			out[i] = f(ctx, item)
			return nil
		})
	}
	return out, group.Wait()
}

// paints tells whether to use colours (https://no-color.org).
func (f formatFlags) paints(out io.Writer) bool {
	if f.Color != "auto" {
		return f.Color == "always"
	}
	file, ok := out.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}

// namespace is that of the pod that we run in, or of the kubeconfig's context.
func (f kubeFlags) namespace(inCluster bool, readFile func(string) ([]byte, error)) (string, error) {
	if inCluster {
		data, err := readFile(namespaceFile)
		if err != nil {
			return "", fmt.Errorf("namespace of the pod: %w", err)
		}
		return strings.TrimSpace(string(data)), nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: f.Context}
	namespace, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).Namespace()
	if err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	return namespace, nil
}
