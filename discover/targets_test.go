package discover

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/otelier/otelier/allocate"
)

// rig is a pool's discovery under test.
type rig struct {
	t         *testing.T
	providers *Providers
	targets   *Targets
	mu        sync.Mutex
	pictures  [][]*allocate.Job
	news      chan struct{}
}

func newRig(t *testing.T, opts TargetsOptions, popts ProvidersOptions) *rig {
	t.Helper()
	ps, err := NewProviders(popts)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, providers: ps, news: make(chan struct{}, 1)}
	opts.Publish = func(jobs []*allocate.Job) {
		r.mu.Lock()
		r.pictures = append(r.pictures, jobs)
		r.mu.Unlock()
		select {
		case r.news <- struct{}{}:
		default:
		}
	}
	r.targets = ps.NewTargets(opts)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ps.Run(ctx) })
	wg.Go(func() { _ = r.targets.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return r
}

// jobs parses a document without errors.
func jobs(t testing.TB, doc, dir string) []Job {
	t.Helper()
	js, errs := ParseJobs([]byte(doc), "test", dir)
	for _, err := range errs {
		t.Fatal(err)
	}
	return js
}

// last waits for a picture that is as wanted.
func (r *rig) last(want func([]*allocate.Job) error) []*allocate.Job {
	r.t.Helper()
	deadline := time.After(time.Minute)
	err := fmt.Errorf("nothing was published")
	for {
		r.mu.Lock()
		n := len(r.pictures)
		var p []*allocate.Job
		if n > 0 {
			p = r.pictures[n-1]
		}
		r.mu.Unlock()
		if n > 0 {
			if err = want(p); err == nil {
				return p
			}
		}
		select {
		case <-r.news:
		case <-deadline:
			r.t.Fatalf("%v; waiting for %v", err, r.targets.Waiting())
		}
	}
}

func count(jobs []*allocate.Job) int {
	n := 0
	for _, j := range jobs {
		for _, b := range j.Blocks {
			n += b.Len()
		}
	}
	return n
}

func hasTargets(want int) func([]*allocate.Job) error {
	return func(jobs []*allocate.Job) error {
		if got := count(jobs); got != want {
			return fmt.Errorf("got %d targets, want %d", got, want)
		}
		return nil
	}
}

func TestTargetsOfFilesAndLists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.json"), `[{"targets":["a:1","a:2"],"labels":{"x":"y"}}]`)
	write(t, filepath.Join(dir, "b.json"), `[{"targets":["b:1"]}]`)
	r := newRig(t, TargetsOptions{Filter: true}, ProvidersOptions{})
	r.targets.SetJobs(jobs(t, `
scrape_configs:
- job_name: files
  file_sd_configs: [{files: ["*.json"], refresh_interval: 1s}]
- job_name: list
  static_configs: [{targets: ["s:1"]}]
`, dir))
	first := r.last(hasTargets(4))
	write(t, filepath.Join(dir, "b.json"), `[{"targets":["b:1", "b:2"]}]`)
	second := r.last(hasTargets(5))
	if first[1] != second[1] {
		t.Error("a job that has not changed is another pointer")
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}
