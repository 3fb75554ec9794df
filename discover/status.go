package discover

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/discovery"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// maxListed is how many jobs Status.Waiting names.
const maxListed = 20

// Status is how far the discovery of a pool is.
type Status struct {
	// Warm is true since the first picture was published.
	Warm bool
	// Waiting lists jobs that have not told their targets yet.
	Waiting []string
	// Problems are what the owner of a job should know, sorted by job.
	Problems []Problem
}

// Problem is something wrong with a job that is in use nonetheless.
type Problem struct {
	Job, Source string
	// Message is one sentence.
	Message string
	// Invalid is how many targets are left out because Prometheus would not accept them; 0 when the problem is another one.
	Invalid int
}

func (e *entry) report(st *Status) {
	s := e.current
	if e.next != nil {
		s = e.next
	}
	name := s.job.Config.JobName
	problem := s.problem()
	if !s.reported {
		text := fmt.Sprintf("job %q of %s", name, s.job.Source)
		if problem != nil {
			text += ": " + problem.Error()
		}
		st.Waiting = append(st.Waiting, text)
	}
	switch {
	case problem != nil:
		st.Problems = append(st.Problems, Problem{Job: name, Source: s.job.Source, Message: problem.Error()})
	case s.late && !s.reported:
		st.Problems = append(st.Problems, Problem{Job: name, Source: s.job.Source, Message: "service discovery has not told all targets in time"})
	}
	if s.invalid > 0 {
		st.Problems = append(st.Problems, Problem{
			Job: name, Source: s.job.Source, Invalid: s.invalid, Message: fmt.Sprintf("%d targets are left out, the last one: %v", s.invalid, s.err),
		})
	}
}

// problem is what the discoveries of a job say is wrong.
func (s *state) problem() error { return errors.Join(s.failures...) }

// refused is true when a discovery may not see what it is to look for: that does not get better by waiting.
func (s *state) refused() bool { return slices.ContainsFunc(s.failures, apierrors.IsForbidden) }

// deadline is how long the discoveries of a job may take to tell what there is: long enough for a second try of what is refreshed, and
// short enough that a broken job does not keep the others from being served.
func deadline(configs discovery.Configs) time.Duration {
	d := 10 * time.Second
	for _, c := range configs {
		d = max(d, 2*refreshInterval(c))
	}
	return min(d, time.Minute)
}
