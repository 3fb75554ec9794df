package api_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// ruleCases is one entry of testdata/rules.yaml.
type ruleCases struct {
	Rule   string           `json:"rule"`
	Accept []map[string]any `json:"accept"`
	Reject []rejection      `json:"reject"`
}

type rejection struct {
	Version string         `json:"version"`
	Spec    map[string]any `json:"spec"`
	Before  map[string]any `json:"before"`
	After   map[string]any `json:"after"`
	Field   string         `json:"field"`
	Says    []string       `json:"says"`
}

func readRuleCases(t *testing.T) []ruleCases {
	t.Helper()
	raw, err := os.ReadFile("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []ruleCases
	if err := yaml.UnmarshalStrict(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRules(t *testing.T) {
	c := connect(t)
	for _, cases := range readRuleCases(t) {
		if len(cases.Accept) == 0 || len(cases.Reject) == 0 {
			t.Errorf("rule %s needs an accepted and a rejected case", cases.Rule)
		}
		for i, accepted := range cases.Accept {
			version, _ := accepted["version"].(string)
			for _, version := range orBoth(version) {
				t.Run(cases.Rule+"/accept/"+strconv.Itoa(i)+"/"+version, func(t *testing.T) {
					if err := c.submit(t, version, asRejection(accepted)); err != nil {
						t.Errorf("got error %v, want it accepted: %v", err, accepted)
					}
				})
			}
		}
		for i, rejected := range cases.Reject {
			for _, version := range orBoth(rejected.Version) {
				t.Run(cases.Rule+"/reject/"+strconv.Itoa(i)+"/"+version, func(t *testing.T) {
					wantCause(t, c.submit(t, version, rejected), rejected.Field, rejected.Says...)
				})
			}
		}
	}
}

// TestEveryRuleHasACase looks the other way: no rule of the CRD may be without a rejected case of its field.
func TestEveryRuleHasACase(t *testing.T) {
	tested := map[string]bool{}
	for _, cases := range readRuleCases(t) {
		for _, rejected := range cases.Reject {
			tested[rejected.Field] = true
		}
	}
	crd, err := readCRD()
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	eachVersion(t, crd, func(version map[string]any) {
		root := version["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)
		for path, schema := range schemas("", root) {
			validations, _ := schema["x-kubernetes-validations"].([]any)
			for _, v := range validations {
				rules++
				rule := v.(map[string]any)
				field, _ := rule["fieldPath"].(string)
				if !tested[path+field] {
					t.Errorf("%s: rule of %s has no rejected case: %v", version["name"], path+field, rule["rule"])
				}
			}
		}
	})
	if rules == 0 {
		t.Error("found no rules in the CRD")
	}
}

// schemas yields every object schema below root that properties lead to, by its field path.
func schemas(path string, root map[string]any) map[string]map[string]any {
	all := map[string]map[string]any{path: root}
	properties, _ := root["properties"].(map[string]any)
	for name, child := range properties {
		maps.Copy(all, schemas(strings.TrimPrefix(path+"."+name, "."), child.(map[string]any)))
	}
	return all
}

func orBoth(version string) []string {
	if version == "" {
		return versions()
	}
	return []string{version}
}

// asRejection reads an accepted case, which is a spec or {before, after}.
func asRejection(accepted map[string]any) rejection {
	if after, ok := accepted["after"].(map[string]any); ok {
		return rejection{Before: accepted["before"].(map[string]any), After: after}
	}
	spec := maps.Clone(accepted)
	delete(spec, "version")
	return rejection{Spec: spec}
}

// submit creates spec in a dry run, or creates before and then updates it to after.
func (c client) submit(t *testing.T, version string, r rejection) error {
	t.Helper()
	const name = "rules"
	if r.After == nil {
		opts := strict()
		opts.DryRun = []string{metav1.DryRunAll}
		_, err := c.collectors(version).Create(t.Context(), collector(version, name, r.Spec), opts)
		return err
	}
	created := c.create(t, collector(version, name, r.Before))
	update := collector(version, name, r.After)
	update.SetResourceVersion(created.GetResourceVersion())
	_, err := c.collectors(version).Update(t.Context(), update, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
	return err
}

// wantCause fails unless err is the API server's Invalid with a cause for field whose message has all words.
func wantCause(t *testing.T, err error, field string, words ...string) {
	t.Helper()
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		t.Fatalf("got error %v, want Invalid for %s", err, field)
	}
	causes := status.Status().Details.Causes
	found := slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool {
		return cause.Field == field && !slices.ContainsFunc(words, func(word string) bool {
			return !strings.Contains(cause.Message, word)
		})
	})
	if !found {
		t.Errorf("got causes %+v\nwant one for %s that says %q", causes, field, words)
	}
}
