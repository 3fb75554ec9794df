package targets_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// collectorHeader is what a collector of these tests tells a target its name in.
const collectorHeader = "X-Collector"

// sighting is one scrape, as its target has seen it.
type sighting struct {
	at       time.Time
	by, path string
}

// target is a live HTTP target.
type target struct {
	name string
	port int

	mu   sync.Mutex
	seen []sighting // in the order of time
}

// farm is a number of targets in this process, on a port of 127.0.0.1 each.
type farm []*target

// newFarm starts targets. They end with the test.
func newFarm(t *testing.T, n int) farm {
	t.Helper()
	byAddress := map[string]*target{}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		byAddress[address.String()].scraped(sighting{time.Now(), strings.Join(r.Header.Values(collectorHeader), ","), r.URL.Path})
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, "# TYPE demo_value gauge\ndemo_value 1")
	})}
	var out farm
	var listeners []net.Listener
	for i := range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		target := &target{name: fmt.Sprintf("target-%03d", i), port: listener.Addr().(*net.TCPAddr).Port}
		byAddress[listener.Addr().String()] = target
		out, listeners = append(out, target), append(listeners, listener)
	}
	var running sync.WaitGroup
	for _, listener := range listeners {
		running.Go(func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("targets: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	return out
}

func (t *target) scraped(s sighting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, s)
}

// since are the scrapes from a moment on.
func (t *target) since(begin time.Time) []sighting {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, _ := slices.BinarySearchFunc(t.seen, begin, func(s sighting, at time.Time) int { return s.at.Compare(at) })
	return slices.Clone(t.seen[i:])
}

// scrapers are those who have scraped the target since a moment, sorted.
func (t *target) scrapers(begin time.Time) []string {
	var out []string
	for _, s := range t.since(begin) {
		out = append(out, s.by)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// gap is the longest time without a scrape between two moments, counted from the last scrape before.
func (t *target) gap(begin, end time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, longest := begin, time.Duration(0)
	for _, s := range t.seen {
		if s.at.After(end) {
			break
		}
		if s.at.After(begin) {
			longest = max(longest, s.at.Sub(last))
		}
		last = s.at
	}
	return max(longest, end.Sub(last))
}

// overlap is for how long two collectors have both been scraping the target since a moment: from the first scrape of the later one to the
// last scrape of the earlier one.
func (t *target) overlap(begin time.Time) time.Duration {
	seen := t.since(begin)
	first, last := map[string]time.Time{}, map[string]time.Time{}
	for _, s := range seen {
		if _, ok := first[s.by]; !ok {
			first[s.by] = s.at
		}
		last[s.by] = s.at
	}
	longest := time.Duration(0)
	for a := range first {
		for b := range first {
			if a != b && !first[a].After(first[b]) && last[a].After(first[b]) {
				longest = max(longest, min(last[a].Sub(first[b]), last[b].Sub(first[b])))
			}
		}
	}
	return longest
}
