package samples

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The labels of a counter that are read here.
const (
	// LabelTarget is a target's own name: POD:PORT, or probe/NAME.
	LabelTarget = "target"
	// LabelCollector is the collector that has exported the sample, which it adds itself.
	LabelCollector = "collector"
)

// View is what a sink has at a moment.
type View struct {
	// Now and Started are of the sink's clock: when it has answered, and since when it receives.
	Now, Started time.Time
	// Targets by their names.
	Targets map[string]Samples
}

// Sample is one scrape of a target that has reached the sink.
type Sample struct {
	At time.Time
	// By is the collector.
	By string
	// Count is how often the target had been scraped then, this time included, since its start.
	Count int
	// Labels of the series, which samples share.
	Labels map[string]string
}

// Samples of a target in the order of time.
type Samples []Sample

// Parse reads the answer of a sink at /series.
func Parse(data []byte) (*View, error) {
	var answer struct {
		Now     int64 `json:"now"`
		Started int64 `json:"started"`
		Series  []struct {
			Labels  map[string]string `json:"labels"`
			Samples [][2]float64      `json:"samples"`
		} `json:"series"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("sink: %w in %.200q", err, data)
	}
	out := &View{Now: time.UnixMilli(answer.Now), Started: time.UnixMilli(answer.Started), Targets: map[string]Samples{}}
	for _, series := range answer.Series {
		target, by := series.Labels[LabelTarget], series.Labels[LabelCollector]
		for _, sample := range series.Samples {
			out.Targets[target] = append(out.Targets[target], Sample{time.UnixMilli(int64(sample[0])), by, int(sample[1]), series.Labels})
		}
	}
	for _, all := range out.Targets {
		slices.SortStableFunc(all, func(a, b Sample) int { return a.At.Compare(b.At) })
	}
	return out, nil
}

// Names of the targets, sorted.
func (v *View) Names() []string { return slices.Sorted(maps.Keys(v.Targets)) }

// Silence is the longest time between two moments in which a collector has sent no sample of any target.
func (v *View) Silence(collector string, begin, end time.Time) time.Duration {
	var all Samples
	for _, samples := range v.Targets {
		for _, s := range samples {
			if s.By == collector {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b Sample) int { return a.At.Compare(b.At) })
	return all.Gap(begin, end)
}

// Between are the samples in [begin, end).
func (s Samples) Between(begin, end time.Time) Samples {
	at := func(sample Sample, at time.Time) int { return sample.At.Compare(at) }
	i, _ := slices.BinarySearchFunc(s, begin, at)
	j, _ := slices.BinarySearchFunc(s, end, at)
	return s[i:max(i, j)]
}

// Collectors that have sent these samples, sorted.
func (s Samples) Collectors() []string {
	var out []string
	for _, sample := range s {
		out = append(out, sample.By)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Owner is the one collector that all samples are from, which have the same labels; an error says why there is none. One sample does not
// make an owner.
func (s Samples) Owner() (string, error) {
	if len(s) < 2 {
		return "", fmt.Errorf("%d samples", len(s))
	}
	if by := s.Collectors(); len(by) > 1 {
		return "", fmt.Errorf("samples of several: %v", by)
	}
	for _, sample := range s {
		if !maps.Equal(sample.Labels, s[0].Labels) {
			return "", fmt.Errorf("samples with several sets of labels: %v, %v", s[0].Labels, sample.Labels)
		}
	}
	return s[0].By, nil
}

// Gap is the longest time without a sample between two moments, counted from the last one before.
func (s Samples) Gap(begin, end time.Time) time.Duration {
	longest := time.Duration(0)
	s.intervals(begin, end, func(d time.Duration) { longest = max(longest, d) })
	return longest
}

// Missing is how many samples there would have been between two moments beside those there are, had the target been scraped at each
// interval, by one. That they come a bit late is none.
func (s Samples) Missing(interval time.Duration, begin, end time.Time) int {
	n := 0
	s.intervals(begin, end, func(d time.Duration) { n += max(0, int((d+interval/2)/interval)-1) })
	return n
}

// intervals calls each for the times between two samples that end between two moments, and for what has gone by since the last.
func (s Samples) intervals(begin, end time.Time, each func(time.Duration)) {
	last := begin
	for _, sample := range s {
		if !sample.At.Before(end) {
			break
		}
		if !sample.At.Before(begin) {
			each(sample.At.Sub(last))
		}
		last = sample.At
	}
	each(end.Sub(last))
}

// Dropped is how many scrapes there were between the first of the samples and the last that have not reached the sink. A target that has
// started anew begins to count anew.
func (s Samples) Dropped() int {
	const disorder = 5 // of several collectors' clocks; a count that falls further back is a new one
	n, last, run := 0, 0, map[int]bool{}
	end := func() {
		if len(run) > 0 {
			counts := slices.Collect(maps.Keys(run))
			n += slices.Max(counts) - slices.Min(counts) + 1 - len(run)
		}
		clear(run)
	}
	for _, sample := range s {
		if sample.Count+disorder < last {
			end()
		}
		last = sample.Count
		run[last] = true
	}
	end()
	return n
}

// span is a time in which a collector has been scraping.
type span struct{ from, to time.Time }

// spans are those of each collector. Samples that are not further apart than most belong to the same.
func (s Samples) spans(most time.Duration) map[string][]span {
	out := map[string][]span{}
	for _, sample := range s {
		known := out[sample.By]
		if n := len(known); n > 0 && sample.At.Sub(known[n-1].to) <= most {
			known[n-1].to = sample.At
			continue
		}
		out[sample.By] = append(known, span{sample.At, sample.At})
	}
	return out
}

// Overlap is the longest time for which two collectors have both been scraping the target at an interval.
func (s Samples) Overlap(interval time.Duration) time.Duration {
	spans := s.spans(2*interval + interval/2)
	longest := time.Duration(0)
	for a := range spans {
		for b := range spans {
			if a >= b {
				continue
			}
			for _, one := range spans[a] {
				for _, other := range spans[b] {
					from, to := Later(one.from, other.from), one.to
					if other.to.Before(to) {
						to = other.to
					}
					longest = max(longest, to.Sub(from))
				}
			}
		}
	}
	return longest
}

// Later of two moments.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
