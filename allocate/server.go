package allocate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ServerOptions are what a server is made of.
type ServerOptions struct {
	// Root is the pool of a server that has one only: it is served at /. Without it, pools are served at /pools/NAMESPACE/NAME/.
	Root *Pool
	// MetricsHandler is served at /metrics; without it that path does not exist.
	MetricsHandler http.Handler
	// Metrics of requests; none when nil.
	Metrics *Metrics
	// Log; slog.Default() when nil.
	Log *slog.Logger
	// Requests is how many are answered at a time; 256 when 0. Those beyond get 503. Half of them are for one address at most.
	Requests int
	// Connections is how many may be open; 16,384 when 0. Those beyond are closed at once. Half of them are for one address at most.
	Connections int
	// KeepAlive is up to how many open connections one stays open after its request; 2,048 when 0. The receiver has one for each job.
	KeepAlive int
}

// Server serves pools over HTTP, the way of the OpenTelemetry Operator's target allocator. Below the root of each pool are
//
//	/scrape_configs                      {"JOB":{scrape configuration}}
//	/jobs                                {"JOB":{"_link":"/jobs/JOB/targets"}}, jobs with targets
//	/jobs/{job}/targets?collector_id=ID  [{"targets":["ADDRESS"],"labels":{…}}], those of one collector, before relabelling
//	/jobs/{job}/targets                  {"COLLECTOR":{"_link":"…","targets":[…]}}
//	/pool.json                           an Export: rules, members, and which target is on whom, for plans
//	/livez, /readyz                      200, or 503 while a pool is not ready
//	/                                    a page for people
//
// A pool that is not ready, or not known, answers 503, and never with a body that could be taken for a truth that is emptier than it is.
// Answers have the same bytes for the same content, and an ETag.
type Server struct {
	options  ServerOptions
	page     *page
	requests *quota
	conns    *quota
	open     atomic.Int64

	mu    sync.RWMutex
	pools map[string]*Pool
}

// NewServer returns a server without pools, but for that of the options.
func NewServer(options ServerOptions) *Server {
	options.Log = cmp.Or(options.Log, slog.Default())
	options.Requests = cmp.Or(options.Requests, 256)
	options.Connections = cmp.Or(options.Connections, 16<<10)
	options.KeepAlive = cmp.Or(options.KeepAlive, 2<<10)
	return &Server{
		options: options, page: newPage(), pools: map[string]*Pool{},
		requests: newQuota(options.Requests), conns: newQuota(options.Connections),
	}
}

// Set serves a pool at /pools/NAME/, where name is NAMESPACE/NAME. A pool that was there before is closed.
func (s *Server) Set(name string, p *Pool) {
	s.mu.Lock()
	before := s.pools[name]
	s.pools[name] = p
	s.mu.Unlock()
	if before != nil && before != p {
		before.Close()
	}
}

// Delete ends serving a pool, and closes it.
func (s *Server) Delete(name string) {
	s.mu.Lock()
	p := s.pools[name]
	delete(s.pools, name)
	s.mu.Unlock()
	if p != nil {
		p.Close()
	}
}

func (s *Server) pool(name string) *Pool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pools[name]
}

// names of the pools, sorted.
func (s *Server) names() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.pools))
	for name := range s.pools {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Handler serves all paths, with their limits but for those of connections.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	t := &tracked{ResponseWriter: w}
	path := pathOther
	defer func() {
		s.contain(t, r, recover())
		if s.options.Metrics != nil {
			s.options.Metrics.requested(path, time.Since(start))
		}
	}()
	if s.open.Load() > int64(s.options.KeepAlive) {
		w.Header().Set("Connection", "close")
	}
	if r.URL.Path == pathLive { // answered whatever happens
		path = pathLive
		sendOK(t, r)
		return
	}
	if !acceptable(t, r) {
		return
	}
	from := host(r.RemoteAddr)
	if !s.requests.take(from) {
		if s.options.Metrics != nil {
			s.options.Metrics.rejected.Inc()
		}
		w.Header().Set("Retry-After", "1")
		refuse(t, http.StatusServiceUnavailable, "too many requests at a time")
		return
	}
	defer s.requests.give(from)
	path = s.dispatch(t, r)
}

// contain ends a request that has panicked: the others go on.
func (s *Server) contain(t *tracked, r *http.Request, reason any) {
	if reason == nil {
		return
	}
	if reason == http.ErrAbortHandler { //nolint:errorlint // a value of recover, compared as net/http does
		panic(reason)
	}
	s.options.Log.Error("request panicked", "path", r.URL.EscapedPath(), "reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
	if t.started {
		panic(http.ErrAbortHandler) // the client must not take what it has for the whole
	}
	t.Header().Del("ETag")
	refuse(t, http.StatusInternalServerError, "internal error: see the log")
}

// dispatch answers a request and returns its path as metrics name it.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) string {
	escaped := r.URL.EscapedPath()
	if escaped == pathMetrics && s.options.MetricsHandler != nil {
		s.options.MetricsHandler.ServeHTTP(w, r)
		return pathMetrics
	}
	if s.options.Root != nil {
		return s.options.Root.serve(w, r, escaped, s.page)
	}
	switch escaped {
	case pathReady:
		sendOK(w, r)
		return pathReady
	case pathPage:
		s.page.index(w, r, s.names(), s.pool)
		return pathPage
	}
	rest, ok := strings.CutPrefix(escaped, "/pools/")
	namespace, rest, ok2 := strings.Cut(rest, "/")
	name, rest, slash := strings.Cut(rest, "/")
	if !ok || !ok2 || namespace == "" || name == "" {
		refuse(w, http.StatusNotFound, "no such path: pools are below /pools/NAMESPACE/NAME/")
		return pathOther
	}
	p := s.pool(namespace + "/" + name)
	switch {
	case p == nil:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "no such pool, or not yet: targets are served for collectors with spec.targetAllocator.enabled")
	case !slash:
		http.Redirect(w, r, "/pools/"+namespace+"/"+name+"/", http.StatusMovedPermanently)
	default:
		return p.serve(w, r, "/"+rest, s.page)
	}
	return pathOther
}

// tracked knows whether the client has got anything.
type tracked struct {
	http.ResponseWriter
	started bool
}

// WriteHeader implements http.ResponseWriter.
func (t *tracked) WriteHeader(status int) {
	t.started = true
	t.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (t *tracked) Write(b []byte) (int, error) {
	t.started = true
	return t.ResponseWriter.Write(b) // in the way of nothing
}

// Unwrap is for http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Run serves on listener until ctx ends, and returns when the last request is answered, or cut off after five seconds.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      patience,
		IdleTimeout:       90 * time.Second, // collectors ask every 30 s
		MaxHeaderBytes:    16 << 10,
		ConnState:         s.connection,
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug), // clients that go away, and the like
	}
	s.options.Log.Info("serving targets", "address", listener.Addr().String())
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve targets: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("serve targets: shut down: %w", err)
	}
	return nil
}

// connection counts them, and closes those that are too many.
func (s *Server) connection(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
		if !s.conns.force(host(c.RemoteAddr().String())) {
			_ = c.Close() // the state becomes closed, which gives it back
		}
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
		s.conns.give(host(c.RemoteAddr().String()))
	default:
	}
}
