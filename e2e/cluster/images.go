package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
)

// Images are the names of the images that run in the tests' pods.
type Images struct {
	Operator  string
	Collector string
	Workbench string // everything else that the tests need in pods
}

// PublicCollector is the image of collectors that the operator takes by default.
const PublicCollector = "ghcr.io/open-telemetry/opentelemetry-collector-releases/opentelemetry-collector-contrib:0.164.0"

// BuiltImages are the names of the images that are built here.
func BuiltImages() Images {
	return Images{Operator: "otelier.test/otelier:e2e", Collector: "otelier.test/collector:e2e", Workbench: "otelier.test/workbench:e2e"}
}

// Built are the names of those of them that are built here.
func (i Images) Built() []string {
	return slices.DeleteFunc([]string{i.Operator, i.Collector, i.Workbench}, func(name string) bool {
		return !strings.HasPrefix(name, "otelier.test/")
	})
}

// BuildImages builds those of the images that have names of [BuiltImages] into the engine that docker talks to, from the repository at root
// and without any other image.
func BuildImages(ctx context.Context, images Images, root string, out io.Writer) error {
	builds := map[string]func() error{
		BuiltImages().Operator:  func() error { return operatorImage(ctx, images.Operator, root) },
		BuiltImages().Collector: func() error { return collectorImage(ctx, images.Collector, out) },
		BuiltImages().Workbench: func() error { return workbenchImage(ctx, images.Workbench, root) },
	}
	for _, name := range images.Built() {
		build := builds[name]
		if build == nil {
			continue
		}
		_, _ = fmt.Fprintf(out, "image %s: building … ", name) // progress
		started := time.Now()
		if err := build(); err != nil {
			_, _ = fmt.Fprintln(out, "failed")
			return fmt.Errorf("image %s: %w", name, err)
		}
		_, _ = fmt.Fprintf(out, "done in %s\n", time.Since(started).Round(time.Second))
	}
	return nil
}

// ImageID is the digest of the configuration of an image in the engine that docker talks to.
func ImageID(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", name).Output()
	if err != nil {
		return "", fmt.Errorf("image %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// operatorImage is the very image that users build.
func operatorImage(ctx context.Context, name, root string) error {
	return run(ctx, root, "make", "--no-print-directory", "image", "IMAGE="+name)
}

func collectorImage(ctx context.Context, name string, out io.Writer) error {
	otelcol, err := controlplane.EnsureCollector(ctx, out)
	if err != nil {
		return err
	}
	return scratchImage(ctx, name, otelcol, "otelcol")
}

func workbenchImage(ctx context.Context, name, root string) error {
	dir, err := os.MkdirTemp("", "otelier-workbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the system's directory for temporary files
	workbench := filepath.Join(dir, "workbench")
	err = run(ctx, filepath.Join(root, "e2e"), "env", "CGO_ENABLED=0", "GOOS=linux",
		"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", workbench, "./cmd/workbench")
	if err != nil {
		return err
	}
	return scratchImage(ctx, name, workbench, "workbench")
}

// scratchImage builds an image of one static program, which has the name program in it. The user is that of the
// public image of collectors.
func scratchImage(ctx context.Context, name, path, program string) error {
	dir, err := os.MkdirTemp("", "otelier-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the system's directory for temporary files
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, program), data, 0o755); err != nil {
		return err
	}
	dockerfile := fmt.Sprintf("FROM scratch\nCOPY %[1]s /%[1]s\nUSER 10001:10001\nENTRYPOINT [\"/%[1]s\"]\n", program)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		return err
	}
	return run(ctx, dir, "docker", "build", "--quiet", "--platform", "linux/"+runtime.GOARCH, "--tag", name, ".")
}

// run runs a program in a directory. The error has its output.
func run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	apart(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}
