package reconcile

import (
	"fmt"
	"slices"
	"testing"

	"github.com/otelier/otelier/crds"
)

// TestConfigurationsThatPodsReadStay is about former ConfigMaps, of which pods may read one for long: below a partition, or while none
// of the newer ones works.
func TestConfigurationsThatPodsReadStay(t *testing.T) {
	in := Input{Collector: &crds.Collector{Namespace: "ns", Name: "a", UID: "c"}, Live: Objects{}}
	in.Collector.Spec.ConfigVersions = new(int32(1))
	for i := range 5 {
		u := objectFrom(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"config-%d","namespace":"ns","uid":"%d","creationTimestamp":"2026-01-01T00:00:0%dZ",
			"ownerReferences":[{"apiVersion":"opentelemetry.io/v1beta1","kind":"OpenTelemetryCollector","name":"a","uid":"c","controller":true}]}}`, i, i, i))
		in.Live[idOf(u)] = u
	}
	for i, more := range []string{"", `,"deletionTimestamp":"2026-01-01T00:01:00Z"`} {
		in.Pods = append(in.Pods, slimPod(objectFrom(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a-%d","namespace":"ns"%s},"spec":{"volumes":[
			{"name":"other","configMap":{"name":"config-3"}},{"name":"otc-internal","configMap":{"name":"config-%d"}}]}}`, i, more, i))))
	}
	newest := ID{Kind: "ConfigMap", Namespace: "ns", Name: "config-4"}
	stale, err := staleObjects(in, map[ID]bool{newest: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range stale {
		got = append(got, c.ID.Name)
	}
	// Of the former ones config-3 is the newest, and the pod a-0 reads config-0; a-1 is on its way out.
	if want := []string{"config-1", "config-2"}; !slices.Equal(got, want) {
		t.Errorf("%v go, want %v", got, want)
	}
}
