package steps

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/cluster/provider"
	"github.com/otelier/otelier/e2e/steps/program"
)

// SystemNamespace is where otelier install puts the operator.
const SystemNamespace = "otelier-system"

// What marks the objects of these tests: the namespaces of scenes, and what scenes have in none, by a label, and the operator's by an
// annotation that lists the CRDs which were not there before.
const (
	sceneLabel          = "app.kubernetes.io/part-of=otelier-e2e"
	installedAnnotation = "e2e.otelier.io/installed-crds"
)

// MarkOurs has an object that is in no namespace removed by the next tests, should those that make it not come to that.
func MarkOurs(u *unstructured.Unstructured) {
	key, value, _ := strings.Cut(sceneLabel, "=")
	labels := u.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = value
	u.SetLabels(labels)
}

// BeginInstalled returns the setup of an environment whose cluster the provider has created: it builds the program, makes the images
// known to the cluster, and installs the operator and the CRDs of monitors. What an earlier run has left there is reused. Scenes that fail
// are exported into the directory artifacts.
func BeginInstalled(c *provider.Choice, artifacts string) env.Func {
	return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		s := &Suite{Cluster: c.Cluster(), ControlPlane: c.ControlPlane(), artifacts: artifacts, keep: c.Keep}
		s.Installed = &Installed{Namespace: SystemNamespace, suite: s}
		ctx = context.WithValue(ctx, suiteKey{}, s)
		var err error
		if s.Images, err = c.Images(ctx); err != nil {
			return ctx, err
		}
		if err := s.begin(ctx); err != nil {
			return ctx, err
		}
		if err := s.Installed.refuse(ctx); err != nil {
			return ctx, err
		}
		if err := s.removeScenes(ctx); err != nil {
			return ctx, err
		}
		if s.Installed.imageID, err = c.ImageID(ctx, s.Images.Operator); err != nil {
			return ctx, err
		}
		return ctx, s.Installed.install(ctx)
	}
}

// EndInstalled returns the end of an environment that was set up by BeginInstalled. What was installed is removed unless the cluster is
// to be kept, or to be removed itself.
func EndInstalled(c *provider.Choice) env.Func {
	return func(ctx context.Context, config *envconf.Config) (context.Context, error) {
		s, ok := ctx.Value(suiteKey{}).(*Suite)
		if !ok {
			return ctx, nil
		}
		err := s.Installed.stop()
		if c.Name == cluster.Kubeconfig && !c.Keep {
			err = errors.Join(err, s.removeScenes(ctx), s.Installed.uninstall(ctx))
		}
		ctx, endErr := End(ctx, config)
		return ctx, errors.Join(err, endErr)
	}
}

// ExportInstalled writes what there is of the cluster, and of the operator, into the directory of artifacts.
func ExportInstalled(ctx context.Context, _ *envconf.Config) (context.Context, error) {
	s, ok := ctx.Value(suiteKey{}).(*Suite)
	if !ok {
		return ctx, nil
	}
	err := cluster.ExportCluster(ctx, s.Cluster, s.artifacts, SystemNamespace)
	if p := s.Installed.process; p != nil {
		err = errors.Join(err, os.WriteFile(s.artifacts+"/operator.log", []byte(p.Log()), 0o600))
	}
	return ctx, err
}

// removeScenes removes all scenes with what is theirs in no namespace, also those that an earlier run has left for somebody to look at, or
// because it was killed, and waits for that.
func (s *Suite) removeScenes(ctx context.Context) error {
	return s.kubectl(ctx, nil, "delete", "namespaces,clusterrolebindings,clusterroles,storageclasses,persistentvolumes",
		"--selector", sceneLabel, "--timeout=5m")
}

// kubectl runs kubectl with an input that may be nil.
func (s *Suite) kubectl(ctx context.Context, input []byte, args ...string) error {
	_, err := s.kubectlOutput(ctx, input, args...)
	return err
}

func (s *Suite) kubectlOutput(ctx context.Context, input []byte, args ...string) (string, error) {
	cmd := s.Cluster.KubectlCommand(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Manifest is what otelier install prints with these flags.
func (s *Suite) Manifest(ctx context.Context, flags ...string) ([]byte, error) {
	return manifestOf(ctx, s.Binary, flags...)
}

func manifestOf(ctx context.Context, binary string, flags ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, binary, append([]string{"install"}, flags...)...)
	cmd.Env = program.Environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("otelier install: %w: %s", err, stderr.String())
	}
	return out, nil
}

