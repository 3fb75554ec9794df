package features_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/otelier/otelier/e2e/steps"
)

// request is what the API server was asked for, as RBAC sees it.
type request struct {
	group, resource, verb, namespace string // the resource with its subresource: opentelemetrycollectors/status
}

// witness stands between a client and the API server and remembers what was asked for, reads too, which an audit log of writes does not
// tell. It acts as one user: what the API server answers is what that user may do.
type witness struct {
	// kubeconfig leads through the witness.
	kubeconfig string

	mu      sync.Mutex
	asked   map[request]int
	refused map[request]string // the answer
}

// newWitness starts a witness that acts as a user. It ends with the test.
func newWitness(t *testing.T, s *steps.Scene, user string) *witness {
	t.Helper()
	config, err := s.Cluster.RESTConfig("")
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{asked: map[request]int{}, refused: map[request]string{}}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport, FlushInterval: -1, ModifyResponse: w.answered,
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }, // a client that has gone
	})
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	w.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(w.kubeconfig, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "witness"
	file := api.NewConfig()
	file.Clusters[name] = &api.Cluster{Server: server.URL}
	file.Contexts[name] = &api.Context{Cluster: name}
	file.CurrentContext = name
	if err := clientcmd.WriteToFile(*file, w.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *witness) answered(r *http.Response) error {
	q, ok := requestOf(r.Request)
	if !ok {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[q]++
	if r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized {
		w.refused[q] = fmt.Sprintf("%s %s: %s", r.Request.Method, r.Request.URL.Path, r.Status)
	}
	if q.verb == "patch" && r.StatusCode == http.StatusCreated { // server-side apply of what was not there needs both
		q.verb = "create"
		w.asked[q]++
	}
	return nil
}

// requestOf reads a request as the API server does; false for what is not about a resource.
//
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
func requestOf(r *http.Request) (request, bool) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	var q request
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		q.group, parts = parts[1], parts[3:]
	default:
		return q, false
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		q.namespace, parts = parts[1], parts[2:]
	}
	q.resource = parts[0]
	if len(parts) > 2 {
		q.resource += "/" + parts[2]
	}
	named := len(parts) > 1
	switch r.Method {
	case http.MethodGet:
		switch {
		case r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1":
			q.verb = "watch"
		case named:
			q.verb = "get"
		default:
			q.verb = "list"
		}
	case http.MethodPost:
		q.verb = "create"
	case http.MethodPut:
		q.verb = "update"
	case http.MethodPatch:
		q.verb = "patch"
	case http.MethodDelete:
		q.verb = "delete"
	}
	return q, true
}

// used tells whether a permission was needed for anything so far. system is the namespace of the operator.
func (w *witness) used(p permission, system string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for q := range w.asked {
		if q.group == p.group && q.resource == p.resource && q.verb == p.verb && (q.namespace == system) == (p.scope == own) {
			return true
		}
	}
	return false
}

// refusals are what was asked for and not allowed.
func (w *witness) refusals() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Values(w.refused))
}
