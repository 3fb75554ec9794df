package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// exported are the resources whose objects are exported. Secrets are not among them.
const exported = "opentelemetrycollectors,statefulsets,deployments,daemonsets,replicasets,pods,persistentvolumeclaims,configmaps," +
	"services,endpointslices,serviceaccounts,poddisruptionbudgets,leases"

// ExportNamespace writes what there is in a namespace into a directory, which it makes: the objects but for Secrets, the Events, and the
// logs of all containers, those that crashed too. The error names what could not be got; the rest is there.
func ExportNamespace(ctx context.Context, c Cluster, namespace, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("export namespace %s: %w", namespace, err)
	}
	e := exporter{c, dir}
	errs := []error{
		e.save(ctx, "objects.txt", "get", exported, "--namespace", namespace, "--output", "wide"),
		e.save(ctx, "objects.yaml", "get", exported, "--namespace", namespace, "--output", "yaml"),
		e.save(ctx, "events.txt", "get", "events.events.k8s.io", "--namespace", namespace, "--sort-by=.metadata.creationTimestamp",
			"--output", "custom-columns=AT:.metadata.creationTimestamp,ABOUT:.regarding.kind,NAME:.regarding.name,TYPE:.type,REASON:.reason,NOTE:.note"),
	}
	pods, err := e.kubectl(ctx, "get", "pods", "--namespace", namespace, "--output",
		`jsonpath={range .items[*]}{.metadata.name}{range .status.containerStatuses[*]} {.name}:{.restartCount}{end}{"\n"}{end}`)
	errs = append(errs, err)
	for line := range strings.Lines(string(pods)) {
		fields := strings.Fields(line)
		for _, container := range fields[min(1, len(fields)):] {
			name, restarts, _ := strings.Cut(container, ":")
			file := filepath.Join("logs", fields[0]+"."+name)
			args := []string{"logs", fields[0], "--container", name, "--namespace", namespace, "--timestamps"}
			errs = append(errs, e.save(ctx, file+".log", args...))
			if restarts != "0" {
				errs = append(errs, e.save(ctx, file+".previous.log", append(args, "--previous")...))
			}
		}
	}
	return errors.Join(errs...)
}

// ExportCluster writes what belongs to no namespace of a test into a directory, which it makes: nodes, volumes and all pods, and the
// namespaces that are given.
func ExportCluster(ctx context.Context, c Cluster, dir string, namespaces ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("export cluster: %w", err)
	}
	e := exporter{c, dir}
	errs := []error{
		e.save(ctx, "nodes.txt", "describe", "nodes"),
		e.save(ctx, "volumes.txt", "get", "persistentvolumes,storageclasses", "--output", "wide"),
		e.save(ctx, "pods.txt", "get", "pods", "--all-namespaces", "--output", "wide"),
		e.save(ctx, "collectors.txt", "get", "opentelemetrycollectors", "--all-namespaces", "--output", "wide"),
	}
	for _, namespace := range namespaces {
		errs = append(errs, ExportNamespace(ctx, c, namespace, filepath.Join(dir, namespace)))
	}
	return errors.Join(errs...)
}

type exporter struct {
	cluster Cluster
	dir     string
}

func (e exporter) kubectl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := e.cluster.KubectlCommand(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, err
}

// save writes what kubectl prints into a file, even if it ended with an error.
func (e exporter) save(ctx context.Context, file string, args ...string) error {
	out, err := e.kubectl(ctx, args...)
	path := filepath.Join(e.dir, file)
	return errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, out, 0o600))
}
