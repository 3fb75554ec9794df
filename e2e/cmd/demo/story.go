package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

const (
	collector = "stateful"
	example   = "examples/statefulset.yaml"
)

// story is the demo once everything runs.
type story struct {
	cp       *controlplane.ControlPlane
	operator *program.Process
	client   dynamic.Interface
	out      io.Writer
}

// step is something that a user does, and what the collector has to be afterwards.
type step struct {
	title    string
	commands [][]string // of kubectl
}

// tour applies the example and scales it up and down.
func (s *story) tour(ctx context.Context) error {
	wait := []string{"wait", "--for=condition=Ready", "--timeout=60s", "otelcol/" + collector}
	for _, st := range []step{
		{"A collector with a volume for each of its three pods", [][]string{{"apply", "-f", example}, wait}},
		{"Scaled from 3 to 5", [][]string{{"scale", "otelcol/" + collector, "--replicas=5"}, wait}},
		{"Scaled from 5 to 2: StatefulSets keep the claims of pods that are gone", [][]string{{"scale", "otelcol/" + collector, "--replicas=2"}, wait}},
	} {
		if err := s.play(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// end deletes the collector and shows what is left.
func (s *story) end(ctx context.Context) error {
	// The garbage collector of a control plane this young has yet to learn of the new kind: it looks every 30 s
	// (k8s.io/kubernetes/cmd/kube-controller-manager/app/core.go, startGarbageCollectorController).
	title := "Deleted: what is left is the claims, and the data in them (the garbage collector may take half a minute)"
	return s.play(ctx, step{title, [][]string{
		{"delete", "otelcol/" + collector},
		{"wait", "--for=delete", "--timeout=120s", "all,configmap,serviceaccount,poddisruptionbudget", "-l", ours},
	}})
}

// play runs a step's commands and shows what came of them.
func (s *story) play(ctx context.Context, st step) error {
	began := time.Now()
	position, err := s.cp.Audit().Mark(ctx)
	if err != nil {
		return err
	}
	say(s.out, "\n%s\n\n", st.title)
	for _, args := range st.commands {
		if err := s.kubectl(ctx, args); err != nil {
			return err
		}
	}
	took := time.Since(began)
	rows, err := s.rows(ctx)
	if err != nil {
		return err
	}
	say(s.out, "\n")
	if err := table(s.out, rows); err != nil {
		return err
	}
	wrote, err := s.wrote(ctx, position)
	if err != nil {
		return err
	}
	say(s.out, "\n  %.1f s; otelier wrote %s\n", took.Seconds(), wrote)
	return nil
}

// kubectl runs a command and prints it, but of what it says only what went wrong.
func (s *story) kubectl(ctx context.Context, args []string) error {
	say(s.out, "  $ kubectl %s\n", strings.Join(args, " "))
	root, err := program.Root()
	if err != nil {
		return err
	}
	cmd := s.cp.KubectlCommand(ctx, args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// stay waits for Ctrl-C. That something ended by itself meanwhile is an error.
func (s *story) stay(ctx context.Context) error {
	say(s.out, `
It stays up until Ctrl-C. In another terminal:

  export KUBECONFIG=%s PATH=%s:$PATH

  kubectl get otelcol,statefulset,pod,pvc
  kubectl edit otelcol %s
  kubectl delete statefulset %s-collector     # it comes back
  tail -f %s
`, s.cp.Kubeconfig(), filepath.Dir(s.cp.Kubectl()), collector, collector, filepath.Join(s.cp.LogDir(), "otelier.log"))
	select {
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr, "\nstopping")
		return nil
	case <-s.cp.Done():
		return errors.New("the control plane has ended")
	case <-s.operator.Exited():
		return fmt.Errorf("otelier has ended, with status %d", s.operator.ExitCode())
	}
}
