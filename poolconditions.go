package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/discover/monitor"
	"github.com/otelier/otelier/render"
)

const (
	// mostTold is how many problems a condition names.
	mostTold = 5
	// warmPatience is how long a pool may take to be ready before that is said.
	warmPatience = 30 * time.Second
)

// problem is something that a condition says.
type problem struct{ condition, reason, message string }

// withheldProblems are of the scrape configs that the renderer leaves out.
func withheldProblems(p render.Pool) []problem {
	var out []problem
	for _, w := range p.Withheld {
		out = append(out, problem{crds.ConditionJobsWithheld, w.Reason, w.Message})
	}
	return out
}

// parseProblems are of the scrape configs that Prometheus does not read.
func parseProblems(errs []error) []problem {
	var out []problem
	for _, err := range errs {
		reason, text := crds.ReasonJobInvalid, err.Error()
		if strings.Contains(text, "is not built in") {
			reason = crds.ReasonDiscoveryNotBuilt
		}
		out = append(out, problem{crds.ConditionJobsWithheld, reason, strings.Join(strings.Fields(text), " ")})
	}
	return out
}

// jobProblems are of the jobs of a feed.
func jobProblems(c combined, s discover.Status) []problem {
	var out []problem
	for _, x := range c.Clashes {
		out = append(out, problem{crds.ConditionJobsWithheld, crds.ReasonJobNameTaken, fmt.Sprintf("job %q of %s: %s has that name", x.Job, x.Source, x.Other)})
	}
	for _, j := range c.Withheld {
		out = append(out, problem{crds.ConditionJobsWithheld, crds.ReasonInsecureChannel, fmt.Sprintf(
			"job %q of %s holds a secret, and the allocator answers in clear text: see spec.targetAllocator.allowInsecureAuthSecrets", j.Config.JobName, j.Source)})
	}
	for _, p := range s.Problems {
		condition, reason := crds.ConditionDiscoveryIncomplete, crds.ReasonNotReported
		if p.Invalid > 0 {
			condition, reason = crds.ConditionJobsWithheld, crds.ReasonJobInvalid
		}
		out = append(out, problem{condition, reason, fmt.Sprintf("job %q of %s: %s", p.Job, p.Source, p.Message)})
	}
	return out
}

// monitorProblems are of what monitors are selected.
func monitorProblems(r monitor.Result) []problem {
	var out []problem
	for _, resource := range r.Missing {
		out = append(out, problem{crds.ConditionDiscoveryIncomplete, crds.ReasonNotInstalled, resource + " is not installed"})
	}
	for _, p := range r.Problems {
		if p.Name == "" && p.Reason == monitor.ReasonForbidden && (p.Kind == "Secret" || p.Kind == "ConfigMap") {
			continue // Nothing is missing by that: what can't be read at all either is said of the monitors that refer to it.
		}
		who := p.Kind + " " + p.Namespace + "/" + p.Name
		if p.Name == "" {
			who = cmp.Or(p.Kind, "monitors")
		}
		condition, reason := crds.ConditionMonitorsInvalid, crds.ReasonMonitorInvalid
		switch p.Reason {
		case monitor.ReasonMissingReference:
			reason = crds.ReasonSecretMissing
		case monitor.ReasonFileAccess:
			reason = crds.ReasonFileDenied
		case monitor.ReasonForbidden:
			reason = crds.ReasonSecretDenied
			if p.Name == "" {
				condition, reason = crds.ConditionDiscoveryIncomplete, crds.ReasonForbidden
			}
		case monitor.ReasonUnavailable:
			condition, reason = crds.ConditionDiscoveryIncomplete, crds.ReasonNotReported
		default:
		}
		out = append(out, problem{condition, reason, who + ": " + p.Message})
	}
	return out
}

// assignmentProblems are of a pool that is ready.
func assignmentProblems(name string, s *allocate.Snapshot) []problem {
	n := s.Assignment.Unassigned
	if n == 0 {
		return nil
	}
	reason, why := crds.ReasonMaxTargetsReached, "every collector that may have them has as many as it may"
	if len(s.Assignment.Members) == 0 {
		reason, why = crds.ReasonNoCollectors, "there is no collector"
	}
	return []problem{{crds.ConditionTargetsUnassigned, reason, fmt.Sprintf("pool %s: %s: %s", name, some(n), why)}}
}

// some is how many targets, roughly where there are many: a condition is no gauge, and each of its texts is a write.
func some(n int) string {
	if n == 1 {
		return "1 target"
	}
	unit := 1
	for n/unit >= 10 {
		unit *= 10
	}
	if n = n / unit * unit; unit > 1 {
		return fmt.Sprintf("more than %d targets", n-1)
	}
	return fmt.Sprintf("%d targets", n)
}

// conditionsOf puts problems together: a condition has the reason of its first problem.
func conditionsOf(problems []problem) []metav1.Condition {
	var out []metav1.Condition
	for _, kind := range crds.DiscoveryConditions() {
		var texts []string
		reason := ""
		for _, p := range problems {
			if p.condition == kind && !slices.Contains(texts, p.message) {
				reason = cmp.Or(reason, p.reason)
				texts = append(texts, p.message)
			}
		}
		if n := len(texts) - mostTold; n > 0 {
			texts = append(texts[:mostTold:mostTold], fmt.Sprintf("and %d more", n))
		}
		if len(texts) > 0 {
			out = append(out, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: strings.Join(texts, "; ")})
		}
	}
	return out
}

// conditions is what there is to say of the collector's targets; false while that is not known.
func (c *collectorPools) conditions() ([]metav1.Condition, bool) {
	c.mu.Lock()
	problems := monitorProblems(c.monitors)
	c.mu.Unlock()
	late, unknown := c.clock.Since(c.created) >= warmPatience, false
	for _, p := range c.list() {
		of := c.problemsOf(p)
		p.pool.SetWithheld(withheld(of))
		problems = append(problems, of...)
		switch s := p.pool.Snapshot(); {
		case s != nil:
			problems = append(problems, assignmentProblems(p.name, s)...)
			problems = append(problems, c.notPolling(p, s)...)
		case !late:
			unknown = true
		default:
			problems = append(problems, waitingProblem(p.name, c.waiting(p, messages(of)...)))
		}
	}
	if unknown {
		return nil, false
	}
	return conditionsOf(problems), true
}

// problemsOf are those of the jobs of a pool.
func (c *collectorPools) problemsOf(p *servedPool) []problem {
	c.mu.Lock()
	f, spec := p.feed, p.problems
	c.mu.Unlock()
	return slices.Concat(spec, jobProblems(f.report()))
}

// withheld is how many different things the condition JobsWithheld says.
func withheld(problems []problem) int {
	said := map[string]bool{}
	for _, p := range problems {
		if p.condition == crds.ConditionJobsWithheld {
			said[p.message] = true
		}
	}
	return len(said)
}

func messages(problems []problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.message)
	}
	return out
}

// waitingProblem says what a pool waits for; what is empty when the other problems say it already.
func waitingProblem(pool, what string) problem {
	text := "pool " + pool + " waits for " + what
	if what == "" {
		text = "pool " + pool + " is not served until then"
	}
	return problem{crds.ConditionDiscoveryIncomplete, crds.ReasonNotReported, text}
}
