package targets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/e2e/steps"
)

// pollInterval is that of the poller, of which a collector's is a thousandfold.
const pollInterval = 20 * time.Millisecond

// poller asks for the same paths over and over, and keeps what it was told.
type poller struct {
	allocator *allocator
	paths     []string
	cancel    context.CancelFunc
	running   sync.WaitGroup

	mu     sync.Mutex
	rounds int
	seen   map[string]*answers
}

// answers are those for one path.
type answers struct {
	refused, unavailable int
	full                 map[string]int // bodies with status 200, and how often
	wrong                []string       // what no allocator may say
}

// startPoller polls until stop is called.
func startPoller(t *testing.T, a *allocator, paths []string) *poller {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &poller{allocator: a, paths: paths, cancel: cancel, seen: map[string]*answers{}}
	for _, path := range paths {
		p.seen[path] = &answers{full: map[string]int{}}
	}
	p.running.Go(func() {
		ticker := time.NewTicker(pollInterval)
		defer ticker.Stop()
		for {
			p.round(ctx)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *poller) stop() {
	p.cancel()
	p.running.Wait()
}

func (p *poller) round(ctx context.Context) {
	for _, path := range p.paths {
		status, body, err := p.allocator.ask(ctx, path)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		p.seen[path].add(path, status, body, err)
		p.mu.Unlock()
	}
	p.mu.Lock()
	p.rounds++
	p.mu.Unlock()
}

// add notes an answer. How the receiver takes what it gets for /scrape_configs: it never looks at the status, an empty body or an empty
// mapping ends all jobs, and what is no mapping is an error that changes nothing (prometheusreceiver,
// internal/targetallocator/manager.go).
func (a *answers) add(path string, status int, body []byte, err error) {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		a.refused++
	case err != nil:
		a.wrong = append(a.wrong, err.Error())
	case status == http.StatusOK:
		a.full[string(body)]++
	case status != http.StatusServiceUnavailable:
		a.wrong = append(a.wrong, fmt.Sprintf("status %d: %.200s", status, body))
	case path == "/scrape_configs" && (len(bytes.TrimSpace(body)) == 0 || yaml.Unmarshal(body, &map[string]any{}) == nil):
		a.wrong = append(a.wrong, fmt.Sprintf("status 503 with a body that a collector would act on: %.200q", body))
	default:
		a.unavailable++
	}
}

// waitRounds waits until all paths have been asked for as often as that.
func (p *poller) waitRounds(t *testing.T, n int) {
	t.Helper()
	steps.Eventually(t, fmt.Sprintf("%d rounds", n), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.rounds < n {
			return fmt.Errorf("%d rounds", p.rounds)
		}
		return nil
	})
}

// lacking says which path has not been answered in full as often as that, or nil.
func (p *poller) lacking(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, path := range p.paths {
		if a := p.seen[path]; a.answered() < n {
			return fmt.Errorf("%s: refused %d times, 503 %d times, 200 %d times", path, a.refused, a.unavailable, a.answered())
		}
	}
	return nil
}

func (a *answers) answered() int {
	n := 0
	for _, count := range a.full {
		n += count
	}
	return n
}

// judge fails the test for every path that was ever answered with something else than the truth.
func (p *poller) judge(t *testing.T, truth map[string]string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var refused, unavailable, full int
	for _, path := range p.paths {
		a := p.seen[path]
		refused, unavailable, full = refused+a.refused, unavailable+a.unavailable, full+a.answered()
		if len(a.wrong) > 0 {
			t.Errorf("%s: %d wrong answers, the first: %s", path, len(a.wrong), a.wrong[0])
		}
		for body, count := range a.full {
			if body != truth[path] {
				t.Errorf("%s: %d times 200 with something else than the truth: %s\nwant %s", path, count, excerpt(body), excerpt(truth[path]))
			}
		}
	}
	t.Logf("%d rounds over %d paths: %d refused, %d times 503, %d times the truth", p.rounds, len(p.paths), refused, unavailable, full)
}

func excerpt(body string) string {
	const most = 300
	return fmt.Sprintf("%d bytes with %d targets, %.*q", len(body), strings.Count(body, `"targets":`), most, body)
}

// truth is what an allocator says now, by path.
func (a *allocator) truth(t *testing.T, paths []string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, path := range paths {
		status, body, err := a.ask(t.Context(), path)
		if err != nil || status != http.StatusOK {
			t.Fatalf("GET %s: %d %.200s, %v", path, status, body, err)
		}
		out[path] = string(body)
	}
	return out
}

// poolPaths are all that collectors ask for.
func poolPaths(jobs, members []string) []string {
	out := []string{"/scrape_configs", "/jobs"}
	for _, job := range jobs {
		for _, member := range members {
			out = append(out, targetsPath(job, member))
		}
	}
	return out
}
