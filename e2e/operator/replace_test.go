package operator_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

// replacement is a StatefulSet before it is made anew.
type replacement struct {
	collector    string
	set          string   // its UID
	pods, claims []string // their UIDs
	since        controlplane.Position
}

func beforeReplacement(t *testing.T, s *steps.Scene, collector string) replacement {
	t.Helper()
	return replacement{
		collector: collector,
		set:       string(s.Get(t, steps.StatefulSets, collector+"-collector").GetUID()),
		pods:      steps.UIDs(s.List(t, steps.Pods, instanceOf(s, collector))),
		claims:    steps.UIDs(s.List(t, steps.Claims, instanceOf(s, collector))),
		since:     s.Mark(t),
	}
}

// wantReplaced holds what is true of every replacement: another StatefulSet around the same claims.
func (r replacement) wantReplaced(t *testing.T, s *steps.Scene) {
	t.Helper()
	if got := string(s.Get(t, steps.StatefulSets, r.collector+"-collector").GetUID()); got == r.set {
		t.Error("the StatefulSet has not been made anew")
	}
	if got := steps.UIDs(s.List(t, steps.Claims, instanceOf(s, r.collector))); !slices.Equal(got, r.claims) {
		t.Errorf("claims %v, want them as before: %v", got, r.claims)
	}
}

func (r replacement) wantSamePods(t *testing.T, s *steps.Scene) {
	t.Helper()
	pods := s.List(t, steps.Pods, instanceOf(s, r.collector))
	if got := steps.UIDs(pods); !slices.Equal(got, r.pods) {
		t.Errorf("pods %v, want them as before: %v", got, r.pods)
	}
	wantPodsOf(t, s, steps.StatefulSets, r.collector)
}

// wantWrites holds how the replacement was made: by one deletion that leaves the pods, with the UID as its precondition, and by no
// more writes than these and four of the status.
func (r replacement) wantWrites(t *testing.T, s *steps.Scene, more map[string]int) {
	t.Helper()
	const status = "patch opentelemetrycollectors.opentelemetry.io/status"
	writes := slices.DeleteFunc(s.Stored(t, r.since), func(w controlplane.Write) bool { return strings.HasPrefix(w.Name, "canary") })
	counts := controlplane.Counts(writes)
	if counts[status] > 4 {
		t.Errorf("%d writes of the status, want no more than 4", counts[status])
	}
	delete(counts, status)
	want := map[string]int{"delete statefulsets.apps": 1, "patch statefulsets.apps": 1}
	maps.Copy(want, more)
	if !maps.Equal(counts, want) {
		t.Errorf("writes %v, want %v:%s", counts, want, steps.Describe(writes))
	}
	for _, w := range writes {
		if w.Verb == "delete" && (w.Propagation != "Orphan" || w.PreconditionUID != r.set) {
			t.Errorf("%s %s: propagation %q and UID %q, want Orphan and %q", w, w.Name, w.Propagation, w.PreconditionUID, r.set)
		}
	}
}

// replaced makes a collector, changes its spec to what no StatefulSet can be changed to, and holds what comes of it.
func replaced(collector, was, patch string, more map[string]int, also ...func(*testing.T, *unstructured.Unstructured)) steps.Act {
	return func(t *testing.T, s *steps.Scene) {
		s.Create(t, steps.Collector(t, collector, "statefulset", was, `replicas: 3`))
		s.WaitReady(t, collector)
		settle(t, s)
		before := beforeReplacement(t, s, collector)
		s.PatchSpec(t, collector, patch)
		s.Kubectl(t, "", "wait", "--for=condition=Ready", "--timeout=60s", "otelcol/"+collector)
		before.wantReplaced(t, s)
		before.wantSamePods(t, s)
		for _, check := range also {
			check(t, s.Get(t, steps.StatefulSets, collector+"-collector"))
		}
		settle(t, s)
		before.wantWrites(t, s, more)
		if n := s.CountEvents(t, collector, "Replaced"); n != 1 {
			t.Errorf("%d Events with reason Replaced, want one: %+v", n, s.Events(t, collector))
		}
	}
}

// hasField is a check that the new StatefulSet has a value.
func hasField(want any, path ...string) func(*testing.T, *unstructured.Unstructured) {
	return func(t *testing.T, set *unstructured.Unstructured) {
		if got := element(set, path...); got != want {
			t.Errorf("%s is %v, want %v", strings.Join(path, "."), got, want)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("a StatefulSet is made anew around its pods").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Assess("for claims that grow, and so do the claims", steps.In(
			replaced("grown", claimOf("1Gi"), claimOf("2Gi"), map[string]int{"patch persistentvolumeclaims": 3},
				hasField("2Gi", "spec", "volumeClaimTemplates", "0", "spec", "resources", "requests", "storage")),
			wantClaimSize("grown", "2Gi"),
		)).
		Assess("for another Service", steps.In(replaced("moved", claimOf("1Gi"), `serviceName: elsewhere`, nil, hasField("elsewhere", "spec", "serviceName")))).
		Assess("for another policy of pod management", steps.In(
			replaced("ordered", claimOf("1Gi"), `podManagementPolicy: OrderedReady`, nil, hasField("OrderedReady", "spec", "podManagementPolicy")),
		)).
		Assess("once, for all of that together", steps.In(
			replaced("all", claimOf("1Gi"), "serviceName: elsewhere\npodManagementPolicy: OrderedReady\n"+claimOf("3Gi"),
				map[string]int{"patch persistentvolumeclaims": 3}),
			wantClaimSize("all", "3Gi"),
		)).
		Assess("and leaves nothing behind", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WantQuietRestart(t, 5)
			s.WantNothingLeaked(t)
		})).
		Feature())
}

