package allocate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// serveOn a free port. The function that it returns ends the server and gives what Run returned.
func serveOn(t testing.TB, s *Server) (address string, stop func() error) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, listener) }()
	end := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = end() })
	return listener.Addr().String(), end
}

func TestServerRoutesToPools(t *testing.T) {
	s := NewServer(ServerOptions{Log: quiet(), MetricsHandler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "up 1") })})
	s.Set("a/x", readyPool(t, PoolOptions{Name: "a/x"}, 1, testJob("j/1", NewBlock(podEntries(1)))))
	s.Set("b/x", readyPool(t, PoolOptions{Name: "b/x"}, 1))
	address, stop := serveOn(t, s)
	for path, want := range map[string]string{
		"/pools/a/x/scrape_configs": `{"j/1":{"job_name":"j/1"}}`,
		"/pools/a/x/jobs":           `{"j/1":{"_link":"/pools/a/x/jobs/j%2F1/targets"}}`,
		"/pools/b/x/scrape_configs": `{}`,
		"/pools/b/x/readyz":         "ok\n",
		"/livez":                    "ok\n",
		"/metrics":                  "up 1",
	} {
		if status, _, body := get(t, http.DefaultClient, "http://"+address+path); status != http.StatusOK || string(body) != want {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	s.Delete("b/x")
	if status, _, _ := get(t, http.DefaultClient, "http://"+address+"/pools/b/x/scrape_configs"); status != http.StatusServiceUnavailable {
		t.Errorf("a pool that is gone answers %d", status)
	}
	if err := stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// With all places taken, others are refused in a way that collectors and probes survive.
func TestServerLimitsRequests(t *testing.T) {
	entered, leave := make(chan string), make(chan struct{})
	metrics := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { entered <- r.RemoteAddr; <-leave })
	s := NewServer(ServerOptions{Log: quiet(), Requests: 4, MetricsHandler: metrics, Root: readyPool(t, PoolOptions{}, 1)})
	from := func(address, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	var wg sync.WaitGroup
	block := func(address string) {
		wg.Go(func() { from(address, "/metrics") })
		<-entered
	}
	refused := func(address string) {
		t.Helper()
		w := from(address, "/scrape_configs")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s got status %d", address, w.Code)
		}
		notTaken(t, address, w)
	}
	block("10.0.0.1:1")
	block("10.0.0.1:2")
	refused("10.0.0.1:3") // has half of all
	if w := from("10.0.0.2:1", "/scrape_configs"); w.Code != http.StatusOK {
		t.Errorf("another address got status %d", w.Code)
	}
	block("10.0.0.2:1")
	block("10.0.0.2:2")
	refused("10.0.0.3:1")
	if w := from("10.0.0.1:4", "/livez"); w.Code != http.StatusOK {
		t.Errorf("/livez got status %d", w.Code)
	}
	close(leave)
	wg.Wait()
	if w := from("10.0.0.3:1", "/scrape_configs"); w.Code != http.StatusOK {
		t.Errorf("after that, status is %d", w.Code)
	}
	if s.requests.used != 0 || len(s.requests.by) != 0 {
		t.Errorf("%d places are still taken", s.requests.used)
	}
}

func TestServerContainsPanics(t *testing.T) {
	before := true
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !before {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half of it")
			w.(interface{ Unwrap() http.ResponseWriter }).Unwrap().(http.Flusher).Flush()
		}
		panic("a bug")
	})
	s := NewServer(ServerOptions{Log: quiet(), MetricsHandler: metrics, Root: readyPool(t, PoolOptions{}, 1), Requests: 2})
	address, _ := serveOn(t, s)
	for range 5 {
		if status, _, body := get(t, http.DefaultClient, "http://"+address+"/metrics"); status != http.StatusInternalServerError || !strings.HasPrefix(string(body), `"internal error`) {
			t.Fatalf("a panic answers %d %s", status, body)
		}
	}
	before = false
	r, err := http.Get("http://" + address + "/metrics")
	if err == nil {
		_, err = io.ReadAll(r.Body)
		r.Body.Close()
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half of an answer ends with %v", err)
	}
	if status, _, _ := get(t, http.DefaultClient, "http://"+address+"/scrape_configs"); status != http.StatusOK {
		t.Errorf("after panics, status is %d", status)
	}
}

func TestServerLimitsConnections(t *testing.T) {
	s := NewServer(ServerOptions{Log: quiet(), Root: readyPool(t, PoolOptions{}, 1), Connections: 6, KeepAlive: 1})
	address, _ := serveOn(t, s)
	open := func() string {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, "GET /scrape_configs HTTP/1.1\r\nHost: a\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return "closed"
		}
		defer answer.Body.Close()
		if answer.Close {
			return "answered and closed"
		}
		return "answered"
	}
	// KeepAlive is for one: the first stays.
	if got := open(); got != "answered" {
		t.Fatalf("the first connection is %s", got)
	}
	if got := open(); got != "answered and closed" {
		t.Fatalf("the second connection is %s", got)
	}
	// Three are all that one address gets; these wait for their headers.
	deadline := time.Now().Add(10 * time.Second)
	for closed := false; !closed; {
		if time.Now().After(deadline) {
			t.Fatalf("no connection was refused: %d are open", s.open.Load())
		}
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		closed = open() == "closed"
	}
}

