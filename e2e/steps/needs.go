package steps

import (
	"testing"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
)

// realPods tells whether containers run in the cluster's pods.
func (s *Suite) realPods() bool { return s.Cluster.Provider() != cluster.Local }

// RealPods is an act that skips the test where no container runs.
func RealPods(t *testing.T, s *Scene) {
	t.Helper()
	s.NeedsRealPods(t)
}

// NeedsRealPods skips the test where no container runs.
func (s *Suite) NeedsRealPods(t *testing.T) {
	t.Helper()
	if !s.realPods() {
		t.Skip("needs real pods: E2E_PROVIDER=kind")
	}
}

// NeedsNodes returns the cluster's nodes, and skips the test where they can't be stopped or entered.
func (s *Suite) NeedsNodes(t *testing.T) cluster.Nodes {
	t.Helper()
	nodes, ok := s.Cluster.(cluster.Nodes)
	if !ok {
		t.Skip("needs nodes that can be stopped and entered: E2E_PROVIDER=kind")
	}
	return nodes
}

// NeedsAudit returns the reader of the API server's audit log, and skips the test where there is none.
func (s *Suite) NeedsAudit(t *testing.T) *controlplane.Audit {
	t.Helper()
	auditor, ok := s.Cluster.(cluster.Auditor)
	if !ok {
		t.Skip("needs the API server's audit log: E2E_PROVIDER=kind or local")
	}
	audit, err := auditor.Audit()
	if err != nil {
		t.Fatal(err)
	}
	return audit
}
