package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// collector is the name of the OpenTelemetry Collector's program.
const collector = "otelcol"

// collectorPiece is no part of a control plane, and takes as long to build as all of one.
func collectorPiece() piece {
	return piece{collector, "go.opentelemetry.io/collector/otelcol", ".", "collector", 6 * time.Minute, ""}
}

// EnsureCollector makes sure that there is an OpenTelemetry Collector with the components that the tests need, and returns the path of
// its program.
//
// A program called otelcol in the directory named by OTELIER_ASSETS is taken as it is. Otherwise it is built once, as the programs of
// [EnsureAssets] are, under a name with its version and a hash of its sources, from the module in hack/tools/collector.
func EnsureCollector(ctx context.Context, out io.Writer) (string, error) {
	b, err := newBuilder(out)
	if err != nil {
		return "", err
	}
	if dir := os.Getenv(envAssets); dir != "" {
		path, err := filepath.Abs(filepath.Join(dir, collector))
		if err != nil {
			return "", fmt.Errorf("%s: %w", envAssets, err)
		}
		if executable(path) {
			return path, nil
		}
	}
	return b.ensureCollector(ctx)
}

func (b *builder) ensureCollector(ctx context.Context) (string, error) {
	p := collectorPiece()
	version, err := p.version(b.root)
	if err != nil {
		return "", err
	}
	sum, err := sourceHash(b.tools(p), "*.go", "go.mod", "go.sum")
	if err != nil {
		return "", fmt.Errorf("%s: %w", collector, err)
	}
	dir := filepath.Join(b.cache, collector)
	path := filepath.Join(dir, fmt.Sprintf("%s-%s-%s-%s-%s", collector, version, runtime.GOOS, runtime.GOARCH, sum))
	if executable(path) {
		return path, nil
	}
	supervise, err := b.ensureSupervise(ctx)
	if err != nil {
		return "", err
	}
	return path, b.locked(ctx, dir, func() error {
		if executable(path) {
			return nil
		}
		return b.buildPiece(ctx, supervise, p, path)
	})
}
