package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

// Mark is the present end of the audit log.
func (s *Scene) Mark(t *testing.T) controlplane.Position {
	t.Helper()
	pos, err := s.NeedsAudit(t).Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

// Writes are what operators have asked the API server to change in the scene's namespace since a position of the log, dry
// runs and refusals too.
func (s *Scene) Writes(t *testing.T, since controlplane.Position) []controlplane.Write {
	t.Helper()
	writes, err := s.NeedsAudit(t).Writes(t.Context(), since, operatorAgent)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(writes, func(w controlplane.Write) bool { return w.Namespace != s.Namespace })
}

// Requests are Writes without those of Events and of Leases.
func (s *Scene) Requests(t *testing.T, since controlplane.Position) []controlplane.Write {
	t.Helper()
	return slices.DeleteFunc(s.Writes(t, since), func(w controlplane.Write) bool {
		return w.Resource == "events" || w.Resource == "leases"
	})
}

// Stored are those of Requests whose result the API server stored.
func (s *Scene) Stored(t *testing.T, since controlplane.Position) []controlplane.Write {
	t.Helper()
	return controlplane.Persisted(s.Requests(t, since))
}

// Describe is a list of writes, a line for each.
func Describe(writes []controlplane.Write) string {
	var out strings.Builder
	for _, w := range writes {
		fmt.Fprintf(&out, "\n  %s %s: %d, dry run %t, user %s, field manager %q", w, w.Name, w.Code, w.DryRun, w.User, w.FieldManager)
	}
	return out.String()
}

// WaitPasses waits until an operator has made as many passes over collectors and has nothing more to do.
func (s *Scene) WaitPasses(t *testing.T, p *program.Process, collectors int) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), s.patience(), fmt.Errorf("not after %s", s.patience()))
	defer cancel()
	if err := p.WaitPasses(ctx, collectors); err != nil {
		t.Fatal(err)
	}
}

// WantQuietRestart starts another operator after the last one has been stopped, and fails the test if it asks the API server for any
// change: as many collectors as there are, all of them Ready, leave it nothing to do.
func (s *Scene) WantQuietRestart(t *testing.T, collectors int, flags ...string) *program.Process {
	t.Helper()
	last := s.Operators[len(s.Operators)-1]
	select {
	case <-last.Exited():
	default:
		s.WaitPasses(t, last, 1)
		if err := last.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	since := s.Mark(t)
	p := s.StartOperator(t, flags...)
	s.WaitPasses(t, p, collectors)
	if writes := s.Requests(t, since); len(writes) > 0 {
		t.Errorf("a restart with nothing to do asked for %d changes:%s", len(writes), Describe(writes))
	}
	return p
}
