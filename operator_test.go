package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
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
	answering := func(status int) *httptest.Server {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no backend", status) }))
		t.Cleanup(s.Close)
		return s
	}
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	trusting := rest.TLSClientConfig{Insecure: true}
	for name, c := range map[string]struct {
		config rest.Config
		away   bool
	}{
		"nobody listens":         {rest.Config{Host: gone.URL, TLSClientConfig: trusting}, true},
		"the wrong credential":   {rest.Config{Host: refusing.URL, TLSClientConfig: trusting}, false},
		"the wrong authority":    {rest.Config{Host: refusing.URL}, false},
		"a bad gateway":          {rest.Config{Host: answering(http.StatusBadGateway).URL, TLSClientConfig: trusting}, true},
		"an unavailable service": {rest.Config{Host: answering(http.StatusServiceUnavailable).URL, TLSClientConfig: trusting}, true},
		"a gateway that waits":   {rest.Config{Host: answering(http.StatusGatewayTimeout).URL, TLSClientConfig: trusting}, true},
		"an error of the server": {rest.Config{Host: answering(http.StatusInternalServerError).URL, TLSClientConfig: trusting}, false},
		"somebody else":          {rest.Config{Host: answering(http.StatusNotFound).URL, TLSClientConfig: trusting}, false},
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

// TestIsAwayWhenConnectionsEnd is about errors that come only when the client has tried again for long.
func TestIsAwayWhenConnectionsEnd(t *testing.T) {
	t.Parallel()
	for err, away := range map[error]bool{
		io.EOF:               true,
		io.ErrUnexpectedEOF:  true,
		syscall.ECONNRESET:   true,
		http.ErrNotSupported: false,
	} {
		wrapped := fmt.Errorf("reach: %w", &url.Error{Op: "Get", URL: "https://10.0.0.1/version", Err: fmt.Errorf("read: %w", err)})
		if isAway(wrapped) != away {
			t.Errorf("%v: away %t, want %t", wrapped, isAway(wrapped), away)
		}
	}
}
