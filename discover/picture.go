package discover

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/eureka"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/nomad"
	"github.com/prometheus/prometheus/discovery/puppetdb"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/discovery/xds"
)

// picture knows when a discovery has told everything that there was when it began. Until then its targets are but some of them, and
// must not be served. Prometheus' interface does not say it, so it is known by mechanism.
type picture interface {
	// nothing is true when there is nothing to be told at all.
	nothing() bool
	// complete takes what was sent, and is true when that was the last of it.
	complete(sent []*targetgroup.Group) bool
	// failed takes an error that was logged; path is the file that it is about, if any.
	failed(path string)
}

func (p *provider) newPicture() picture {
	switch c := p.config.(type) {
	case *file.SDConfig:
		return &filePicture{patterns: c.Files, failing: map[string]int{}}
	case *dns.SDConfig:
		return &dnsPicture{}
	case *consul.SDConfig:
		return &consulPicture{config: c, clock: p.parent.opts.Clock, said: p.failed, seen: map[string]bool{}}
	default:
		// Static targets come at once. What Kuma has comes as one list each time, and what is refreshed periodically comes as one list each time.
		return oneList{}
	}
}

// oneList is for what sends everything at once, or nothing when it fails.
type oneList struct{}

func (oneList) nothing() bool { return false }

func (oneList) complete([]*targetgroup.Group) bool { return true }

func (oneList) failed(string) {}

// dnsPicture is for DNS, which sends one list and leaves those names out that fail.
type dnsPicture struct {
	mu      sync.Mutex
	failing bool
}

func (*dnsPicture) nothing() bool { return false }

func (l *dnsPicture) complete([]*targetgroup.Group) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok := !l.failing
	l.failing = false
	return ok
}

func (l *dnsPicture) failed(string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = true
}

// filePicture is for files, which are read one after another, again and again: each is sent, or fails. So the first round is over when
// there were as many of the two as there are files; and it is complete when none is failing.
type filePicture struct {
	patterns []string

	mu    sync.Mutex
	files int
	told  int
	// failing has how many other files were read since the file has failed.
	failing map[string]int
}

// found are the files as Prometheus finds them: one that two patterns match is read twice.
func (f *filePicture) found() []string {
	var all []string
	for _, p := range f.patterns {
		names, err := filepath.Glob(p)
		if err == nil {
			all = append(all, names...)
		}
	}
	return all
}

func (f *filePicture) nothing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files = len(f.found())
	return f.files == 0
}

func (f *filePicture) complete(sent []*targetgroup.Group) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told++
	for _, g := range sent {
		if i := strings.LastIndexByte(g.Source, ':'); i > 0 {
			delete(f.failing, g.Source[:i])
		}
	}
	if len(f.failing) > 0 {
		if !ended(sent) {
			f.passed("")
		}
		f.forget(f.found())
	}
	return f.told >= f.files && len(f.failing) == 0
}

// ended is true for what says that groups are gone, and is sent besides what was read: that has labels, even without targets.
func ended(sent []*targetgroup.Group) bool { return len(sent) == 1 && sent[0].Labels == nil }

// passed counts a file that was read.
func (f *filePicture) passed(except string) {
	for path := range f.failing {
		if path != except {
			f.failing[path]++
		}
	}
}

// forget drops the failures of files that are not there any more; and of those that did not fail when it was their turn again. The
// latter are empty lists now, of which nothing tells the path.
func (f *filePicture) forget(there []string) {
	maps.DeleteFunc(f.failing, func(path string, others int) bool {
		return !slices.Contains(there, path) || others >= len(there)
	})
}

func (f *filePicture) failed(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path == "" {
		return
	}
	f.told++
	f.passed(path)
	f.failing[path] = 0
}

// errorHandler passes logs on, and tells of errors.
type errorHandler struct {
	slog.Handler
	seen func(text, path string)
}

func (h *errorHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError || h.Handler.Enabled(ctx, level)
}

func (h *errorHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		text, path := r.Message, ""
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "err":
				text += ": " + a.Value.String()
			case "path":
				path = a.Value.String()
			}
			return true
		})
		if path != "" {
			text += " (" + path + ")"
		}
		h.seen(text, path)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h *errorHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &errorHandler{Handler: h.Handler.WithAttrs(attrs), seen: h.seen}
}

func (h *errorHandler) WithGroup(name string) slog.Handler {
	return &errorHandler{Handler: h.Handler.WithGroup(name), seen: h.seen}
}

// refreshInterval of a discovery, as far as it says one. Kubernetes is given a minute: without it there is not much to do anyway.
func refreshInterval(cfg discovery.Config) time.Duration {
	switch c := cfg.(type) {
	case *file.SDConfig:
		return time.Duration(c.RefreshInterval)
	case *http.SDConfig:
		return time.Duration(c.RefreshInterval)
	case *dns.SDConfig:
		return time.Duration(c.RefreshInterval)
	case *consul.SDConfig:
		return time.Duration(c.RefreshInterval)
	case *eureka.SDConfig:
		return time.Duration(c.RefreshInterval)
	case *nomad.SDConfig:
		return time.Duration(c.RefreshInterval)
	case *puppetdb.SDConfig:
		return time.Duration(c.RefreshInterval)
	case *xds.KumaSDConfig:
		return time.Duration(c.RefreshInterval)
	case *kubernetes.SDConfig:
		return time.Minute
	default:
		return 0
	}
}