// TestReplaceAndRoll has replacements that change the pods too.
func TestReplaceAndRoll(t *testing.T) {
	t.Parallel()
	const mount = "volumeMounts: [{name: data, mountPath: /data}]\n"
	roll := func(collector, was, patch string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, collector, "statefulset", was, `replicas: 2`))
			s.WaitReady(t, collector)
			before := beforeReplacement(t, s, collector)
			s.PatchSpec(t, collector, patch)
			s.Kubectl(t, "", "wait", "--for=condition=Ready", "--timeout=60s", "otelcol/"+collector)
			wantPodsOf(t, s, steps.StatefulSets, collector)
			for _, pod := range s.List(t, steps.Pods, instanceOf(s, collector)) {
				if slices.Contains(before.pods, string(pod.GetUID())) {
					t.Errorf("pod %s is the one from before", pod.GetName())
				}
			}
			if got := steps.UIDs(s.List(t, steps.Claims, instanceOf(s, collector))); !containsAll(got, before.claims) {
				t.Errorf("claims %v, want those from before among them: %v", got, before.claims)
			}
		}
	}
	environment.Test(t, steps.Feature("a StatefulSet is made anew, and its pods too").
		Setup(steps.Operator()).
		Assess("for claims that grow while the image changes", steps.In(
			roll("both", mount+claimOf("1Gi"), "image: example.com/other:1\n"+claimOf("2Gi")), wantClaimSize("both", "2Gi"),
		)).
		Assess("for claims where there were none", steps.In(
			roll("first", `image: example.com/one:1`, mount+claimOf("1Gi")), wantClaimSize("first", "1Gi"),
		)).
		Assess("for no claims where there were some", steps.In(
			roll("last", mount+claimOf("1Gi"), "{volumeMounts: null, volumeClaimTemplates: null}"),
		)).
		Assess("and leaves nothing to do", steps.In(func(t *testing.T, s *steps.Scene) { s.WantQuietRestart(t, 3) })).
		Feature())
}

func containsAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(v string) bool { return !slices.Contains(have, v) })
}

// wantClaimSize holds what every claim of a collector asks for at this moment, and what it has soon after.
func wantClaimSize(collector, size string) steps.Act {
	return func(t *testing.T, s *steps.Scene) {
		t.Helper()
		claims := s.List(t, steps.Claims, instanceOf(s, collector))
		if len(claims) == 0 {
			t.Error("no claims")
		}
		for _, c := range claims {
			if got := steps.Field(&c, "spec", "resources", "requests", "storage"); got != size {
				t.Errorf("claim %s asks for %v, want %s", c.GetName(), got, size)
			}
			steps.Eventually(t, "capacity of "+c.GetName(), func() error {
				if got := steps.Field(s.Get(t, steps.Claims, c.GetName()), "status", "capacity", "storage"); got != size {
					return fmt.Errorf("%v, want %s", got, size)
				}
				return nil
			})
		}
	}
}

// TestReplaceRefused has replacements that the API server would not take.
func TestReplaceRefused(t *testing.T) {
	t.Parallel()
	refused := func(collector, patch string, texts ...string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, collector, "statefulset", claimOf("1Gi"), `replicas: 2`))
			s.WaitReady(t, collector)
			before := beforeReplacement(t, s, collector)
			s.PatchSpec(t, collector, patch)
			s.WaitCondition(t, collector, "Stalled", "True", "InvalidSpec", append(texts, "statefulset/"+collector+"-collector")...)
			if got := string(s.Get(t, steps.StatefulSets, collector+"-collector").GetUID()); got != before.set {
				t.Errorf("the StatefulSet was made anew")
			}
			before.wantSamePods(t, s)
			wantClaimSize(collector, "1Gi")(t, s)
			for _, w := range s.Stored(t, before.since) {
				if w.Verb == "delete" || w.Resource == "persistentvolumeclaims" {
					t.Errorf("%s %s", w, w.Name)
				}
			}
			s.PatchSpec(t, collector, repair(t, "{volumeMounts: null}")+"\n"+claimOf("1Gi"))
			steps.WithoutCondition(t, s.WaitReady(t, collector), "Stalled")
			before.wantSamePods(t, s)
		}
	}
	environment.Test(t, steps.Feature("a replacement that would be refused deletes nothing: ").
		Setup(steps.Operator()).
		Assess("a bad claim template", steps.In(refused("foo", strings.ReplaceAll(claimOf("2Gi"), "ReadWriteOnce", "Foo"), "accessModes"))).
		Assess("a good one beside a bad mount", steps.In(
			refused("mount", claimOf("2Gi")+"\nvolumeMounts: [{name: nowhere, mountPath: /data}]", "volumeMounts", "Not found"),
		)).
		Assess("a claim that would shrink is replaced in the template alone", steps.In(shrunk)).
		Feature())
}

// shrunk has a claim template that asks for less than there is, which no claim can follow.
func shrunk(t *testing.T, s *steps.Scene) {
	s.Create(t, steps.Collector(t, "shrunk", "statefulset", claimOf("2Gi"), `replicas: 2`))
	s.WaitReady(t, "shrunk")
	before := beforeReplacement(t, s, "shrunk")
	s.PatchSpec(t, "shrunk", claimOf("1Gi"))
	s.WaitReady(t, "shrunk")
	before.wantReplaced(t, s)
	before.wantSamePods(t, s)
	wantClaimSize("shrunk", "2Gi")(t, s)
}
