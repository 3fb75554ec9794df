package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/otelier/otelier/e2e/cluster"
)

// collectorsCRD is the name of the definition of collectors.
const collectorsCRD = "opentelemetrycollectors.opentelemetry.io"

// refuse is an error when somebody's own cluster has collectors, or what another installation is made of, and these tests have not made it:
// their operator would take the collectors over, and their definitions and roles would take the place of those that are there.
func (i *Installed) refuse(ctx context.Context) error {
	if i.suite.Cluster.Provider() != cluster.Kubeconfig {
		return nil
	}
	crds, _, err := i.marks(ctx)
	if err != nil {
		return err
	}
	out, err := i.suite.kubectlOutput(ctx, nil, "get", "customresourcedefinition/"+collectorsCRD, "clusterrole/otelier", "clusterrolebinding/otelier",
		"--ignore-not-found", "--output", "name")
	if err != nil {
		return err
	}
	there, defined := strings.Fields(out), false
	for _, name := range there {
		defined = defined || strings.HasSuffix(name, "/"+collectorsCRD)
	}
	others := slices.DeleteFunc(there, func(name string) bool {
		return crds != nil && !strings.HasSuffix(name, "/"+collectorsCRD) || slices.Contains(crds, name)
	})
	if defined {
		collectors, err := i.suite.othersCollectors(ctx)
		if err != nil && len(others) == 0 {
			return err
		}
		others = append(others, collectors...)
	}
	if len(others) == 0 {
		return nil
	}
	const most = 10
	more := ""
	if n := len(others) - most; n > 0 {
		others, more = others[:most], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("install: the cluster has %s%s, not made by these tests, which would take them over: use a cluster without collectors",
		strings.Join(others, ", "), more)
}

// othersCollectors are the collectors outside of scenes.
func (s *Suite) othersCollectors(ctx context.Context) ([]string, error) {
	out, err := s.kubectlOutput(ctx, nil, "get", "namespaces", "--selector", sceneLabel, "--output", `jsonpath={.items[*].metadata.name}`)
	if err != nil {
		return nil, err
	}
	scenes := strings.Fields(out)
	out, err = s.kubectlOutput(ctx, nil, "get", collectorsCRD, "--all-namespaces", "--output",
		`jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
	if err != nil {
		return nil, err
	}
	var others []string
	for name := range strings.FieldsSeq(out) {
		if namespace, _, _ := strings.Cut(name, "/"); !slices.Contains(scenes, namespace) {
			others = append(others, "opentelemetrycollector "+name)
		}
	}
	return others, nil
}
