package discover

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/config"

	"github.com/otelier/otelier/allocate"
)

// TestCollectorsScrapeWhatPrometheusWould runs the same configurations through Prometheus' managers and through ours, and gives what we
// serve to the managers of a collector.
func TestCollectorsScrapeWhatPrometheusWould(t *testing.T) {
	t.Parallel()
	doc := differential(t)
	cfg, err := config.Load(doc, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	truth := newProm(t)
	truth.apply(t, cfg)
	want := settled(t, "Prometheus", truth, func(got map[string][]string) string { return missing(got) })
	kept := 0
	for _, targets := range want {
		kept += len(targets)
	}

	for name, filter := range map[string]bool{"filtered": true, "unfiltered": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := jobs(t, doc, "")
			if len(js) < 50 {
				t.Fatalf("%d jobs only", len(js))
			}
			r := newRig(t, TargetsOptions{Filter: filter}, ProvidersOptions{})
			r.targets.SetJobs(js)
			served := r.last(func(p []*allocate.Job) error {
				if len(p) != len(js) {
					return fmt.Errorf("%d of %d jobs", len(p), len(js))
				}
				return nil
			})
			if got := count(served); filter && got != kept {
				t.Errorf("%d targets are served, Prometheus has %d", got, kept)
			}
			a := newAllocator(t, func() []*allocate.Job { return served })
			c := newProm(t)
			c.apply(t, a.collector(t, cfg.GlobalConfig))
			got := settled(t, "a collector", c, func(got map[string][]string) string { return cmp.Diff(want, got) })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a collector does not scrape what Prometheus does (-Prometheus +collector):\n%s", diff)
			}
			for job, n := range c.dropped(t) {
				if filter && n > 0 {
					t.Errorf("job %q: the collector dropped %d targets that were served", job, n)
				}
			}
		})
	}
}

// missing says which jobs have no targets though they will.
func missing(got map[string][]string) string {
	if n := len(got["many"]); n != 9000 {
		return fmt.Sprintf("job many has %d targets", n)
	}
	for _, job := range []string{"plain", "files", "over http", "the same list twice", "where it is from", "file names"} {
		if len(got[job]) == 0 {
			return fmt.Sprintf("job %q has no targets", job)
		}
	}
	if n := len(got["where it is from"]); n != 4 {
		return fmt.Sprintf("job where it is from has %d targets", n)
	}
	return ""
}

// settled waits until nothing is missing.
func settled(t *testing.T, who string, p *prom, missing func(map[string][]string) string) map[string][]string {
	t.Helper()
	var got map[string][]string
	var why string
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = p.scraped()
		if why = missing(got); why == "" {
			return got
		}
	}
	t.Errorf("%s: %s", who, why)
	return got
}

// differential is the document of configurations, with what it refers to.
func differential(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/differential.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "one.json"), `[{"targets":["f:1","f:2"],"labels":{"env":"file"}},{"targets":["f:2"],"labels":{"env":"file"}}]`)
	write(t, filepath.Join(dir, "two.json"), `[{"targets":["f:3"],"labels":{"n":"ü","__meta_x":"y"}},{"targets":[]}]`)
	write(t, filepath.Join(dir, "empty.json"), `[]`)
	write(t, filepath.Join(dir, "more.yaml"), "- targets: [m:1]\n  labels: {version: 1.10}\n")
	many(t, filepath.Join(dir, "many"))
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`[{"targets":["h:1","h:2"],"labels":{"__meta_datacenter":"x","app":"web"}}]`))
	}))
	t.Cleanup(list.Close)
	return strings.NewReplacer("DIR", dir, "URL", list.URL).Replace(string(raw))
}

// many writes 10,000 targets, of which a tenth is dropped.
func many(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for f := range 10 {
		var b strings.Builder
		for i := range 1000 {
			n := f*1000 + i
			fmt.Fprintf(&b, `,{"targets":["10.0.%d.%d:9100"],"labels":{"__meta_n":"%05d","shard":"%d"}}`, n/250, n%250, n, n%3)
		}
		write(t, filepath.Join(dir, fmt.Sprintf("%d.json", f)), "["+b.String()[1:]+"]")
	}
}
