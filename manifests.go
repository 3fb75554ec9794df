package main

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/internal/manifest"
	"github.com/otelier/otelier/render"
)

// The image of collectors whose spec has none, and of the operator in the install manifest.
const (
	defaultCollectorImage = "ghcr.io/open-telemetry/opentelemetry-collector-releases/opentelemetry-collector-contrib:0.164.0"
	defaultOperatorImage  = "ghcr.io/otelier/otelier"
)

type versionCmd struct{}

func (versionCmd) Run(io streams) error {
	_, err := fmt.Fprintf(io.out, "%s %s\n", crds.Program, version)
	return err
}

type crdsCmd struct {
	TakeOver bool      `help:"Instead of printing them, apply them to the cluster where another operator has installed its own, and take its conversion webhook out."`
	Kube     kubeFlags `embed:"" group:"Cluster"`
}

func (c *crdsCmd) Run(ctx context.Context, io streams) error {
	if !c.TakeOver {
		_, err := io.out.Write(crds.YAML())
		return err
	}
	config, _, err := c.Kube.config()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return takeOver(ctx, io, client)
}

type installCmd struct {
	Namespace      string        `help:"Namespace to make and to run in." default:"${namespace}" short:"n"`
	Image          string        `help:"Image of the operator." default:"${operatorImage}" placeholder:"IMAGE"`
	Replicas       int           `help:"Replicas of the operator: one works, the others stand by." default:"1"`
	Namespaces     namespaceList `help:"Namespaces whose collectors are worked on, and the only ones in which rights are granted; all by default." placeholder:"NAMESPACE"`
	CollectorImage string        `help:"Image of collectors whose spec has none." placeholder:"IMAGE"`
	Discovery      bool          `help:"Grant what finding targets takes: reading monitors, namespaces, nodes, Services, their endpoints and Ingresses." default:"true" negatable:""`
	Secrets        bool          `help:"Grant reading Secrets, for monitors that refer to some." default:"true" negatable:""`
}

func (c *installCmd) Run(io streams) error {
	out, err := crds.Install(crds.InstallOptions{
		Namespace: c.Namespace, Image: c.Image, Replicas: c.Replicas, Watch: c.Namespaces, CollectorImage: c.CollectorImage,
		Discovery: c.Discovery, Secrets: c.Secrets,
	})
	if err != nil {
		return usageError{fmt.Errorf("install manifest: %w", err)}
	}
	_, err = io.out.Write(out)
	return err
}

type renderCmd struct {
	Filename  []string    `help:"File, directory or - for stdin; may be repeated." short:"f" required:"" placeholder:"FILE"`
	Namespace string      `help:"Namespace of collectors whose manifest has none." short:"n" default:"default"`
	Rendering renderFlags `embed:"" group:"Rendering"`
}

// Validate is called by kong.
func (c *renderCmd) Validate() error { return checkNamespaces("--namespace", c.Namespace) }

// Run prints the objects of every collector that it finds. A bad collector does not hide the others: all are reported, and
// nothing is printed.
func (c *renderCmd) Run(ctx context.Context, io streams) error {
	options, err := c.Rendering.options(nil)
	if err != nil {
		return err
	}
	admission, err := crds.NewAdmission()
	if err != nil {
		return err
	}
	var (
		objects []*unstructured.Unstructured
		failed  int
		found   int
	)
	for _, source := range c.Filename {
		read, err := manifest.Read(source, io.in)
		if err != nil {
			return err
		}
		for _, o := range read {
			if o.GroupVersionKind().Group != crds.Group || o.GetKind() != crds.Kind {
				say(io, "%s: skipped, %s is not a collector%s", o.Source, o.GetKind(), insteadOf(o))
				continue
			}
			found++
			result, err := c.render(ctx, o, admission, options)
			if err != nil {
				failed++
				for line := range strings.Lines(err.Error()) {
					say(io, "%s: %s: %s", o.Source, o.GetName(), strings.TrimSpace(line))
				}
				continue
			}
			for _, w := range result.Warnings {
				say(io, "%s: %s: warning: %s", o.Source, o.GetName(), w)
			}
			objects = append(objects, result.Objects...)
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d collectors can't be rendered", failed, found)
	case found == 0:
		return fmt.Errorf("no %s found in what -f names", crds.Kind)
	}
	return manifest.Write(io.out, objects)
}

func (c *renderCmd) render(
	ctx context.Context, o manifest.Object, admission *crds.Admission, options render.Options,
) (*render.Result, error) {
	if o.GetNamespace() == "" {
		o.SetNamespace(c.Namespace)
	}
	stored, err := admission.Create(ctx, o.Unstructured)
	if err != nil {
		return nil, err
	}
	collector, err := crds.Decode(stored)
	if err != nil {
		return nil, err
	}
	result, err := render.Collector(collector, options)
	if err == nil {
		for _, path := range collector.Spec.UnsupportedFields() {
			result.Warnings = append(result.Warnings, path+": set, but not acted on by this version")
		}
	}
	left, poolErr := leftOut(collector, options)
	if err == nil {
		err = poolErr
	}
	if err == nil {
		result.Warnings = append(result.Warnings, left...)
	}
	return result, err
}

// insteadOf is what to say of an object that is not a collector but of its API.
func insteadOf(o manifest.Object) string {
	if o.GroupVersionKind().Group == crds.Group && o.GetKind() == "TargetAllocator" {
		return ": use spec.targetAllocator of the collector"
	}
	return ""
}

// leftOut warns of what of the scrape configs of c is on nobody, in the words of the operator's conditions.
func leftOut(c *crds.Collector, o render.Options) ([]string, error) {
	pools, err := render.Pools(c, o)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range pools {
		jobs, errs := discover.ParseJobs(p.ScrapeConfigs, "receivers."+p.Receiver, "")
		own := combine(c.Spec.TargetAllocator.AllowInsecureAuthSecrets, jobs)
		for _, x := range slices.Concat(withheldProblems(p), parseProblems(errs), jobProblems(own, discover.Status{})) {
			out = append(out, withoutLines(x.message)+"; no collector scrapes it")
		}
	}
	return out, nil
}

// withoutLines leaves out numbers of lines, which are those of a document that nobody but us sees.
func withoutLines(message string) string {
	return regexp.MustCompile(`\b(yaml: unmarshal errors: )?line \d+: `).ReplaceAllString(message, "")
}

func say(io streams, format string, args ...any) {
	_, _ = fmt.Fprintf(io.err, format+"\n", args...) // there is nowhere else to say it
}

// options compiles the flags. env is what the operator passes on from its own environment.
func (f renderFlags) options(env map[string]string) (render.Options, error) {
	out := render.Options{Image: f.CollectorImage, Env: env, AllocatorURL: strings.TrimSuffix(f.AllocatorURL, "/")}
	if u, err := url.Parse(f.AllocatorURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Contains(f.AllocatorURL, "$") {
		return out, usageError{fmt.Errorf("--allocator-url: got %q, want a URL such as %s", f.AllocatorURL, crds.AllocatorURL(crds.DefaultNamespace))}
	}
	for _, list := range []struct {
		flag string
		from []string
		to   *[]*regexp.Regexp
	}{
		{"--annotations-filter", f.AnnotationsFilter, &out.AnnotationsFilter},
		{"--labels-filter", f.LabelsFilter, &out.LabelsFilter},
	} {
		for _, s := range list.from {
			re, err := regexp.Compile(s)
			if err != nil {
				return out, usageError{fmt.Errorf("%s: %w", list.flag, err)}
			}
			*list.to = append(*list.to, re)
		}
	}
	return out, nil
}
