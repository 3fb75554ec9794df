package crds

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAllocation(t *testing.T) {
	all := &metav1.LabelSelector{}
	team := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"team": name}}
	}
	anywhere := MonitorSelector{Namespaces: all}
	defaults := Allocation{Strategy: StrategyConsistentHashing, FilterRelabel: true, ReloadInterval: 30 * time.Second, NotReadyGrace: 30 * time.Second}
	with := func(change func(*Allocation)) *Allocation {
		out := defaults
		change(&out)
		return &out
	}
	monitors := func(change func(*MonitorSelection)) *Allocation {
		return with(func(a *Allocation) {
			a.Monitors = &MonitorSelection{
				ServiceMonitors: anywhere, PodMonitors: anywhere, Probes: anywhere, ScrapeConfigs: anywhere,
				SecretNamespaces: []string{"ns"}, ScrapeInterval: 30 * time.Second, EvaluationInterval: 30 * time.Second,
			}
			change(a.Monitors)
		})
	}
	for name, tt := range map[string]struct {
		spec        string
		annotations map[string]string
		want        *Allocation
	}{
		"none":     {spec: `{config: {}, mode: deployment}`},
		"off":      {spec: `{config: {}, mode: sidecar, targetAllocator: {enabled: false, collectorTargetReloadInterval: x}}`},
		"defaults": {spec: `{config: {}, mode: statefulset, targetAllocator: {enabled: true}}`, want: &defaults},
		"a daemonset": {
			spec: `{config: {}, mode: daemonset, targetAllocator: {enabled: true, allocationStrategy: per-node}}`,
			want: with(func(a *Allocation) { a.Strategy = StrategyPerNode }),
		},
		"all fields": {
			spec: `{config: {}, mode: statefulset, targetAllocator: {enabled: true, allocationStrategy: least-weighted, filterStrategy: none,
				collectorNotReadyGracePeriod: 0s, collectorTargetReloadInterval: 90s, allowInsecureAuthSecrets: true}}`,
			want: &Allocation{Strategy: StrategyLeastWeighted, ReloadInterval: 90 * time.Second, AllowInsecureAuthSecrets: true},
		},
		"an empty filter is none": {
			spec: `{config: {}, mode: statefulset, targetAllocator: {enabled: true, filterStrategy: ""}}`,
			want: with(func(a *Allocation) { a.FilterRelabel = false }),
		},
		"annotations": {
			spec:        `{config: {}, mode: statefulset, targetAllocator: {enabled: true}}`,
			annotations: map[string]string{AnnotationTolerance: " 0.05 ", AnnotationMaxTargets: "100", AnnotationZones: "true"},
			want:        with(func(a *Allocation) { a.Tolerance, a.MaxTargets, a.Zones = 0.05, 100, true }),
		},
		"annotations as percentage and off": {
			spec:        `{config: {}, mode: statefulset, targetAllocator: {enabled: true}}`,
			annotations: map[string]string{AnnotationTolerance: "5%", AnnotationZones: "false"},
			want:        with(func(a *Allocation) { a.Tolerance = 0.05 }),
		},
		"monitors that are off": {
			spec: `{config: {}, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: false, scrapeInterval: x}}}`, want: &defaults,
		},
		"monitors of v1beta1: none without a selector": {
			spec: `{config: {}, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, podMonitorSelector: {}, probeSelector: {matchLabels: {team: a}}}}}`,
			want: monitors(func(m *MonitorSelection) { m.PodMonitors.Objects, m.Probes.Objects = all, team("a") }),
		},
		"monitors of v1alpha1: all without a selector, but for the kinds that it has not": {
			spec: `{config: text, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, podMonitorSelector: {team: b}}}}`,
			want: monitors(func(m *MonitorSelection) { m.ServiceMonitors.Objects, m.PodMonitors.Objects = all, team("b") }),
		},
		"a selector in lower case is not one of all": {
			spec: `{config: {}, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, serviceMonitorSelector: {matchlabels: {team: c}}}}}`,
			want: monitors(func(m *MonitorSelection) { m.ServiceMonitors.Objects = team("c") }),
		},
		"all fields of monitors": {
			spec: `{config: {}, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, allowNamespaces: [a], secretNamespaces: [b, c],
				denyFSAccessThroughSMs: true, scrapeInterval: 1m, evaluationInterval: 2m, scrapeProtocols: [x], scrapeClasses: [{name: istio}],
				serviceMonitorSelector: {}, serviceMonitorNamespaceSelector: {matchLabels: {team: a}}, podMonitorNamespaceSelector: {matchLabels: {team: b}},
				probeNamespaceSelector: {matchLabels: {team: c}}, scrapeConfigSelector: {}, scrapeConfigNamespaceSelector: {matchLabels: {team: d}}}}}`,
			want: monitors(func(m *MonitorSelection) {
				*m = MonitorSelection{
					ServiceMonitors: MonitorSelector{all, team("a")}, PodMonitors: MonitorSelector{nil, team("b")},
					Probes: MonitorSelector{nil, team("c")}, ScrapeConfigs: MonitorSelector{all, team("d")},
					AllowNamespaces: []string{"a"}, SecretNamespaces: []string{"b", "c"}, DenyFileAccess: true, ScrapeInterval: time.Minute,
					EvaluationInterval: 2 * time.Minute, ScrapeProtocols: []string{"x"}, ScrapeClasses: []map[string]any{{"name": "istio"}},
				}
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Decode(object(t, VersionV1Beta1, tt.spec))
			if err != nil {
				t.Fatal(err)
			}
			c.Annotations = tt.annotations
			got, err := c.Allocation()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAllocationErrors has what the rules of the CRD refuse too: objects may be older than it.
func TestAllocationErrors(t *testing.T) {
	for spec, want := range map[string]string{
		`{config: {}, targetAllocator: {enabled: true}}`:                                                                              "spec.targetAllocator.enabled: true with spec.mode deployment, want mode statefulset or daemonset",
		`{config: {}, mode: sidecar, targetAllocator: {enabled: true}}`:                                                               "spec.targetAllocator.enabled: true with spec.mode sidecar, want mode statefulset or daemonset",
		`{config: {}, mode: daemonset, targetAllocator: {enabled: true}}`:                                                             "spec.targetAllocator.allocationStrategy: got consistent-hashing, want per-node with spec.mode daemonset",
		`{config: {}, mode: statefulset, targetAllocator: {enabled: true, allocationStrategy: per-node}}`:                             "spec.targetAllocator.allocationStrategy: got per-node, want consistent-hashing or least-weighted with spec.mode statefulset",
		`{config: {}, mode: statefulset, targetAllocator: {enabled: true, collectorNotReadyGracePeriod: -1s}}`:                        `spec.targetAllocator.collectorNotReadyGracePeriod: got "-1s", want a duration of at least 0s, such as 30s`,
		`{config: {}, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, scrapeInterval: 0s}}}`:        `spec.targetAllocator.prometheusCR.scrapeInterval: got "0s", want a duration of at least 1ms, such as 30s`,
		`{config: {}, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, evaluationInterval: often}}}`: `spec.targetAllocator.prometheusCR.evaluationInterval: got "often", want a duration of at least 1ms, such as 30s`,
		`{config: {}, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, podMonitorNamespaceSelector: {matchExpressions: [{key: a, operator: In}]}}}}`: `spec.targetAllocator.prometheusCR.podMonitorNamespaceSelector: ` +
			`values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty; want matchLabels and matchExpressions as in any label selector`,
	} {
		c, err := Decode(object(t, VersionV1Beta1, spec))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Allocation()
		if _, ok := errors.AsType[*FieldError](err); !ok || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", spec, err, want)
		}
	}
}

func TestPoolNamesAndPaths(t *testing.T) {
	for _, c := range []struct {
		name, receiver string
		want, path     string
	}{
		{"simplest", "prometheus", "simplest", "/pools/ns/simplest"},
		{"team.a", "prometheus/x", "team.a:x", "/pools/ns/team.a:x"},
		{"simplest", "prometheus/x", "simplest:x", "/pools/ns/simplest:x"},
		{"simplest", "prometheus/x/y z%", "simplest:x/y z%", "/pools/ns/simplest:x%2Fy%20z%25"},
		{"simplest", "prometheus/../é?#", "simplest:../é?#", "/pools/ns/simplest:..%2F%C3%A9%3F%23"},
	} {
		name := PoolName(c.name, c.receiver)
		if path := PoolPath("ns", name); name != c.want || path != c.path {
			t.Errorf("%s of %s: got %s at %s, want %s at %s", c.receiver, c.name, name, path, c.want, c.path)
		}
	}
	if got := AllocatorURL("telemetry"); got != "http://otelier.telemetry.svc:80" {
		t.Errorf("the allocator is at %s", got)
	}
}