// install does what the README tells users to do. On a cluster that has an operator of these tests, its pods are made anew if their image
// has changed under its name.
func (i *Installed) install(ctx context.Context) error {
	s := i.suite
	if err := i.mark(ctx); err != nil {
		return err
	}
	if err := program.InstallMonitorCRDs(ctx, s.Cluster); err != nil {
		return err
	}
	manifest, err := s.Manifest(ctx, i.Flags()...)
	if err != nil {
		return err
	}
	if err := s.kubectl(ctx, manifest, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return err
	}
	if stale, err := i.stale(ctx); err != nil {
		return err
	} else if stale {
		if err := s.kubectl(ctx, nil, "rollout", "restart", "deployment/otelier", "--namespace", SystemNamespace); err != nil {
			return err
		}
	}
	return i.start(ctx)
}

// mark makes the namespace, with a note of what uninstall is to remove. One that is there without it is somebody else's.
func (i *Installed) mark(ctx context.Context) error {
	marked, found, err := i.marks(ctx)
	switch {
	case err != nil:
		return err
	case marked != nil:
		return nil
	case found && i.suite.Cluster.Provider() == cluster.Kubeconfig:
		return fmt.Errorf("install: the cluster has a namespace %s that is not of these tests", SystemNamespace)
	}
	out, err := i.suite.kubectlOutput(ctx, nil, "get", "customresourcedefinitions", "--output", "name")
	if err != nil {
		return err
	}
	there, missing := strings.Fields(out), []string{}
	for _, name := range []string{
		collectorsCRD, "servicemonitors.monitoring.coreos.com", "podmonitors.monitoring.coreos.com",
		"probes.monitoring.coreos.com", "scrapeconfigs.monitoring.coreos.com",
	} {
		if crd := "customresourcedefinition.apiextensions.k8s.io/" + name; !slices.Contains(there, crd) {
			missing = append(missing, crd)
		}
	}
	list, err := json.Marshal(missing)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	namespace := fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q, "annotations": {%q: %q}}}`,
		SystemNamespace, installedAnnotation, list)
	return i.suite.kubectl(ctx, namespace, "apply", "--server-side", "--field-manager", UserAgent, "-f", "-")
}

// stale tells whether pods of the operator run another image of the name that they were given.
func (i *Installed) stale(ctx context.Context) (bool, error) {
	if i.imageID == "" {
		return false, nil
	}
	out, err := i.suite.kubectlOutput(ctx, nil, "get", "pods", "--namespace", SystemNamespace, "--selector", "app.kubernetes.io/name=otelier",
		"--output", "jsonpath={.items[*].status.containerStatuses[*].imageID}")
	return slices.ContainsFunc(strings.Fields(out), func(id string) bool { return !strings.Contains(id, i.imageID) }), err
}

// Flags are those of otelier install that the operator was installed with.
func (i *Installed) Flags() []string {
	return []string{"--namespace", i.Namespace, "--image", cmp.Or(i.version.Image, i.suite.Images.Operator), "--collector-image", i.suite.Images.Collector}
}

// marks are the CRDs that an earlier run of these tests has installed, not nil if there was one, and whether the namespace is there.
func (i *Installed) marks(ctx context.Context) (crds []string, found bool, err error) {
	out, err := i.suite.kubectlOutput(ctx, nil, "get", "namespace", SystemNamespace, "--ignore-not-found", "--output",
		`jsonpath={.metadata.name}{"\n"}{.metadata.annotations.e2e\.otelier\.io/installed-crds}`)
	if err != nil {
		return nil, false, err
	}
	name, mark, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if mark != "" {
		if err := json.Unmarshal([]byte(mark), &crds); err != nil {
			return nil, true, fmt.Errorf("annotation %s: %w", installedAnnotation, err)
		}
	}
	return crds, name != "", nil
}

// uninstall removes what install has made, and nothing that was there before.
func (i *Installed) uninstall(ctx context.Context) error {
	crds, found, err := i.marks(ctx)
	if err != nil || !found || crds == nil {
		return err
	}
	s := i.suite
	errs := []error{s.kubectl(ctx, nil, "delete", "clusterrolebinding,clusterrole", "otelier", "--ignore-not-found")}
	if len(crds) > 0 {
		errs = append(errs, s.kubectl(ctx, nil, append([]string{"delete", "--ignore-not-found", "--timeout=5m"}, crds...)...))
	}
	// Last: it says what is to be removed.
	errs = append(errs, s.kubectl(ctx, nil, "delete", "namespace", SystemNamespace, "--ignore-not-found", "--timeout=5m"))
	return errors.Join(errs...)
}
