package controlplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// relay passes kwok's requests on to the API server, and has kwok try again what a kubelet would.
//
// kwok drops what it was about to do to an object for good when the answer is an error other than that the API server can't be
// reached or is busy, until something else happens to the object (sigs.k8s.io/kwok/pkg/kwok/controllers/utils.go, shouldRetry). A
// request that is under way when etcd dies is answered with 500, and one that is under way when the API server dies not at all: the
// pod would stay Pending, or the claim unbound, for ever. The relay answers 503 then, which kwok takes as a reason to try again. What
// it writes may have been stored the first time; to write it again does no harm.
type relay struct {
	server *http.Server
	ended  chan struct{}
}

// startRelay listens on an address with the API server's certificate, and passes on to target.
func startRelay(address, target string, files pki) (*relay, error) {
	handler, err := relayTo(target, files.file("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	certificate, err := tls.LoadX509KeyPair(files.file("apiserver.crt"), files.file("apiserver.key"))
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &relay{ended: make(chan struct{}), server: &http.Server{
		Handler:   handler,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // kwok's log has it
	}}
	go func() {
		defer close(r.ended)
		_ = r.server.ServeTLS(listener, "", "") // ends when stop is called
	}()
	return r, nil
}

// stop ends the relay when kwok has ended.
func (r *relay) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := r.server.Shutdown(ctx)
	_ = r.server.Close() // has nothing to do after a shutdown
	<-r.ended
	if err != nil {
		return fmt.Errorf("relay: requests are under way without kwok: %w", err)
	}
	return nil
}

// relayTo passes requests on to target, whose certificate is by the authority in a file.
func relayTo(target, authority string) (http.Handler, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		},
		ModifyResponse: stored,
		ErrorHandler:   unavailable,
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}, nil
}

// stored is an error if the answer to a write says that the API server could not carry it out, or breaks off. Reads pass: kwok's
// informers try again after any error, and watches don't end.
func stored(answer *http.Response) error {
	if answer.Request.Method == http.MethodGet {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode == http.StatusInternalServerError {
		if status, err := runtime.Decode(scheme.Codecs.UniversalDeserializer(), body); err == nil {
			return apierrors.FromObject(status)
		}
		return fmt.Errorf("%s: %s", answer.Status, body)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// unavailable answers with 503 and why.
func unavailable(w http.ResponseWriter, _ *http.Request, why error) {
	status := apierrors.NewServiceUnavailable(why.Error()).Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status) // an error says that kwok has gone
}
