package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// listen opens addresses, or none.
func listen(addresses ...string) ([]net.Listener, error) {
	var out []net.Listener
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, open := range out {
				_ = open.Close()
			}
			return nil, fmt.Errorf("listen: %w", err)
		}
		out = append(out, l)
	}
	return out, nil
}

// serve serves a handler on listeners until ctx is done, over TLS when there is a configuration for that. Requests under way
// have a second to end.
func serve(ctx context.Context, handler http.Handler, secure *tls.Config, listeners ...net.Listener) error {
	server := &http.Server{Handler: withHealth(handler), TLSConfig: secure, ReadHeaderTimeout: time.Minute}
	var running sync.WaitGroup
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		if secure != nil {
			l = tls.NewListener(l, secure)
		}
		running.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(end) != nil {
		_ = server.Close()
	}
	running.Wait()
	return err
}

// withHealth answers probes, of which the handler hears nothing.
func withHealth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.WriteHeader(http.StatusOK)
			return
		}
		next.ServeHTTP(w, r)
	})
}
