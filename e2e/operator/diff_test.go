package operator_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// unchanged is all that diff prints when there is nothing to tell.
var unchanged = regexp.MustCompile(`^\d+ unchanged\n$`)

const secretToken = "hunter2hunter2"

// configToken is a configuration with a secret.
func configToken(token string) string {
	return fmt.Sprintf(`receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}}
exporters: {otlp: {endpoint: "backend:4317", headers: {authorization: "Bearer %s"}}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp]}}}
`, token)
}

// proposal is a collector as somebody would apply it, in the scene's namespace.
func proposal(t *testing.T, s *steps.Scene, name, mode string, fields ...string) string {
	t.Helper()
	u := steps.Collector(t, name, mode, fields...)
	u.SetNamespace(s.Namespace)
	return manifest(t, u)
}

// TestDiff looks at collectors that no operator works on at the moment.
func TestDiff(t *testing.T) {
	t.Parallel()
	var d, reader differ
	environment.Test(t, steps.Feature("otelier diff").
		Setup(steps.Operator()).
		Setup(create("web", "deployment", `replicas: 2`)).
		Setup(create("agent", "daemonset")).
		Setup(create("pool", "statefulset", claimOf("1Gi"), `replicas: 2`)).
		Setup(create("token", "deployment", fmt.Sprintf("config: %q", configToken(secretToken)), "env: [{name: API_TOKEN, value: "+secretToken+"}]")).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			s.WaitPasses(t, s.Operators[0], 4)
			if err := s.Operators[0].Stop(); err != nil {
				t.Fatal(err)
			}
			waitBound(t, s, "pool")
			d, reader = newDiffer(t, s, "differ", "system:masters"), newReader(t, s)
		})).
		Assess("prints one line when nothing would change", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, args := range [][]string{{}, {"web"}, {"pool"}} {
				got := d.run(t, "", append(args, "--namespace", s.Namespace)...)
				if got.code != 0 || got.err != "" || !unchanged.MatchString(got.out) {
					t.Errorf("%v: exit status %d, %q and %q, want 0 and one line", args, got.code, got.out, got.err)
				}
			}
			text := proposal(t, s, "web", "deployment", `replicas: 2`)
			same := d.run(t, text+"\n---\n"+text, "-f", "-")
			if same.code != 0 || !unchanged.MatchString(same.out) {
				t.Errorf("of a file with what is there: exit status %d, %q and %q", same.code, same.out, same.err)
			}
		})).
		Assess("tells what a proposal would change", steps.In(func(t *testing.T, s *steps.Scene) { proposed(t, s, d) })).
		Assess("tells what makes a StatefulSet anew", steps.In(func(t *testing.T, s *steps.Scene) {
			got := d.run(t, proposal(t, s, "pool", "statefulset", claimOf("2Gi"), `replicas: 2`), "-f", "-")
			got.want(t, 1, "1 to replace", ".spec.volumeClaimTemplates")
			if line := got.line(t, "pool-collector", "StatefulSet"); !strings.HasPrefix(line, "-/+") {
				t.Errorf("the StatefulSet's line begins with something else than -/+: %s", line)
			}
			got.line(t, "StatefulSet", "pods and volumes stay")
			got.line(t, "PersistentVolumeClaim", "data-pool-collector-0")
			got.line(t, "PersistentVolumeClaim", "data-pool-collector-1")
		})).
		Assess("hides what is secret", steps.In(func(t *testing.T, s *steps.Scene) { redacted(t, s, d) })).
		Assess("predicts where it may not ask", steps.In(func(t *testing.T, s *steps.Scene) {
			got := reader.run(t, proposal(t, s, "web", "deployment", `replicas: 3`), "-f", "-")
			got.want(t, 1, "predicted", ".spec.replicas", "may not patch deployments.apps")
			if got := reader.run(t, "", "--namespace", s.Namespace); got.code != 0 || !unchanged.MatchString(got.out) {
				t.Errorf("of what is there: exit status %d, %q and %q", got.code, got.out, got.err)
			}
		})).
		Assess("ends with 2 when it can't tell", steps.In(func(t *testing.T, s *steps.Scene) {
			d.run(t, "", "nope", "--namespace", s.Namespace).want(t, 2, "nope", "not found")
			d.run(t, proposal(t, s, "web", "deployment", `config: "{}"`), "-f", "-").want(t, 2, "spec.config")
			d.run(t, proposal(t, s, "pool", "statefulset", strings.ReplaceAll(claimOf("1Gi"), "ReadWriteOnce", "Foo")), "-f", "-").want(t, 2, "accessModes")
			d.run(t, "no manifest", "-f", "-").want(t, 2)
			blockedBy(t, s, d)
			newDiffer(t, s, "stranger").run(t, "", "--namespace", s.Namespace).want(t, 2, "forbidden")
		})).
		Assess("tells whose changes would be taken back", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "scale", "deployment/web-collector", "--replicas=4")
			s.Kubectl(t, "", "set", "image", "daemonset/agent-collector", "otc-container=example.com/other:1")
			waitScaled(t, s)
			got := d.run(t, "", "web", "--namespace", s.Namespace)
			got.want(t, 1, "1 taken back")
			if line := got.line(t, ".spec.replicas", "4 → 2", "set by kubectl through scale; will be taken back"); !strings.HasPrefix(line, "!") {
				t.Errorf("the field's line begins with something else than an exclamation mark: %s", line)
			}
			if line := d.run(t, "", "agent", "--namespace", s.Namespace).line(t, ".image", "example.com/other:1", "kubectl-set"); !strings.HasPrefix(line, "!") {
				t.Errorf("the field's line begins with something else than an exclamation mark: %s", line)
			}
		})).
		Feature())
}

