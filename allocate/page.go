package allocate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

//go:embed page/*.html page/style.css
var pageFiles embed.FS

const (
	// How much of each a page shows at most.
	maxPageCollectors = 250
	maxPageJobs       = 500
	maxPageTargets    = 20
	// maxSearch is how long a search may take.
	maxSearch = 2 * time.Second
	// late is the age of a poll that is worth a look: receivers ask every 30 s.
	late = 2 * time.Minute
)

// page renders HTML. There are no scripts in it, and the browser is told so.
type page struct {
	templates *template.Template
	policy    string
}

func newPage() *page {
	style, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		panic(err) // it is in the binary
	}
	// A browser hashes what is between the tags.
	sum := sha256.Sum256(style)
	functions := template.FuncMap{
		"style":  func() template.CSS { return template.CSS(style) }, // ours
		"number": number,
		"soft":   soft,
	}
	return &page{
		templates: template.Must(template.New("").Funcs(functions).ParseFS(pageFiles, "page/*.html")),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

// soft lets a browser break a line after underscores.
func soft(s string) template.HTML {
	return template.HTML(strings.ReplaceAll(html.EscapeString(s), "_", "_<wbr>")) // escaped
}

// number groups the digits of n.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func (p *page) send(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var out bytes.Buffer
	if err := p.templates.ExecuteTemplate(&out, name, data); err != nil {
		panic(fmt.Errorf("page %s: %w", name, err)) // the request fails, and the log says why
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(out.Bytes()) // the client has gone away: nobody is left to tell
	}
}

// indexRow is a pool on the page of all of them.
type indexRow struct {
	Name, Strategy, Waiting               string
	Jobs, Targets, Collectors, Unassigned int
	Unknown                               int
}

// index of all pools.
func (p *page) index(w http.ResponseWriter, r *http.Request, names []string, pool func(string) *Pool) {
	var rows []indexRow
	for _, name := range names {
		pool := pool(name)
		if pool == nil {
			continue // just gone
		}
		row := indexRow{Name: name}
		if s := pool.Snapshot(); s == nil {
			row.Waiting = pool.waiting()
		} else {
			row.Strategy, row.Jobs, row.Targets = string(s.strategy()), len(s.Jobs), s.total
			row.Collectors, row.Unassigned, row.Unknown = len(s.Assignment.Members), s.Assignment.Unassigned, s.unknowns
		}
		rows = append(rows, row)
	}
	p.send(w, r, http.StatusOK, "index.html", rows)
}

// poolPage is what the page of a pool shows.
type poolPage struct {
	Name, Waiting, Strategy string
	Standalone, Ready       bool
	Generation, Moved       uint64

	Targets, Unassigned, Withheld int
	Unknown                       int
	Mean                          string
	Collectors                    []collectorRow
	CollectorCount                int
	Jobs                          []jobRow
	JobCount                      int

	Query, Job, Collector string
	Searched, Partial     bool
	Busy                  bool
	Found                 int
	Results               []result
	Relabels              bool
}

// collectorRow is a member and its load.
type collectorRow struct {
	Name, Node, Zone string
	Capacity         uint32
	Targets          int
	// Width of the bar, and where its fair share is, in percent.
	Width, Share float64
	Poll         string
	Late         bool
	Link         string
}

type jobRow struct {
	Name, Source        string
	Targets, Unassigned int
	Unknown             bool
	Link, JSON          string
}

// result is a target that was found.
type result struct {
	Address, Job, Owner string
	Reason              string
	Before, After       []labelRow
	Dropped             bool
}

type labelRow struct {
	Name, Value string
	// New tells that relabelling has made or changed it.
	New bool
}

// pool shows a pool; s is nil while it is not ready.
func (p *page) pool(w http.ResponseWriter, r *http.Request, pool *Pool, s *Snapshot, values url.Values) {
	data := poolPage{
		Name: pool.options.Name, Standalone: pool.options.Name == "", Withheld: int(pool.withheld.Load()),
		Query: values.Get("q"), Job: values.Get("job"), Collector: values.Get("collector"), Relabels: pool.options.Relabel != nil,
	}
	if s == nil {
		data.Waiting = pool.waiting()
		p.send(w, r, http.StatusServiceUnavailable, "pool.html", data)
		return
	}
	data.Ready, data.Strategy, data.Generation, data.Moved = true, string(s.strategy()), s.Generation, s.Moved
	data.Targets, data.Unassigned, data.Unknown = s.total, s.Assignment.Unassigned, s.unknowns
	data.collectors(s, pool.options.Clock.Now())
	data.jobs(s)
	if data.Query+data.Job+data.Collector != "" {
		data.search(r.Context(), pool, s)
	}
	p.send(w, r, http.StatusOK, "pool.html", data)
}

