package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	eventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
)

// TestIsAway tells an API server that nobody reaches from one that refuses, and from somebody else at its address.
func TestIsAway(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
	}))
	defer refusing.Close()
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	trusting := rest.TLSClientConfig{Insecure: true}
	for name, c := range map[string]struct {
		config rest.Config
		away   bool
	}{
		"nobody listens":       {rest.Config{Host: gone.URL, TLSClientConfig: trusting}, true},
		"the wrong credential": {rest.Config{Host: refusing.URL, TLSClientConfig: trusting}, false},
		"the wrong authority":  {rest.Config{Host: refusing.URL}, false},
	} {
		client, err := eventsv1.NewForConfig(&c.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := reach(t.Context(), client.RESTClient()); err == nil || isAway(err) != c.away {
			t.Errorf("%s: away %t, want %t: %v", name, isAway(err), c.away, err)
		}
	}
}
