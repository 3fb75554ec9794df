package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// counter is the metric of every target: how often it was scraped, this time included. A gap in the values that have arrived somewhere
// is scrapes that were lost on the way.
const counter = "workbench_scrapes_total"

// collectorHeader is what a collector may tell a target its name in.
const collectorHeader = "X-Collector"

// exporter serves targets: one for each port and path, and one for each port and target parameter of a probe.
type exporter struct {
	name           string // of the exporter; a pod's
	paths          []string
	user, password string
	now            func() time.Time

	mu      sync.Mutex
	targets map[string][]scrape
}

// scrape is one, as its target has seen it.
type scrape struct {
	// At is in milliseconds since the epoch.
	At int64 `json:"at"`
	// By is what the scraper calls itself, if it does.
	By string `json:"by,omitempty"`
}

func runExporter(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("exporter", flag.ContinueOnError)
	e := &exporter{now: time.Now, targets: map[string][]scrape{}}
	flags.StringVar(&e.name, "name", hostname(), "name in the label target of the counters")
	flags.StringVar(&e.user, "user", "", "of basic authentication, which is wanted then")
	flags.StringVar(&e.password, "password", "", "of the user")
	host := flags.String("host", "", "address to listen on; all when empty")
	first := flags.Int("first-port", 9100, "the first of the ports")
	ports := flags.Int("ports", 1, "how many, one after the other")
	cert := flags.String("tls-cert", "", "file with the certificate; serves HTTPS then")
	key := flags.String("tls-key", "", "file with the certificate's key")
	flags.Func("path", "path of metrics; may be repeated (default /metrics)", func(path string) error {
		if !strings.HasPrefix(path, "/") {
			return errors.New("want a path that begins with a slash")
		}
		e.paths = append(e.paths, path)
		return nil
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	if len(e.paths) == 0 {
		e.paths = []string{"/metrics"}
	}
	if *ports < 1 {
		return usageError{errors.New("-ports: want one at least")}
	}
	var secure *tls.Config
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		secure = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	var addresses []string
	for i := range *ports {
		addresses = append(addresses, net.JoinHostPort(*host, strconv.Itoa(*first+i)))
	}
	listeners, err := listen(addresses...)
	if err != nil {
		return err
	}
	say(out, "%s: %d ports from %d on, at %v\n", e.name, *ports, *first, e.paths)
	return serve(ctx, e, secure, listeners...)
}

// ServeHTTP answers scrapes, probes, and who has scraped what so far at /scrapes.
func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	_, port, _ := net.SplitHostPort(address.String())
	target := e.name + ":" + port
	switch {
	case r.URL.Path == "/scrapes":
		e.mu.Lock()
		defer e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(e.targets) // who has asked is gone when that fails
		return
	case !e.authorized(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="workbench"`)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	case r.URL.Path == "/probe":
		target = "probe/" + r.FormValue("target")
	case !slices.Contains(e.paths, r.URL.Path):
		http.NotFound(w, r)
		return
	}
	n := e.scraped(target, strings.Join(r.Header.Values(collectorHeader), ","))
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	say(w, "# HELP %[1]s How often this target was scraped.\n# TYPE %[1]s counter\n%[1]s{target=%[2]q,path=%[3]q} %[4]d\n",
		counter, target, r.URL.Path, n)
}

func (e *exporter) authorized(r *http.Request) bool {
	if e.user == "" {
		return true
	}
	user, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(user+"\n"+password), []byte(e.user+"\n"+e.password)) == 1
}

// scraped notes a scrape of a target, and returns how many there have been.
func (e *exporter) scraped(target, by string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.targets[target] = append(e.targets[target], scrape{e.now().UnixMilli(), by})
	return len(e.targets[target])
}
