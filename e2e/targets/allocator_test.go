package targets_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// freeAddress is an address of 127.0.0.1 that nothing listens on at the moment, and that stays free while what listens there is
// restarted: it is below the ports that systems choose for connections (RFC 6335 has them from 49152 on, Linux from 32768).
func freeAddress(t *testing.T) string {
	t.Helper()
	var last error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
		listener, err := net.Listen("tcp", address)
		if err == nil {
			_ = listener.Close()
			return address
		}
		last = err
	}
	t.Fatalf("no free port: %v", last)
	return ""
}

// allocator is a client of an allocator's HTTP API, as a collector is.
type allocator struct {
	// base is the URL of the pool, without a slash at its end.
	base string
	// client has connections of its own, so that those to a process that was killed are not used again.
	client *http.Client
}

func newAllocator(t *testing.T, base string) *allocator {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &allocator{base, &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// ask gets a path. The body is that of any status.
func (a *allocator) ask(ctx context.Context, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// get reads a JSON answer.
func (a *allocator) get(ctx context.Context, path string, into any) error {
	status, body, err := a.ask(ctx, path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("GET %s: %d %.200s", path, status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w in %.200q", path, err, body)
	}
	return nil
}

// jobs are the names of the jobs that have targets, sorted.
func (a *allocator) jobs(ctx context.Context) ([]string, error) {
	var answer map[string]struct {
		Link string `json:"_link"`
	}
	if err := a.get(ctx, "/jobs", &answer); err != nil {
		return nil, err
	}
	var out []string
	for name, job := range answer {
		if want := "/jobs/" + url.QueryEscape(name) + "/targets"; !strings.HasSuffix(job.Link, want) {
			return nil, fmt.Errorf("GET /jobs: the link of %s is %s, which does not end with %s", name, job.Link, want)
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

// group is what http_sd of Prometheus reads.
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func targetsPath(job, collector string) string {
	return "/jobs/" + url.QueryEscape(job) + "/targets?collector_id=" + url.QueryEscape(collector)
}

// owners are, by the port of each target of any job, the members that the allocator gives it to.
func (a *allocator) owners(ctx context.Context, members []string) (map[int][]string, error) {
	jobs, err := a.jobs(ctx)
	if err != nil {
		return nil, err
	}
	out := map[int][]string{}
	for _, job := range jobs {
		for _, member := range members {
			var groups []group
			if err := a.get(ctx, targetsPath(job, member), &groups); err != nil {
				return nil, err
			}
			for _, g := range groups {
				for _, address := range g.Targets {
					_, text, _ := net.SplitHostPort(address)
					port, err := strconv.Atoi(text)
					if err != nil {
						return nil, fmt.Errorf("job %s, member %s: target %q: %w", job, member, address, err)
					}
					out[port] = append(out[port], member)
				}
			}
		}
	}
	return out, nil
}
