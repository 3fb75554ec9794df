// Package faults_test kills what the operator needs, and the operator, while it works. It has a control plane to itself, and its tests
// run one after the other.
package faults_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/envfuncs"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/controlplane/provider"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

var environment env.Environment //nolint:gochecknoglobals // TestMain has no other way to hand it to the tests

func TestMain(m *testing.M) {
	const cluster = "faults"
	flag.Parse()
	environment = env.NewWithConfig(envconf.New())
	p := provider.New()
	environment.Setup(
		envfuncs.CreateClusterWithOpts(p, cluster, provider.WithOutput(os.Stderr)),
		steps.Begin(p),
	)
	environment.Finish(steps.End, envfuncs.DestroyCluster(cluster))
	os.Exit(environment.Run(m))
}

// fleet is how many collectors there are in each scene.
const fleet = 10

func name(i int) string { return fmt.Sprintf("fleet-%d", i) }

func mode(i int) string { return []string{"statefulset", "deployment", "daemonset"}[i%3] }

// createFleet creates collectors of all modes, those with StatefulSets with claims.
func createFleet(t *testing.T, s *steps.Scene) {
	t.Helper()
	for i := range fleet {
		fields := []string{configLevel(0)}
		switch mode(i) {
		case "statefulset":
			fields = append(fields, `replicas: 2`, claims("1Gi"))
		case "deployment":
			fields = append(fields, `replicas: 2`)
		}
		s.Create(t, steps.Collector(t, name(i), mode(i), fields...))
	}
}

// changeFleet changes what it takes several steps to carry out: StatefulSets are to be made anew around their pods, and the pods of
// the others roll.
func changeFleet(t *testing.T, s *steps.Scene) {
	t.Helper()
	for i := range fleet {
		if mode(i) == "statefulset" {
			s.PatchSpec(t, name(i), claims("2Gi"))
		} else {
			s.PatchSpec(t, name(i), configLevel(1))
		}
	}
}

func claims(size string) string {
	return `volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: ` + size + `}}}}]`
}

func configLevel(n int) string {
	return fmt.Sprintf(`config: {receivers: {otlp: {protocols: {grpc: {endpoint: "0.0.0.0:4317"}}}}, exporters: {debug: {sampling_initial: %d}},
  service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}}`, n)
}

// wantConverged waits until the fleet is Ready, and holds that nothing has leaked and that nothing is left to do. The operator that
// is left is another one.
func wantConverged(t *testing.T, s *steps.Scene) {
	t.Helper()
	for i := range fleet {
		steps.WithoutCondition(t, s.WaitReady(t, name(i)), "Stalled", "Reconciling", "NotConverging")
	}
	s.WantQuietRestart(t, fleet)
	s.WantNothingLeaked(t)
}

// wantChanged holds that the change of the fleet has been carried out without the loss of a pod that could stay.
func wantChanged(t *testing.T, s *steps.Scene, pods []string) {
	t.Helper()
	if got := setPods(t, s); fmt.Sprint(got) != fmt.Sprint(pods) {
		t.Errorf("pods of StatefulSets %v, want them as before: %v", got, pods)
	}
	for _, c := range s.List(t, steps.Claims, steps.ManagedBy) {
		if got := steps.Field(&c, "spec", "resources", "requests", "storage"); got != "2Gi" {
			t.Errorf("claim %s asks for %v, want 2Gi", c.GetName(), got)
		}
	}
}

// setPods are the UIDs of the pods of the fleet's StatefulSets.
func setPods(t *testing.T, s *steps.Scene) []string {
	t.Helper()
	var out []unstructured.Unstructured
	for i := range fleet {
		if mode(i) == "statefulset" {
			out = append(out, s.List(t, steps.Pods, "app.kubernetes.io/instance="+s.Namespace+"."+name(i))...)
		}
	}
	return steps.UIDs(out)
}

// waitStored waits until operators have had a number of writes stored since a position of the audit log, or have nothing more to do.
func waitStored(t *testing.T, s *steps.Scene, p *program.Process, since controlplane.Position, count int) {
	t.Helper()
	steps.Eventually(t, fmt.Sprintf("%d writes", count), func() error {
		n := len(s.Stored(t, since))
		if n >= count {
			return nil
		}
		passes, err := p.Metric(t.Context(), "otelier_reconcile_duration_seconds_count")
		working, _ := p.Metric(t.Context(), "workqueue_unfinished_work_seconds")
		waiting, _ := p.Metric(t.Context(), "workqueue_depth")
		if err == nil && passes >= fleet && working+waiting == 0 && n == len(s.Stored(t, since)) {
			return nil
		}
		return fmt.Errorf("%d writes, %v passes", n, passes)
	})
}