func (d *poolPage) collectors(s *Snapshot, now time.Time) {
	members, load := s.Assignment.Members, s.Assignment.Load()
	d.CollectorCount = len(members)
	capacity := uint64(0)
	for _, m := range members {
		capacity += uint64(max(1, m.Capacity))
	}
	share := func(m Member) float64 {
		return float64(s.total-s.Assignment.Unassigned) * float64(max(1, m.Capacity)) / float64(capacity)
	}
	widest := 1.0
	order := make([]int, len(members))
	for i, m := range members {
		order[i] = i
		widest = max(widest, float64(load[i]), share(m))
	}
	slices.SortFunc(order, func(a, b int) int { return compareNatural(members[a].Name, members[b].Name) })
	for _, i := range order[:min(len(order), maxPageCollectors)] {
		m := members[i]
		row := collectorRow{
			Name: m.Name, Node: m.Node, Zone: m.Zone, Capacity: m.Capacity, Targets: load[i],
			Width: 100 * float64(load[i]) / widest, Share: 100 * share(m) / widest,
			Poll: "never asked", Late: true, Link: "?" + url.Values{"collector": {m.Name}}.Encode() + "#targets",
		}
		if at := s.LastPoll(i); !at.IsZero() {
			age := max(0, now.Sub(at))
			row.Poll, row.Late = "asked "+age.Round(time.Second).String()+" ago", age > late
		}
		row.Late = row.Late && s.total+s.unknowns > 0
		d.Collectors = append(d.Collectors, row)
	}
	if capacity > 0 {
		d.Mean = strconv.FormatFloat(float64(s.total-s.Assignment.Unassigned)/float64(len(members)), 'f', 1, 64)
	}
}

// compareNatural puts collector-2 before collector-10.
func compareNatural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			// Longer numbers are larger: ordinals have no leading zeros.
			if c := cmp.Or(cmp.Compare(x, y), cmp.Compare(a[:x], b[:y])); c != 0 {
				return c
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is how many of them s begins with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

func (d *poolPage) jobs(s *Snapshot) {
	d.JobCount = len(s.views)
	for _, v := range s.views[:min(len(s.views), maxPageJobs)] {
		d.Jobs = append(d.Jobs, jobRow{
			Name: v.job.Name, Source: v.job.Source, Targets: v.total(), Unassigned: v.unassigned, Unknown: v.job.Unknown,
			Link: "?" + url.Values{"job": {v.job.Name}}.Encode() + "#targets", JSON: "jobs/" + url.QueryEscape(v.job.Name) + "/targets",
		})
	}
}

func (d *poolPage) search(ctx context.Context, pool *Pool, s *Snapshot) {
	d.Searched = true
	ctx, cancel := context.WithTimeout(ctx, maxSearch)
	defer cancel()
	select {
	case pool.searches <- struct{}{}:
		defer func() { <-pool.searches }()
	case <-ctx.Done():
		d.Busy = true
		return
	}
	f := s.search(ctx, newQuery(d.Query, d.Job, d.Collector), maxPageTargets)
	d.Found, d.Partial = f.total, f.partial
	for _, h := range f.hits {
		d.Results = append(d.Results, newResult(h, s, pool.options.Relabel))
	}
}

func newResult(h hit, s *Snapshot, relabel func(string, labels.Labels) (labels.Labels, bool)) result {
	before := h.block.Labels(h.i)
	out := result{
		Address: before.Get("__address__"), Job: h.view.job.Name, Reason: s.Assignment.Why(h.block, h.i).Text,
		Before: labelRows(before, before),
	}
	if h.owner != Nobody {
		out.Owner = s.Assignment.Members[h.owner].Name
	}
	if relabel != nil {
		after, kept := relabel(h.view.job.Name, before)
		out.After, out.Dropped = labelRows(after, before), !kept
	}
	return out
}

func labelRows(all, before labels.Labels) []labelRow {
	var rows []labelRow
	all.Range(func(l labels.Label) {
		rows = append(rows, labelRow{l.Name, l.Value, before.Get(l.Name) != l.Value})
	})
	return rows
}