// waitScaled waits until nobody but the operator has anything left to do about what was changed by hand.
func waitScaled(t *testing.T, s *steps.Scene) {
	s.Kubectl(t, "", "rollout", "status", "deployment/web-collector", "--timeout=60s")
	s.Kubectl(t, "", "rollout", "status", "daemonset/agent-collector", "--timeout=60s")
	waitField(t, s, steps.Budgets, "web-collector", int64(4), "status", "currentHealthy")
}

// proposed compares the formats for a proposal.
func proposed(t *testing.T, s *steps.Scene, d differ) {
	text := proposal(t, s, "web", "deployment", "{image: example.com/other:1, replicas: 5}", fmt.Sprintf("config: %q", configLevel(7)))
	got := d.run(t, text, "-f", "-")
	got.want(t, 1, "1 to create", "to change", "example.com/other:1")
	got.line(t, "~", `.spec.template.spec.containers[name="otc-container"].image`)
	got.line(t, "~", ".spec.replicas", "2", "5")
	got.line(t, "+", "ConfigMap", "web-collector-")
	got.line(t, "+", "sampling_initial: 7")

	doc := d.run(t, text, "-f", "-", "-o", "json").plan(t)
	if len(doc.Collectors) != 1 || doc.Summary["create"] != 1 || doc.Summary["change"] == 0 {
		t.Errorf("-o json: %+v", doc)
	}
	var fromYAML plan
	if err := utilyaml.Unmarshal([]byte(d.run(t, text, "-f", "-", "-o", "yaml").out), &fromYAML); err != nil || fmt.Sprint(fromYAML) != fmt.Sprint(doc) {
		t.Errorf("-o yaml: error %v, and %+v, want what -o json has: %+v", err, fromYAML, doc)
	}
	names := d.run(t, text, "-f", "-", "-o", "name")
	names.want(t, 1, "deployment.apps/web-collector\n", "configmap/web-collector-")
	patch := d.run(t, text, "-f", "-", "-o", "patch")
	patch.want(t, 1)
	out := s.Kubectl(t, patch.out, "apply", "--server-side", "--field-manager=otelier", "--force-conflicts", "--dry-run=server", "-f", "-")
	for name := range strings.Lines(names.out) {
		if !strings.Contains(out, strings.TrimSpace(name)+" ") {
			t.Errorf("kubectl apply of -o patch says nothing of %s:\n%s", strings.TrimSpace(name), out)
		}
	}
}

