package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// sink receives remote write and keeps the samples of one metric.
type sink struct {
	metric  string
	now     func() time.Time
	started time.Time

	mu       sync.Mutex
	requests int
	series   map[string]*kept // by all labels
}

// kept is a series that the sink has.
type kept struct {
	labels  map[string]string
	samples map[int64]float64 // by time: a request that is sent again adds nothing
	stale   []int64           // when it was said to have ended
}

// answer is what the sink says at /series.
type answer struct {
	// Now and Started are in milliseconds since the epoch: that of the answer and that of the sink's start, before which it knows nothing.
	Now     int64 `json:"now"`
	Started int64 `json:"started"`
	// Requests is how many were received.
	Requests int `json:"requests"`
	// Series in the order of their labels.
	Series []told `json:"series"`
}

type told struct {
	Labels map[string]string `json:"labels"`
	// Samples are pairs of a time, in milliseconds since the epoch, and a value; in the order of time.
	Samples [][2]float64 `json:"samples"`
	// Stale are the times at which the series ended.
	Stale []int64 `json:"stale,omitempty"`
}

func newSink(metric string, now func() time.Time) *sink {
	return &sink{metric: metric, now: now, started: now(), series: map[string]*kept{}}
}

func runSink(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sink", flag.ContinueOnError)
	address := flags.String("listen", ":9201", "address to listen on")
	metric := flags.String("metric", counter, "the metric whose series are kept; all when empty")
	if err := parse(flags, args); err != nil {
		return err
	}
	listeners, err := listen(*address)
	if err != nil {
		return err
	}
	say(out, "receiving at %s\n", listeners[0].Addr())
	return serve(ctx, newSink(*metric, time.Now).handler(), nil, listeners...)
}

func (s *sink) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/write", s.receive)
	mux.HandleFunc("GET /series", s.tell)
	return mux
}

func (s *sink) receive(w http.ResponseWriter, r *http.Request) {
	all, err := readWrite(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	for _, one := range all {
		if s.metric == "" || one.labels["__name__"] == s.metric {
			s.keep(one)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *sink) keep(one series) {
	key := fmt.Sprint(one.labels) // maps are printed in the order of their keys
	known := s.series[key]
	if known == nil {
		known = &kept{labels: one.labels, samples: map[int64]float64{}}
		s.series[key] = known
	}
	for _, sample := range one.samples {
		switch {
		case sample.stale():
			known.stale = append(known.stale, sample.at)
		case !math.IsNaN(sample.value): // which JSON has no word for
			known.samples[sample.at] = sample.value
		}
	}
}

// tell answers with all samples, or those from a time on: ?since=MILLISECONDS.
func (s *sink) tell(w http.ResponseWriter, r *http.Request) {
	var since int64
	if text := r.FormValue("since"); text != "" {
		var err error
		if since, err = strconv.ParseInt(text, 10, 64); err != nil {
			http.Error(w, "since: want milliseconds since the epoch", http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.since(since)) // who has asked is gone when that fails
}

func (s *sink) since(since int64) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := answer{Now: s.now().UnixMilli(), Started: s.started.UnixMilli(), Requests: s.requests, Series: []told{}}
	for _, key := range slices.Sorted(maps.Keys(s.series)) {
		known := s.series[key]
		one := told{Labels: known.labels, Stale: slices.Clone(known.stale)}
		for at, value := range known.samples {
			if at >= since {
				one.Samples = append(one.Samples, [2]float64{float64(at), value})
			}
		}
		slices.SortFunc(one.Samples, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
		if len(one.Samples) > 0 {
			out.Series = append(out.Series, one)
		}
	}
	return out
}
