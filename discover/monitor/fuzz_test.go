package monitor

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"
)

// anything has every Secret and ConfigMap, with the same content under any key that the seeds use.
func anything() map[string]string {
	return map[string]string{"user": "u", "password": "p", "token": "t", "ca.crt": "no certificate", "key": "k"}
}

// FuzzTranslate: whatever an object says, it gives jobs or problems, and takes nothing else with it.
func FuzzTranslate(f *testing.F) {
	manifests, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range manifests {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		var o struct {
			Kind string
			Spec json.RawMessage
		}
		if err := yaml.Unmarshal(text, &o); err != nil {
			f.Fatal(err)
		}
		for k := range kinds {
			if k.String() == o.Kind {
				f.Add(uint8(k), string(o.Spec))
			}
		}
	}
	f.Add(uint8(scrapeConfig), `{"kubernetesSDConfigs":[{"role":"Pod","namespaces":{"names":["a"]}}],"dnsSDConfigs":[{"names":["a"]}]}`)
	f.Add(uint8(serviceMonitor), `{"selectorMechanism":"RoleSelector","selector":{"matchExpressions":[{"key":"a","operator":"x"}]},"endpoints":[{}]}`)
	f.Add(uint8(probe), `{"targets":{"ingress":{"selector":{}}},"prober":{"url":"a:1"}}`)
	f.Add(uint8(podMonitor), `null`)
	for k := range kinds {
		f.Add(uint8(k), strings.Repeat("what no JSON is becomes a spec of random content", 20))
	}
	s := everything()
	s.DenyFileAccess = true
	p := newProfile(&s)
	all := shelf{"n/auth": anything(), "n/trust": anything()}
	f.Fuzz(func(t *testing.T, which uint8, spec string) {
		u := &unstructured.Unstructured{}
		u.Object = map[string]any{"spec": specOf(t, kind(which)%kinds, spec)}
		u.SetNamespace("n")
		u.SetName("m")
		got := p.translate(t.Context(), newObject(kind(which)%kinds, u), all, slog.New(slog.DiscardHandler))
		for _, problem := range got.problems {
			if problem.Reason == ReasonInternal {
				t.Logf("the library panicked: %s", problem.Message)
			}
			if problem.Name != "m" || problem.Namespace != "n" || problem.Reason == "" {
				t.Errorf("a problem that does not name its object: %+v", problem)
			}
		}
		for _, job := range got.jobs {
			if !strings.HasPrefix(job.Config.JobName, job.Source) {
				t.Errorf("job %q is said to be from %q", job.Config.JobName, job.Source)
			}
		}
	})
}

// specOf reads JSON. Anything else is taken for the randomness that fills a spec of the kind, field by field.
func specOf(t *testing.T, k kind, text string) (content any) {
	t.Helper()
	if json.Unmarshal([]byte(text), &content) == nil {
		return content
	}
	spec := newSpec(k)
	randfill.NewFromGoFuzz([]byte(text)).NilChance(0.3).NumElements(0, 2).MaxDepth(8).Fill(spec)
	filled, err := json.Marshal(spec)
	if err != nil {
		t.Skip("no JSON comes of it: ", err)
	}
	if err := json.Unmarshal(filled, &content); err != nil {
		t.Fatal(err)
	}
	return content
}