// blockedBy proposes something of which the API server refuses a part: nothing would be done.
func blockedBy(t *testing.T, s *steps.Scene, d differ) {
	bad := proposal(t, s, "web", "deployment", "{resources: {limits: {memory: '-1'}}}", fmt.Sprintf("config: %q", configLevel(7)))
	got := d.run(t, bad, "-f", "-")
	got.want(t, 2, "nothing of this is done until the error is resolved", "1 error (1 change blocked)")
	got.line(t, "+", "ConfigMap", "web-collector-")
	for _, format := range []string{"name", "patch"} {
		got := d.run(t, bad, "-f", "-", "-o", format)
		if got.code != 2 || got.out != "" || !strings.Contains(got.err, "memory") {
			t.Errorf("-o %s: exit status %d, %q and %q, want 2, nothing, and an error", format, got.code, got.out, got.err)
		}
	}
	doc := d.run(t, bad, "-f", "-", "-o", "json").plan(t)
	if len(doc.Collectors) != 1 || !doc.Collectors[0].Blocked || doc.Summary["create"] != 0 || doc.Summary["blocked"] != 1 {
		t.Errorf("-o json: %+v", doc)
	}
	both := d.run(t, bad+"\n---\n"+proposal(t, s, "web", "deployment", `replicas: 2`), "-f", "-")
	both.want(t, 0, "document 1: skipped", "document 2, which counts")
}

// redacted changes a secret in a configuration and in a variable.
func redacted(t *testing.T, s *steps.Scene, d differ) {
	const other = "correcthorsebattery"
	text := proposal(t, s, "token", "deployment", fmt.Sprintf("config: %q", configToken(other)), "env: [{name: API_TOKEN, value: "+other+"}]")
	for _, format := range []string{"text", "json", "yaml", "name"} {
		got := d.run(t, text, "-f", "-", "-o", format)
		got.want(t, 1)
		if strings.Contains(got.out+got.err, secretToken) || strings.Contains(got.out+got.err, other) {
			t.Errorf("-o %s shows a secret:\n%s%s", format, got.out, got.err)
		}
	}
	d.run(t, text, "-f", "-").want(t, 1, "redacted", "API_TOKEN")
	d.run(t, text, "-f", "-", "-o", "patch").want(t, 2, "--show-secrets") // half of one would be of no use
	d.run(t, text, "-f", "-", "--show-secrets").want(t, 1, secretToken, other)
}

// newReader is a user who may read everything, and nothing else.
func newReader(t *testing.T, s *steps.Scene) differ {
	t.Helper()
	d := newDiffer(t, s, "reader")
	role := strings.ReplaceAll(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: NAME}]
