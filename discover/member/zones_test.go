package member

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	testingclock "k8s.io/utils/clock/testing"
)

func node(name, zone string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}},
	}
}

func newZoneClient(t *testing.T, nodes ...runtime.Object) *metadatafake.FakeMetadataClient {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return metadatafake.NewSimpleMetadataClient(scheme, nodes...)
}

func expectZones(t *testing.T, z *zones, when string, want map[string]string) {
	t.Helper()
	if got := z.known(); !maps.Equal(got, want) {
		t.Errorf("%s: zones %v, want %v", when, got, want)
	}
}

// Replicas that have seen nodes come and go in another order must place members in the same zones.
func TestZonesDoNotDependOnThePast(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Now())
	client := newZoneClient(t, node("b", "z1"), node("c", "z2"))
	want := map[string]string{"b": "z1", "c": "z2"}
	late := newZones(client, clock, slog.New(slog.DiscardHandler))
	again := late.learn(t.Context(), []string{"a", "b", "c"})
	expectZones(t, late, "all at once", want)
	if at := clock.Now().Add(zoneRetry); !again.Equal(at) {
		t.Errorf("asks to be called at %v, want %v", again, at)
	}
	early := newZones(client, clock, slog.New(slog.DiscardHandler))
	if again := early.learn(t.Context(), []string{"b", "d"}); again.IsZero() {
		t.Error("does not ask to be called for a node that is not there")
	}
	early.learn(t.Context(), []string{"a", "b", "c"})
	expectZones(t, early, "one after the other", want)
	asked := len(client.Actions())
	late.learn(t.Context(), []string{"a", "b", "c"})
	if n := len(client.Actions()) - asked; n > 0 {
		t.Errorf("%d requests for what was asked just now", n)
	}

	if err := client.Tracker().Add(node("a", "z3")); err != nil {
		t.Fatal(err)
	}
	clock.Step(zoneRetry)
	want["a"] = "z3"
	for _, z := range []*zones{late, early} {
		if again := z.learn(t.Context(), []string{"a", "b", "c"}); !again.IsZero() {
			t.Errorf("asks to be called at %v although all is known", again)
		}
		expectZones(t, z, "when the node is there", want)
	}
	late.learn(t.Context(), []string{"b"})
	expectZones(t, late, "of what is still named", map[string]string{"b": "z1"})
}

func TestZonesOfManyNodes(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Now())
	client := newZoneClient(t, node("n0", "z"), node("other", "y"))
	z := newZones(client, clock, slog.New(slog.DiscardHandler))
	var names []string
	for i := range listFrom {
		names = append(names, fmt.Sprint("n", i))
	}
	if again := z.learn(t.Context(), names); again.IsZero() {
		t.Error("does not ask to be called for nodes that are not there")
	}
	expectZones(t, z, "listed", map[string]string{"n0": "z"})
	z.learn(t.Context(), append(names, "other"))
	expectZones(t, z, "one more", map[string]string{"n0": "z", "other": "y"})
}

func TestZonesThatCanNotBeRead(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Now())
	client := newZoneClient(t, node("a", "z"))
	fail := true
	client.PrependReactor("get", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return fail, nil, errors.New("etcd is away")
	})
	z := newZones(client, clock, slog.New(slog.DiscardHandler))
	again := z.learn(t.Context(), []string{"a"})
	if at := clock.Now().Add(zoneRetry); !again.Equal(at) {
		t.Fatalf("asks to be called at %v, want %v", again, at)
	}
	fail = false
	clock.Step(zoneRetry)
	if again := z.learn(t.Context(), []string{"a"}); !again.IsZero() {
		t.Fatalf("asks to be called at %v although all is known", again)
	}
	expectZones(t, z, "after a while", map[string]string{"a": "z"})
}

// A pod that is missing for a moment must not take the zone of its place along.
func TestNodesOfMissingPodsAreAskedFor(t *testing.T) {
	w := newWorld(t, 2)
	w.expect("from the start", "0 1")
	w.remove(1)
	w.expect("one is missing", "0 1")
	got := w.tracker.nodes()
	slices.Sort(got)
	if want := []string{"n0", "n1"}; !slices.Equal(got, want) {
		t.Fatalf("nodes are %v, want %v", got, want)
	}
}
