package operator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// diffed is what otelier diff has printed.
type diffed struct {
	out, err string
	code     int
}

// differ runs otelier diff as a user of its own, so that the audit log tells what it does from what others do.
type differ struct {
	scene      *steps.Scene
	user       string
	kubeconfig string
}

func newDiffer(t *testing.T, s *steps.Scene, user string, groups ...string) differ {
	t.Helper()
	user += "-" + s.Namespace
	kubeconfig, err := s.Cluster.KubeconfigAs(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return differ{s, user, kubeconfig}
}

// run has diff read an input that may be empty. Whatever it prints, it must not have changed anything.
func (d differ) run(t *testing.T, input string, args ...string) diffed {
	t.Helper()
	since := d.scene.Mark(t) // before the versions are read, and asked about after: else what others write in between would go unseen
	before := d.scene.Versions(t, "")
	cmd := exec.CommandContext(t.Context(), d.scene.Binary, append([]string{"diff", "--kubeconfig", d.kubeconfig}, args...)...)
	cmd.Env = program.Environment()
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	if strings.Contains(stderr.String(), "DATA RACE") || strings.Contains(stderr.String(), "panic:") {
		t.Errorf("otelier diff: %s", stderr.String())
	}
	after := d.scene.Versions(t, "")
	writes, err := d.scene.NeedsAudit(t).Writes(t.Context(), since, "")
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]bool{} // names of what somebody else has changed meanwhile, as controllers do that are behind
	for _, w := range controlplane.Persisted(writes) {
		if w.User == d.user {
			t.Errorf("otelier diff %v: %s %s was stored", args, w, w.Name)
		} else {
			others[w.Name] = true
		}
	}
	for object, version := range after {
		if _, name, _ := strings.Cut(object, "/"); version != before[object] && !others[name] {
			t.Errorf("otelier diff %v: %s has resourceVersion %s, want %q as before", args, object, version, before[object])
		}
	}
	return diffed{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want fails the test unless diff has ended with this code, and printed all of these texts.
func (d diffed) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(d.out+d.err, text) })
	if d.code != code || len(missing) > 0 {
		t.Errorf("exit status %d, want %d; without %q:\n%s%s", d.code, code, missing, d.out, d.err)
	}
}

// line is the first line that has all of these texts.
func (d diffed) line(t *testing.T, texts ...string) string {
	t.Helper()
	for line := range strings.Lines(d.out) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return strings.TrimSpace(line)
		}
	}
	t.Errorf("no line with %q in\n%s%s", texts, d.out, d.err)
	return ""
}

// wantCRDs fails the test unless diff says what to do about a cluster that has no API for collectors.
func wantCRDs(t *testing.T, s *steps.Scene, input string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.Binary, append([]string{"diff", "--kubeconfig", s.Cluster.Kubeconfig()}, args...)...)
	cmd.Env, cmd.Stdin = program.Environment(), strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 {
		t.Errorf("otelier diff %v: %v, want exit status 2\n%s", args, err, out)
	}
	if want := "the CRD is not installed: run `otelier crds | kubectl apply --server-side -f -`\n"; !strings.HasSuffix(string(out), want) || strings.Count(string(out), "\n") != 1 {
		t.Errorf("otelier diff %v: %q, want one line that ends with %q", args, out, want)
	}
}

// plan is the part of the document of -o json that is of use here.
type plan struct {
	Kind       string
	Collectors []struct {
		Name    string
		Blocked bool
		Changes []planned
	}
	Summary map[string]int
}

type planned struct {
	Group, Kind, Name, Action, Predicted string

	Fields []struct {
		Path, Op string
		Old, New any
	}
}

func (d diffed) plan(t *testing.T) plan {
	t.Helper()
	var out plan
	if err := json.Unmarshal([]byte(d.out), &out); err != nil {
		t.Fatalf("-o json: %v\n%s%s", err, d.out, d.err)
	}
	if out.Kind != "Plan" {
		t.Errorf("-o json: kind %q, want Plan", out.Kind)
	}
	return out
}