`, "NAME", d.user)
	cmd := s.Cluster.KubectlCommand(t.Context(), "create", "-f", "-")
	cmd.Stdin = strings.NewReader(role)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl create: %v\n%s", err, out)
	}
	steps.Eventually(t, "permission", func() error {
		out, err := s.TryKubectl(t.Context(), "", "auth", "can-i", "list", "deployments.apps", "--as", d.user)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return d
}

// TestDiffOfAll has a control plane of its own, as it asks for every collector that there is.
func TestDiffOfAll(t *testing.T) {
	t.Parallel()
	var (
		elsewhere *steps.Scene
		d         differ
	)
	environment.Test(t, steps.Feature("otelier diff -A").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			elsewhere = s.Another(t).Scene(t)
			wantCRDs(t, elsewhere, "", "-A")
			wantCRDs(t, elsewhere, proposal(t, elsewhere, "web", "deployment"), "-f", "-")
			if err := program.InstallCRDs(t.Context(), s.Binary, elsewhere.Cluster); err != nil {
				t.Fatal(err)
			}
			second := &steps.Scene{Suite: elsewhere.Suite, Namespace: elsewhere.NewNamespace(t)}
			p := elsewhere.Launch(t, "--kubeconfig", elsewhere.Cluster.Kubeconfig())
			elsewhere.AwaitReady(t, p)
			for i, mode := range []string{"deployment", "statefulset", "daemonset"} {
				elsewhere.Create(t, steps.Collector(t, fmt.Sprintf("c%d", i), mode))
				second.Create(t, steps.Collector(t, fmt.Sprintf("c%d", i), mode))
			}
			for i := range 3 {
				elsewhere.WaitReady(t, fmt.Sprintf("c%d", i))
				second.WaitReady(t, fmt.Sprintf("c%d", i))
			}
			elsewhere.WaitPasses(t, p, 6)
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			d = newDiffer(t, elsewhere, "differ", "system:masters")
		})).
		Assess("prints one line when nothing would change", steps.In(func(t *testing.T, _ *steps.Scene) {
			got := d.run(t, "", "-A")
			if got.code != 0 || got.err != "" || !unchanged.MatchString(got.out) {
				t.Errorf("exit status %d, %q and %q, want 0 and one line", got.code, got.out, got.err)
			}
		})).
		Assess("shows what another version of the program would change", steps.In(func(t *testing.T, _ *steps.Scene) {
			d.run(t, "", "-A", "--collector-image", "example.com/collector:9.9.9").want(t, 1, "example.com/collector:9.9.9", `"9.9.9"`)
		})).
		Feature())
}

// TestDiffIsWhatHappens applies what was proposed, and compares what has changed with what diff has printed.
func TestDiffIsWhatHappens(t *testing.T) {
	t.Parallel()
	changes := map[string][]string{
		"deployment": {"{image: example.com/other:1, replicas: 3, env: [{name: A, value: b}], podAnnotations: {a: b}}", fmt.Sprintf("config: %q", configLevel(7))},
		"daemonset":  {"{serviceAccount: default, resources: {limits: {memory: 64Mi}}, nodeSelector: {kubernetes.io/os: linux}}"},
		"statefulset": {
			"{podManagementPolicy: OrderedReady, replicas: 2, terminationGracePeriodSeconds: 5}", claimOf("2Gi"),
		},
	}
	feature := steps.Feature("what diff prints").Setup(steps.Operator())
	for mode, fields := range changes {
		feature = feature.Assess("is what happens to a "+mode, steps.In(func(t *testing.T, s *steps.Scene) {
			was := "{}"
			if mode == "statefulset" {
				was = claimOf("1Gi")
			}
			s.Create(t, steps.Collector(t, mode, mode, was))
			s.WaitReady(t, mode)
			waitBound(t, s, mode)
			text := proposal(t, s, mode, mode, fields...)
			before := stateOf(t, s, mode)
			want := newDiffer(t, s, "differ-"+mode, "system:masters").run(t, text, "-f", "-", "-o", "json", "--show-secrets").plan(t)
			s.Kubectl(t, text, "apply", "--server-side", "--force-conflicts", "-f", "-")
			s.WaitReady(t, mode)
			wantPlanned(t, want, before, stateOf(t, s, mode))
		}))
	}
	environment.Test(t, feature.Feature())
}

// stateOf are the objects of a collector, by "Kind/name".
func stateOf(t *testing.T, s *steps.Scene, collector string) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	for _, r := range append(steps.Made(), steps.Claims) {
		for _, u := range s.List(t, r, instanceOf(s, collector)) {
			out[u.GetKind()+"/"+u.GetName()] = &u
		}
	}
	return out
}
