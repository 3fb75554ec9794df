package monitor

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	yamlv3 "go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

// shelf is an assetSource with Secrets of one value each, under every key that is asked for.
type shelf map[string]map[string]string

func (s shelf) get(_ context.Context, key assetKey) (any, error) {
	data, ok := s[key.namespace+"/"+key.name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.name)
	}
	if key.kind == kindConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.namespace, Name: key.name}, Data: data}, nil
	}
	out := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.namespace, Name: key.name}, Data: map[string][]byte{}}
	for k, v := range data {
		out.Data[k] = []byte(v)
	}
	return out, nil
}

func kindOf(t *testing.T, u *unstructured.Unstructured) kind {
	t.Helper()
	for k := range kinds {
		if k.String() == u.GetKind() {
			return k
		}
	}
	t.Fatalf("no kind %q", u.GetKind())
	return 0
}

func read(t *testing.T, path string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &u.Object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return u
}

// TestGolden compares what is made of every manifest in testdata with the file beside it. Write these with -update, and read what has
// changed.
func TestGolden(t *testing.T) {
	manifests, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(manifests) < 4 {
		t.Fatalf("manifests %v, error %v: want at least one of each kind", manifests, err)
	}
	s := everything()
	p := newProfile(&s)
	secrets := shelf{"shop/auth": {"user": "joe", "password": "pa$$word: # '", "token": "t0ken"}}
	for _, path := range manifests {
		t.Run(filepath.Base(path), func(t *testing.T) {
			u := read(t, path)
			got := p.translate(t.Context(), newObject(kindOf(t, u), u), secrets, slog.New(slog.DiscardHandler))
			var b strings.Builder
			for _, j := range got.jobs {
				text, err := yamlv3.Marshal(j.Config)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, "# of %s, weight %d, secret %v\n%s---\n", j.Source, j.Weight, j.Secret, text)
			}
			for _, problem := range got.problems {
				fmt.Fprintf(&b, "# %s: %s\n", problem.Reason, problem.Message)
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDeniedFileAccess(t *testing.T) {
	for name, endpoint := range map[string]map[string]any{
		"token":       {"port": "web", "bearerTokenFile": "/var/run/secrets/token"},
		"ca":          {"port": "web", "tlsConfig": map[string]any{"caFile": "/etc/ca.crt"}},
		"certificate": {"port": "web", "tlsConfig": map[string]any{"certFile": "/etc/tls.crt", "keyFile": "/etc/tls.key"}},
	} {
		t.Run(name, func(t *testing.T) {
			u := service("a", "web", endpoint)
			u.Object["spec"].(map[string]any)["endpoints"] = []any{endpoint, map[string]any{"port": "plain"}}
			checkDenied(t, serviceMonitor, u, "serviceMonitor/a/web/1")
		})
	}
	t.Run("targets", func(t *testing.T) {
		checkDenied(t, scrapeConfig, manifest("a", "files", map[string]any{
			"fileSDConfigs": []any{map[string]any{"files": []any{"/etc/passwd.json"}}},
		}))
	})
}

// TestNoFileDiscovery: files that the collector reads stay allowed, and those that the operator would read are not.
func TestNoFileDiscovery(t *testing.T) {
	s := everything()
	s.NoFileDiscovery = true
	log := slog.New(slog.DiscardHandler)
	files := manifest("a", "files", map[string]any{
		"fileSDConfigs": []any{map[string]any{"files": []any{"/var/run/secrets/x.json"}}},
	})
	got := newProfile(&s).translate(t.Context(), newObject(scrapeConfig, files), shelf{}, log)
	if len(got.jobs) != 0 || len(got.problems) != 1 || got.problems[0].Reason != ReasonFileAccess || got.problems[0].Name != "files" {
		t.Errorf("%d jobs, problems %v", len(got.jobs), got.problems)
	}
	token := service("a", "web", map[string]any{"port": "web", "bearerTokenFile": "/var/run/secrets/token"})
	got = newProfile(&s).translate(t.Context(), newObject(serviceMonitor, token), shelf{}, log)
	if len(got.jobs) != 1 || len(got.problems) != 0 {
		t.Errorf("%d jobs, problems %v", len(got.jobs), got.problems)
	}
	everything := everything()
	if a, b := newProfile(&s), newProfile(&everything); a.settings.NoFileDiscovery == b.settings.NoFileDiscovery {
		t.Error("both selections would share their jobs")
	}
}

func checkDenied(t *testing.T, k kind, u *unstructured.Unstructured, stay ...string) {
	t.Helper()
	s := everything()
	log := slog.New(slog.DiscardHandler)
	allowed := newProfile(&s).translate(t.Context(), newObject(k, u), shelf{}, log)
	if len(allowed.jobs) != len(stay)+1 || len(allowed.problems) > 0 {
		t.Errorf("allowed: %d jobs, problems %v", len(allowed.jobs), allowed.problems)
	}
	s.DenyFileAccess = true
	got := newProfile(&s).translate(t.Context(), newObject(k, u), shelf{}, log)
	if diff := cmp.Diff(stay, names(Result{Jobs: got.jobs})); diff != "" {
		t.Errorf("denied: -want +got:\n%s", diff)
	}
	if len(got.problems) != 1 || got.problems[0].Reason != ReasonFileAccess {
		t.Errorf("denied: problems %v", got.problems)
	}
}

func TestScrapeClass(t *testing.T) {
	yes := true
	s := everything()
	s.ScrapeClasses = []monitoringv1.ScrapeClass{{
		Name: "ours", Default: &yes,
		Authorization: &monitoringv1.Authorization{SafeAuthorization: monitoringv1.SafeAuthorization{
			Credentials: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "auth"}, Key: "token"},
		}},
	}}
	p, log := newProfile(&s), slog.New(slog.DiscardHandler)
	got := p.translate(t.Context(), newObject(serviceMonitor, service("a", "web", nil)), shelf{"a/auth": {"token": "x"}}, log)
	if len(got.jobs) != 1 || string(got.jobs[0].Config.HTTPClientConfig.Authorization.Credentials) != "x" {
		t.Errorf("jobs %v, problems %v: want the credentials of the class", names(Result{Jobs: got.jobs}), got.problems)
	}
	got = p.translate(t.Context(), newObject(serviceMonitor, service("b", "web", nil)), shelf{"a/auth": {"token": "x"}}, log)
	if len(got.jobs) != 0 || len(got.problems) != 1 || got.problems[0].Reason != ReasonMissingReference {
		t.Errorf("jobs %v, problems %v: a job without its credentials must not be there", names(Result{Jobs: got.jobs}), got.problems)
	}
	m := service("a", "web", nil)
	m.Object["spec"].(map[string]any)["scrapeClass"] = "theirs"
	got = p.translate(t.Context(), newObject(serviceMonitor, m), shelf{"a/auth": {"token": "x"}}, log)
	if len(got.problems) != 1 || got.problems[0].Reason != ReasonInvalid {
		t.Errorf("problems %v, want that there is no such class", got.problems)
	}
	s.ScrapeClasses = append(s.ScrapeClasses, monitoringv1.ScrapeClass{Name: "two", Default: &yes})
	if err := s.Validate(); err == nil {
		t.Error("two default classes are valid")
	}
}

func TestSettingsOfTheSelection(t *testing.T) {
	s := everything()
	s.ScrapeInterval, s.ScrapeProtocols = 90*time.Second, []string{"PrometheusText0.0.4"}
	got := newProfile(&s).translate(t.Context(), newObject(serviceMonitor, service("a", "web", nil)), shelf{}, slog.New(slog.DiscardHandler))
	config := got.jobs[0].Config
	if time.Duration(config.ScrapeInterval) != 90*time.Second || fmt.Sprint(config.ScrapeProtocols) != "[PrometheusText0.0.4]" {
		t.Errorf("interval %s, protocols %s", config.ScrapeInterval, config.ScrapeProtocols)
	}
}

// TestNoSecretInMessages gives every reference a value that is no valid one.
func TestNoSecretInMessages(t *testing.T) {
	const value = "correct-horse-battery-staple"
	s := everything()
	p := newProfile(&s)
	bad := shelf{"a/auth": {"user": value, "password": value, "ca": value, "key": value}}
	ref := func(key string) map[string]any { return map[string]any{"name": "auth", "key": key} }
	for name, endpoint := range map[string]map[string]any{
		"ca":   {"port": "web", "tlsConfig": map[string]any{"ca": map[string]any{"secret": ref("ca")}}},
		"pair": {"port": "web", "tlsConfig": map[string]any{"cert": map[string]any{"secret": ref("ca")}, "keySecret": ref("key")}},
		"key":  {"port": "web", "basicAuth": map[string]any{"username": ref("user"), "password": ref("gone")}},
	} {
		got := p.translate(t.Context(), newObject(serviceMonitor, service("a", "web", endpoint)), bad, slog.New(slog.DiscardHandler))
		if len(got.problems) != 1 || strings.Contains(fmt.Sprint(got.problems), value[:7]) {
			t.Errorf("%s: problems %v", name, got.problems)
		}
	}
	r := &reader{values: []string{value, "ab"}}
	for in, want := range map[string]string{
		"cannot unmarshal !!str `correct...` into int": "cannot unmarshal !!str `<secret>...` into int",
		"parse " + value + ": grab":                    "parse <secret>: grab",
	} {
		if got := r.redact(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// panicking stands for a fault in the library.
type panicking struct{}

func (panicking) get(context.Context, assetKey) (any, error) { panic("a fault") }

func TestPanicIsAProblem(t *testing.T) {
	s := everything()
	o := newObject(serviceMonitor, service("a", "web", withPassword("s")))
	got := newProfile(&s).translate(t.Context(), o, panicking{}, slog.New(slog.DiscardHandler))
	if len(got.jobs) > 0 || len(got.problems) != 1 || got.problems[0].Reason != ReasonInternal {
		t.Errorf("problems %v", got.problems)
	}
}
