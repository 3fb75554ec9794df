package allocate

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Paths as metrics name them.
const (
	pathScrapeConfigs = "/scrape_configs"
	pathJobs          = "/jobs"
	pathTargets       = "/jobs/:job_id/targets"
	pathLive          = "/livez"
	pathReady         = "/readyz"
	pathMetrics       = "/metrics"
	pathPage          = "/"
	pathExport        = "/pool.json"
	pathOther         = "other"
)

const (
	// maxURL is how long path and query may be, in bytes. Names of jobs from monitors stay below 600.
	maxURL = 8 << 10
	// maxID is how long a collector_id may be: that of the name of a pod.
	maxID = 253
)

// acceptable refuses what no path takes.
func acceptable(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD are served")
	case r.ContentLength != 0:
		w.Header().Set("Connection", "close") // it is not read
		refuse(w, http.StatusRequestEntityTooLarge, "requests have no body here")
	case len(r.URL.EscapedPath())+len(r.URL.RawQuery) > maxURL:
		refuse(w, http.StatusRequestURITooLong, "path and query are longer than "+strconv.Itoa(maxURL)+" bytes")
	default:
		return true
	}
	return false
}

// refuse answers with an error. The receiver takes a body that is a YAML mapping, or empty, as the new scrape configuration, whatever the
// status is; so every error is a string in quotes, which no reader takes for a mapping.
func refuse(w http.ResponseWriter, status int, message string) {
	body := append(appendQuoted(nil, message), '\n')
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone away: nobody is left to tell
}

// route says which path of a pool an escaped path is, and for that of targets, of which job. The name of a job is one segment, escaped
// the way of queries: a slash is %2F and a space is a plus.
func route(escaped string) (path, job string) {
	switch escaped {
	case pathScrapeConfigs, pathJobs, pathLive, pathReady, pathPage, pathExport:
		return escaped, ""
	}
	rest, ok := strings.CutPrefix(escaped, pathJobs+"/")
	if !ok {
		return pathOther, ""
	}
	segment, ok := strings.CutSuffix(rest, "/targets")
	if !ok || strings.Contains(segment, "/") {
		return pathOther, ""
	}
	job, err := url.QueryUnescape(segment)
	if err != nil {
		return pathOther, ""
	}
	return pathTargets, job
}

// serve answers a request for a path below the pool's root, and says which one it was.
func (p *Pool) serve(w http.ResponseWriter, r *http.Request, escaped string, page *page) string {
	path, job := route(escaped)
	var query url.Values
	collector, asked := "", false
	if path == pathTargets || path == pathPage {
		query = r.URL.Query()
		collector, asked = query.Get("collector_id"), query.Has("collector_id")
	}
	if path == pathTargets && asked && len(collector) <= maxID && p.options.Polled != nil {
		p.options.Polled(collector)
	}
	s := p.Snapshot()
	a := answer{w: w, r: r, buffers: &p.buffers}
	switch {
	case path == pathLive:
		sendOK(w, r)
	case path == pathOther:
		refuse(w, http.StatusNotFound, "no such path: see /")
	case path == pathPage:
		page.pool(w, r, p, s, query)
	case s == nil:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, p.waiting())
	case path == pathReady:
		sendOK(w, r)
	case path == pathScrapeConfigs:
		a.configs(s)
	case path == pathExport:
		a.export(s)
	case path == pathJobs:
		a.jobs(s, p.root())
	case s.unknown(job):
		if asked {
			s.ask(collector, p.options.Clock.Now())
		}
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "the targets of this job are not known yet")
	case asked:
		s.ask(collector, p.options.Clock.Now())
		a.targets(s.list(job, collector))
	default:
		a.job(s, p.root(), job)
	}
	return path
}

// waiting says why the pool is not ready.
func (p *Pool) waiting() string {
	message := "otelier is starting"
	if p.options.Waiting != nil {
		if what := p.options.Waiting(); what != "" {
			message += ": waiting for " + what
		}
	}
	return message
}

// notModified tells whether the client has what the tag stands for: RFC 9110, section 13.1.2.
func notModified(r *http.Request, etag string) bool {
	for _, field := range r.Header["If-None-Match"] {
		for known := range strings.SplitSeq(field, ",") {
			known = strings.TrimSpace(known)
			if known == "*" || strings.TrimPrefix(known, "W/") == etag {
				return true
			}
		}
	}
	return false
}

func sendOK(w http.ResponseWriter, r *http.Request) {
	const ok = "ok\n"
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(ok)))
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(ok)) // the client has gone away: nobody is left to tell
	}
}
