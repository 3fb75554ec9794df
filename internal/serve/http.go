// Package serve is what every long-running program has: health and metrics over HTTP, and the election of a leader.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // requests to the API server
	_ "k8s.io/component-base/metrics/prometheus/workqueue"  // work queues
)

// Server answers /healthz, /readyz and /metrics. None of them needs authentication and none of them tells more than numbers
// and the names of kinds.
type Server struct {
	// Ready decides /readyz: 200 or 503.
	Ready func() bool
	// Metrics are served together with those of client-go and of the Go runtime.
	Metrics prometheus.Gatherer
	Log     *slog.Logger
}

// Handler serves the three paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, true) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Ready()) })
	all := prometheus.Gatherers{legacyregistry.DefaultGatherer, s.Metrics}
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{}))
	return mux
}

func answer(w http.ResponseWriter, ok bool) {
	if !ok {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // the client has gone away: nobody is left to tell
}

// Run listens on address until ctx ends and returns when the last request is answered.
func (s *Server) Run(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve health and metrics: %w (choose another address with --listen)", err)
	}
	s.Log.Info("serving health and metrics", "address", listener.Addr().String())
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve health and metrics: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = server.Shutdown(grace)
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
