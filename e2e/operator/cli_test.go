package operator_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

func TestSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		var p *program.Process
		environment.Test(t, steps.Feature(sig.String()).
			Setup(steps.In(func(t *testing.T, s *steps.Scene) { p = s.StartOperator(t) })).
			Setup(create("runs", "deployment")).
			Assess("ends the operator in order", steps.In(func(t *testing.T, _ *steps.Scene) {
				if err := p.Signal(sig); err != nil {
					t.Fatal(err)
				}
				steps.WaitExit(t, p)
				if code := p.ExitCode(); code != 0 {
					t.Errorf("exit status %d, want 0", code)
				}
				if !strings.HasSuffix(p.Log(), "msg=stopped\n") {
					t.Errorf("the last line is not that it has stopped:\n%s", p.Tail())
				}
			})).
			Feature())
	}
}

func TestStartFailures(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	nonsense, nowhere := filepath.Join(dir, "nonsense"), filepath.Join(dir, "nowhere")
	for file, text := range map[string]string{
		nonsense: "no kubeconfig at all",
		nowhere: `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],
users: [{name: x, user: {}}], clusters: [{name: x, cluster: {server: "http://127.0.0.1:1"}}]}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	feature := steps.Feature("an operator that can't start says why")
	for _, c := range []struct {
		name  string
		flags []string
		code  int
		texts []string
	}{
		{"missing kubeconfig", []string{"--kubeconfig", filepath.Join(dir, "missing")}, 1, []string{"kubeconfig: ", "missing", "no such file"}},
		{"nonsense as kubeconfig", []string{"--kubeconfig", nonsense}, 1, []string{"kubeconfig: ", nonsense}},
		{"unknown context", []string{"--kubeconfig", nowhere, "--context", "other"}, 1, []string{"kubeconfig: ", `"other" does not exist`}},
		{"unreachable server", []string{"--kubeconfig", nowhere}, 1, []string{"connect to http://127.0.0.1:1: ", "connection refused"}},
		{"port in use", []string{"--listen", taken.Addr().String()}, 1, []string{taken.Addr().String(), "address already in use", "--listen"}},
		{"no namespace for the election", []string{"--leader-elect"}, 80, []string{"--leader-elect-namespace"}},
		{"unknown flag", []string{"--no-such-flag"}, 80, []string{"--no-such-flag"}},
		{"no workers", []string{"--workers", "0"}, 80, []string{"--workers must be at least 1"}},
	} {
		feature = feature.Assess(c.name, steps.In(func(t *testing.T, s *steps.Scene) {
			p := s.Launch(t, append([]string{"--kubeconfig", s.Cluster.Kubeconfig(), "--namespaces", s.Namespace}, c.flags...)...)
			steps.WaitExit(t, p)
			if code := p.ExitCode(); code != c.code {
				t.Errorf("exit status %d, want %d", code, c.code)
			}
			lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
			last := lines[len(lines)-1]
			for _, text := range append(c.texts, "otelier: error: ") {
				if !strings.Contains(last, text) {
					t.Errorf("the last line has no %q: %s", text, last)
				}
			}
		}))
	}
	environment.Test(t, feature.Feature())
}