// slow is a client that takes nothing, and remembers by when it should have.
type slow struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	writes    int
}

func (s *slow) SetWriteDeadline(at time.Time) error {
	s.deadlines = append(s.deadlines, at)
	return nil
}

func (s *slow) Write([]byte) (int, error) {
	s.writes++
	return 0, errors.New("timeout")
}

func TestSlowClientsAreCutOff(t *testing.T) {
	p := readyPool(t, PoolOptions{}, 1, testJob("a", NewBlock(podEntries(1000))))
	w := &slow{ResponseRecorder: httptest.NewRecorder()}
	start := time.Now()
	p.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/jobs/a/targets?collector_id=collector-000", http.NoBody))
	if w.writes != 1 || len(w.deadlines) != 1 {
		t.Fatalf("%d writes and %d deadlines, want one of each", w.writes, len(w.deadlines))
	}
	if d := w.deadlines[0].Sub(start); d < patience || d > patience+time.Minute {
		t.Errorf("the deadline is in %v", d)
	}
}

// A target may be larger than a chunk.
func TestHugeTarget(t *testing.T) {
	huge := strings.Repeat("x", 10*chunk)
	p := readyPool(t, PoolOptions{}, 1, testJob("a", NewBlock([]Entry{{ID: 1, Labels: labels.FromStrings("__address__", "a:1", "huge", huge)}, {ID: 2, Labels: lbls("__address__", "b:1")}})))
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	for range 2 {
		_, header, body := get(t, server.Client(), server.URL+"/jobs/a/targets?collector_id=collector-000")
		if header.Get("Content-Length") != fmt.Sprint(len(body)) || !strings.Contains(string(body), huge) || !strings.HasSuffix(string(body), "}}]") {
			t.Fatalf("%d bytes, %s announced", len(body), header.Get("Content-Length"))
		}
	}
}

// Readers never wait for a change, and see either what was before or what is after.
func TestReadersDuringChanges(t *testing.T) {
	jobs := [][]*Job{{testJob("a", NewBlock(podEntries(200)))}, {testJob("a", NewBlock(podEntriesFrom(100, 200)))}}
	p := readyPool(t, PoolOptions{}, 2, jobs[0]...)
	h := p.Handler()
	want := map[string]bool{}
	for _, j := range jobs {
		p.SetJobs(j)
		want[ask(h, "/jobs/a/targets").Body.String()] = true
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				p.SetJobs(jobs[i%2])
			}
		}
	})
	for range 200 {
		if w := ask(h, "/jobs/a/targets"); w.Code != http.StatusOK || !want[w.Body.String()] {
			t.Errorf("status %d, or an answer that never was true", w.Code)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// answerBench is a pool whose lists for collector-000 have as many targets.
func answerBench(b *testing.B, targets int) *Server {
	var jobs []*Job
	for j := range 20 { // one does not stay in the cache of the processor
		jobs = append(jobs, testJob(fmt.Sprint("job", j), NewBlock(podEntriesFrom(j*targets, targets))))
	}
	return NewServer(ServerOptions{Log: quiet(), Root: readyPool(b, PoolOptions{}, 1, jobs...)})
}

// discard takes an answer without keeping it.
type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }

func BenchmarkHandler(b *testing.B) {
	for _, targets := range []int{20, 1000} {
		b.Run(fmt.Sprint("targets=", targets), func(b *testing.B) {
			h := answerBench(b, targets).Handler()
			var requests []*http.Request
			for j := range 20 {
				requests = append(requests, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/jobs/job%d/targets?collector_id=collector-000", j), http.NoBody))
			}
			i, size, cpu := 0, 0, cpuTime(b)
			for b.Loop() {
				w := discard{header: http.Header{}}
				h.ServeHTTP(&w, requests[i%20])
				size = w.n
				i++
			}
			b.SetBytes(int64(size))
			b.ReportMetric(1e9*float64(b.N)/float64(cpuTime(b)-cpu), "requests/cpu-s")
			b.ReportMetric(float64(size), "B/answer")
		})
	}
}

// BenchmarkLoopback counts the processor time of both sides, client and server, and of the kernel.
func BenchmarkLoopback(b *testing.B) {
	for _, targets := range []int{20, 1000} {
		b.Run(fmt.Sprint("targets=", targets), func(b *testing.B) {
			address, _ := serveOn(b, answerBench(b, targets))
			conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			in := bufio.NewReaderSize(conn, 256<<10)
			i, size, cpu := 0, int64(0), cpuTime(b)
			for b.Loop() {
				fmt.Fprintf(conn, "GET /jobs/job%d/targets?collector_id=collector-000 HTTP/1.1\r\nHost: a\r\n\r\n", i%20)
				r, err := http.ReadResponse(in, nil)
				if err != nil || r.StatusCode != http.StatusOK {
					b.Fatal(err, r)
				}
				if size, err = io.Copy(io.Discard, r.Body); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.SetBytes(size)
			b.ReportMetric(1e9*float64(b.N)/float64(cpuTime(b)-cpu), "requests/cpu-s")
		})
	}
}
