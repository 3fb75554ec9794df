// Command crdgen writes the CustomResourceDefinition of OpenTelemetryCollector from the hand-written schema in
// crds/schema and the OpenAPI documents that ship in the k8s.io/kubernetes module.
//
//	go run .          writes the file
//	go run . -check   exits 1 if the file is not what would be written
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

// run reads the flags, generates and then writes or compares.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("crdgen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	schema := flags.String("schema", "../../crds/schema", "directory of the hand-written schema")
	out := flags.String("out", "../../crds/opentelemetrycollectors.yaml", "file to write")
	module := flags.String("kubernetes", "../tools/kubernetes", "directory of the Go module that requires k8s.io/kubernetes")
	check := flags.Bool("check", false, "write nothing, fail if the file is not current")
	if err := flags.Parse(args); err != nil {
		return err
	}
	documents, err := openAPIDirectory(ctx, *module)
	if err != nil {
		return err
	}
	want, err := generate(*schema, documents)
	if err != nil {
		return err
	}
	if !*check {
		return os.WriteFile(*out, want, 0o644)
	}
	have, err := os.ReadFile(*out)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("check: %s is not current: run make generate", *out)
	}
	return nil
}
