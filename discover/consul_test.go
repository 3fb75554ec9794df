package discover

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/allocate"
)

// fakeConsul has two services, of which the second is told when it is released.
func fakeConsul(t *testing.T, release <-chan struct{}) *httptest.Server {
	t.Helper()
	index := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Consul-Token") != "t0ken" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.URL.Query().Get("index") != "" { // there is nothing new
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "1")
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/v1/catalog/services") {
			_ = json.NewEncoder(w).Encode(map[string][]string{"one": {"x"}, "two": {"x", "y"}, "other": {}})
			return
		}
		if strings.HasSuffix(r.URL.Path, "/v1/agent/self") {
			_, _ = fmt.Fprint(w, `{"Config":{"Datacenter":"dc1"}}`)
			return
		}
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if name == "two" {
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
		}
		_, _ = fmt.Fprintf(w, `[{"Node":{"Node":"n","Address":"%[1]s.example"},"Service":{"ID":"%[1]s","Service":"%[1]s","Port":9100},"Checks":[]}]`, name)
	}
	server := httptest.NewServer(http.HandlerFunc(index))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

// TestConsulIsPublishedWhole: services are told one by one, and the first of them must not be taken for all.
func TestConsulIsPublishedWhole(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"tags: [x]", "services: [one, two]"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			server := fakeConsul(t, release)
			r := newRig(t, TargetsOptions{Deadline: 500 * time.Millisecond}, ProvidersOptions{})
			r.targets.SetJobs(jobs(t, fmt.Sprintf("scrape_configs: [{job_name: c, consul_sd_configs: [{server: %q, token: t0ken, %s}]}]",
				strings.TrimPrefix(server.URL, "http://"), what), ""))
			r.last(func(p []*allocate.Job) error {
				if len(p) != 1 || !p[0].Unknown {
					return fmt.Errorf("jobs are %+v", p)
				}
				return nil
			})
			close(release)
			r.last(hasTargets(2))
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, p := range r.pictures {
				if n := count(p); n != 2 && !p[0].Unknown {
					t.Errorf("a picture has %d targets", n)
				}
			}
		})
	}
}
