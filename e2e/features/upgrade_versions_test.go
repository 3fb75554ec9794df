package features_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// olderRevision is the last one of this repository without target allocation.
const olderRevision = "64968d14a723ed59fb2f2ba6ec0dcdf0d27b206c"

// olderVersion builds the operator as it was at olderRevision, and makes it known to the cluster.
func olderVersion(t *testing.T, s *steps.Scene) steps.Version {
	t.Helper()
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	archive := exec.CommandContext(t.Context(), "git", "-C", root, "archive", "--format=tar", olderRevision)
	sources, err := archive.Output()
	if err != nil {
		t.Fatalf("the sources of revision %s are not in the history of this clone (%v): get them with git fetch --unshallow", olderRevision, err)
	}
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(sources)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("sources of revision %s: %v: %s", olderRevision, err, out)
	}
	v := steps.Version{Binary: filepath.Join(dir, "otelier"), Image: "otelier.test/otelier:e2e-older"}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=older", "-o", v.Binary, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build revision %s: %v\n%s", olderRevision, err, out)
	}
	if s.Cluster.Provider() == cluster.Local {
		return v
	}
	nodes := s.NeedsNodes(t) // only these take images from here
	if err := cluster.ProgramImage(t.Context(), v.Image, v.Binary, "otelier"); err != nil {
		t.Fatal(err)
	}
	if err := nodes.LoadImages(t.Context(), v.Image); err != nil {
		t.Fatal(err)
	}
	return v
}

// sameVersion is the suite's own under another name of its image.
func sameVersion(t *testing.T, s *steps.Scene) steps.Version {
	t.Helper()
	v := steps.Version{Image: "otelier.test/otelier:e2e-again"}
	if s.Cluster.Provider() == cluster.Local {
		return v
	}
	nodes := s.NeedsNodes(t)
	if out, err := exec.CommandContext(t.Context(), "docker", "tag", s.Images.Operator, v.Image).CombinedOutput(); err != nil {
		t.Fatalf("image %s: %v: %s", v.Image, err, out)
	}
	if err := nodes.LoadImages(t.Context(), v.Image); err != nil {
		t.Fatal(err)
	}
	return v
}

// sumOf is the sum of the samples of a metric in an answer of /metrics.
func sumOf(t *testing.T, text, name string) float64 {
	t.Helper()
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatalf("%s: %v", m[0], err)
		}
		sum += n
	}
	return sum
}
