package crds

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestSelectorsOfMonitorsInBothDialects(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"v1alpha1 has maps of labels, and all monitors without one": {
			`{config: text, targetAllocator: {enabled: true, prometheusCR: {serviceMonitorSelector: {team: a}}}}`,
			`{config: text, targetAllocator: {enabled: true, prometheusCR: {serviceMonitorSelector: {matchLabels: {team: a}}, podMonitorSelector: {}}}}`,
		},
		"v1beta1 has selectors, and no monitors without one": {
			`{config: {}, targetAllocator: {prometheusCR: {serviceMonitorSelector: {matchLabels: {team: a}}}}}`,
			`{config: {}, targetAllocator: {prometheusCR: {serviceMonitorSelector: {matchLabels: {team: a}}}}}`,
		},
		"an empty selector means all in both": {
			`{config: {}, targetAllocator: {prometheusCR: {podMonitorSelector: {}}}}`,
			`{config: {}, targetAllocator: {prometheusCR: {podMonitorSelector: {}}}}`,
		},
		"a selector by expressions stays": {
			`{config: text, targetAllocator: {prometheusCR: {podMonitorSelector: {matchExpressions: [{key: a, operator: Exists}]}, serviceMonitorSelector: {}}}}`,
			`{config: text, targetAllocator: {prometheusCR: {podMonitorSelector: {matchExpressions: [{key: a, operator: Exists}]}, serviceMonitorSelector: {}}}}`,
		},
		"without monitors nothing is selected": {
			`{config: text, targetAllocator: {enabled: true}}`,
			`{config: text, targetAllocator: {enabled: true}}`,
		},
		"the allocator's own observability is spelt as the collector's": {
			`{config: text, targetAllocator: {observability: {metrics: {DisablePrometheusAnnotations: true}}}}`,
			`{config: text, targetAllocator: {observability: {metrics: {disablePrometheusAnnotations: true}}}}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in, before := parse(t, tt.in), parse(t, tt.in)
			if diff := cmp.Diff(parse(t, tt.want), normalise(in)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, in); diff != "" {
				t.Errorf("the input was modified (-before +after):\n%s", diff)
			}
		})
	}
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}
