package crds

import (
	"errors"
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
		"fields of a selector may be in lower case, as in the incumbent's file": {
			`{config: {}, targetAllocator: {enabled: true, prometheusCR: {enabled: true, serviceMonitorSelector: {matchlabels: {team: a}, matchexpressions: [{key: b, operator: Exists}]}}}}`,
			`{config: {}, targetAllocator: {enabled: true, prometheusCR: {enabled: true, serviceMonitorSelector: {matchLabels: {team: a}, matchExpressions: [{key: b, operator: Exists}]}}}}`,
		},
		"and in any case, in the other dialect, and of namespaces": {
			`{config: text, targetAllocator: {enabled: true, prometheusCR: {enabled: true, serviceMonitorSelector: {}, podMonitorSelector: {MatchLabels: {team: a}}, probeNamespaceSelector: {matchlabels: {team: b}}}}}`,
			`{config: text, targetAllocator: {enabled: true, prometheusCR: {enabled: true, serviceMonitorSelector: {}, podMonitorSelector: {matchLabels: {team: a}}, probeNamespaceSelector: {matchLabels: {team: b}}}}}`,
		},
		"labels may be called as fields of a selector": {
			`{config: text, targetAllocator: {prometheusCR: {serviceMonitorSelector: {matchlabels: a, matchExpressions: b}, podMonitorSelector: {}}}}`,
			`{config: text, targetAllocator: {prometheusCR: {serviceMonitorSelector: {matchLabels: {matchlabels: a, matchExpressions: b}}, podMonitorSelector: {}}}}`,
		},
		"what can't be understood and is not used selects nothing": {
			`{config: {}, targetAllocator: {enabled: false, prometheusCR: {enabled: true, serviceMonitorSelector: {nope: {team: a}}, probeSelector: {matchLabels: {}, team: a}}}}`,
			`{config: {}, targetAllocator: {enabled: false, prometheusCR: {enabled: true}}}`,
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
			got, err := normalise(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(parse(t, tt.want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, in); diff != "" {
				t.Errorf("the input was modified (-before +after):\n%s", diff)
			}
		})
	}
}

// TestSelectorsThatCannotBeUnderstood must never select all, which is what a selector without fields does.
func TestSelectorsThatCannotBeUnderstood(t *testing.T) {
	for name, tt := range map[string]struct{ selectors, want string }{
		"an unknown field": {
			`serviceMonitorSelector: {labels: {team: a}}`,
			"serviceMonitorSelector.labels: not a field of a label selector, want matchLabels and matchExpressions, or labels whose values are strings",
		},
		"an unknown field beside a known one": {
			`podMonitorSelector: {matchExpression: [{key: a, operator: Exists}], matchLabels: {team: a}}`,
			"podMonitorSelector.matchExpression: not a field of a label selector, want matchLabels and matchExpressions, or labels whose values are strings",
		},
		"an unknown field of namespaces, which have no map of labels": {
			`scrapeConfigNamespaceSelector: {team: a}`,
			"scrapeConfigNamespaceSelector.team: not a field of a label selector, want matchLabels and matchExpressions",
		},
		"two spellings": {
			`probeSelector: {matchLabels: {team: a}, matchlabels: {team: b}}`,
			"probeSelector.matchlabels: matchLabels is there in two spellings, want one",
		},
		"nothing below another spelling": {
			`scrapeConfigSelector: {matchlabels: null}`,
			"scrapeConfigSelector.matchlabels: got nothing, want matchLabels and matchExpressions, or labels whose values are strings",
		},
		"labels beside a selector": {
			`serviceMonitorSelector: {team: a, matchLabels: {app: b}}`,
			"serviceMonitorSelector.matchLabels: got an object beside labels, want a string; or only matchLabels and matchExpressions, " +
				"with the labels in matchLabels",
		},
		"a label that is a number": {
			`serviceMonitorSelector: {team: a, shard: 1}`,
			"serviceMonitorSelector.shard: got a number beside labels, want a string; or only matchLabels and matchExpressions, " +
				"with the labels in matchLabels",
		},
		"a text": {`serviceMonitorSelector: team=a`, "serviceMonitorSelector: got a string, want an object"},
	} {
		for _, config := range []string{"{}", "text"} {
			t.Run(name+"/"+config, func(t *testing.T) {
				c, err := Decode(object(t, VersionV1Beta1,
					`{config: `+config+`, mode: statefulset, targetAllocator: {enabled: true, prometheusCR: {enabled: true, `+tt.selectors+`}}}`))
				field, ok := errors.AsType[*FieldError](err)
				if !ok || field.Error() != prometheusPath+"."+tt.want {
					t.Errorf("got error %v\nwant %s.%s", err, prometheusPath, tt.want)
				}
				if c == nil || c.Name != "simplest" {
					t.Errorf("got %+v, want what there is to be known of the collector", c)
				}
			})
		}
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
