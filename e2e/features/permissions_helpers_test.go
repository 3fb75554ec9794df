package features_test

import (
	"testing"

	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/steps"
)

// clientFor is a client that may do everything.
func clientFor(t *testing.T, s *steps.Scene) dynamic.Interface {
	t.Helper()
	config, err := s.Cluster.RESTConfig(steps.UserAgent)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// simulatedPods tells whether pods are ready without anything that runs in them.
func simulatedPods(s *steps.Scene) bool { return s.Cluster.Provider() == cluster.Local }
