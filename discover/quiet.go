package discover

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// sayAgain is how long a message of a discovery is not repeated. What is wrong is in Status all the time.
	sayAgain = 10 * time.Minute
	// maxSaid is how many messages are remembered, so that one that is another one each time neither fills the memory nor the log.
	maxSaid = 20
	// maxNamed is how many jobs a message names.
	maxNamed = 5
)

// quiet is what the logs of one discovery have in common: what was said, and whom it concerns.
type quiet struct {
	clock clock.PassiveClock
	jobs  func() []string

	mu   sync.Mutex
	said map[string]time.Time
}

// quietHandler names the jobs that a discovery is for, and does not repeat itself. What is no warning passes unchanged.
type quietHandler struct {
	slog.Handler
	shared *quiet
}

func newQuiet(h slog.Handler, c clock.PassiveClock, jobs func() []string) slog.Handler {
	return &quietHandler{h, &quiet{clock: c, jobs: jobs, said: map[string]time.Time{}}}
}

// Handle implements slog.Handler.
func (h *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		if !h.shared.news(r) {
			return nil
		}
		jobs := h.shared.jobs()
		r = r.Clone()
		r.AddAttrs(slog.Any("jobs", jobs[:min(len(jobs), maxNamed)]))
		if n := len(jobs) - maxNamed; n > 0 {
			r.AddAttrs(slog.Int("more_jobs", n))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quietHandler{h.Handler.WithAttrs(attrs), h.shared}
}

// WithGroup implements slog.Handler.
func (h *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{h.Handler.WithGroup(name), h.shared}
}

// news tells whether a record has not been seen for a while.
func (q *quiet) news(r slog.Record) bool {
	var text strings.Builder
	text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		text.WriteString(" " + a.String())
		return true
	})
	// The port that a connection had on our side is another one each time.
	key := regexp.MustCompile(`:\d+->`).ReplaceAllString(text.String(), "->")
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock.Now()
	for k, at := range q.said {
		if now.Sub(at) >= sayAgain {
			delete(q.said, k)
		}
	}
	if _, seen := q.said[key]; seen || len(q.said) >= maxSaid {
		return false
	}
	q.said[key] = now
	return true
}

// jobNames are the jobs that p discovers for, sorted.
func (p *provider) jobNames() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for s := range p.subs {
		names = append(names, s.job)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
