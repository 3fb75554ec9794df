package samples_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/samples"
)

const second = time.Second

func at(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)) }

// read makes samples of a text: "a1 a2 b3.5" are two of collector a and one of b, at these seconds. They count from 1 on, or as "a1:7"
// says.
func read(t *testing.T, text string) samples.Samples {
	t.Helper()
	var out samples.Samples
	for i, word := range strings.Fields(text) {
		var seconds float64
		count := i + 1
		if _, err := fmt.Sscanf(strings.ReplaceAll(word[1:], ":", " "), "%f %d", &seconds, &count); err != nil && !strings.Contains(err.Error(), "EOF") {
			t.Fatal(err)
		}
		out = append(out, samples.Sample{At: at(seconds), By: word[:1], Count: count})
	}
	return out
}

func TestGapAndMissing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		samples    string
		begin, end float64
		gap        time.Duration
		missing    int
	}{
		{"a1 a2 a3 a4", 1, 5, second, 0},
		{"a1 a2 a5.4 a6", 1, 6.5, 3400 * time.Millisecond, 2}, // those of 3 and 4
		{"a1 b2 a3", 1, 10, 7 * second, 6},                    // up to the end
		{"a1 a6 a7", 4, 8, 5 * second, 4},                     // it had begun before
		{"a1 a9", 2, 3, 2 * second, 1},                        // it goes on
		{"", 2, 4, 2 * second, 1},
		{"a1.4 a1.8 a3.2", 1, 4, 1400 * time.Millisecond, 0}, // late is not lost
	} {
		s := read(t, c.samples)
		if got := s.Gap(at(c.begin), at(c.end)); got != c.gap {
			t.Errorf("%q from %v to %v: gap %s, want %s", c.samples, c.begin, c.end, got, c.gap)
		}
		if got := s.Missing(second, at(c.begin), at(c.end)); got != c.missing {
			t.Errorf("%q from %v to %v: %d missing, want %d", c.samples, c.begin, c.end, got, c.missing)
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"a1 a2 a3 b4 b5 b6":                      0,
		"a1 a2 b2.5 a3 b3.5 a4 b4.5 b5.5":        1500 * time.Millisecond,
		"a1 a2 b3 b4 b5 b6 b7 a8 a9":             0, // moved and moved back
		"a1 b1.5 c1.7 a2 b2.5 c2.7 a3 c3.7":      1300 * time.Millisecond,
		"a1 a2 b2.2 b3.2 a9 b10 a10.5 b11 a11.5": second,
		"":                                       0,
	} {
		if got := read(t, text).Overlap(second); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestDropped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"a1 a2 a3":                             0,
		"a1:4 a2:5 a5:8":                       2,
		"a1:1 b2:3 a3:2 b4:4":                  0, // clocks that differ
		"a1:20 a2:21 a4:1 a5:2 a6:4":           1, // a new start
		"a1:20 a2:23 a4:1 a5:2 a6:4 a7:4 a8:5": 3,
		"":                                     0,
	} {
		if got := read(t, text).Dropped(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestBetweenAndCollectors(t *testing.T) {
	t.Parallel()
	s := read(t, "b1 a2 a3 c4")
	if got := s.Between(at(1.5), at(4)).Collectors(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v", got)
	}
	if got := s.Collectors(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%v", got)
	}
	if got := s.Between(at(9), at(1)); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()
	if by, err := read(t, "a1 a2").Owner(); err != nil || by != "a" {
		t.Errorf("%q %v", by, err)
	}
	changed := read(t, "a1 a2 a3")
	changed[1].Labels = map[string]string{"job": "other"}
	for want, s := range map[string]samples.Samples{"0 samples": nil, "1 samples": read(t, "a1"), "several: [a b]": read(t, "a1 b2 a3"), "job:other": changed} {
		if by, err := s.Owner(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q %v, want %s", by, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	v, err := samples.Parse([]byte(`{"now": 9000, "started": 500, "series": [
		{"labels": {"target": "x:1", "collector": "a", "job": "j"}, "samples": [[1000, 1], [3000, 3]]},
		{"labels": {"target": "x:1", "collector": "b", "job": "j"}, "samples": [[2000, 2]]},
		{"labels": {"target": "y:1", "collector": "b", "job": "j"}, "samples": [[6500, 1]]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if !v.Now.Equal(at(9)) || !v.Started.Equal(at(0.5)) || !slices.Equal(v.Names(), []string{"x:1", "y:1"}) {
		t.Errorf("%+v", v)
	}
	x := v.Targets["x:1"]
	if len(x) != 3 || x[1].By != "b" || x[1].Count != 2 || !x[1].At.Equal(at(2)) || x[1].Labels["job"] != "j" {
		t.Errorf("%+v", x)
	}
	if got := v.Silence("b", at(1), at(9)); got != 4500*time.Millisecond {
		t.Errorf("silence of b: %s", got)
	}
	if got := v.Silence("c", at(1), at(9)); got != 8*second {
		t.Errorf("silence of c: %s", got)
	}
	if _, err := samples.Parse([]byte("Bad Gateway")); err == nil || !strings.Contains(err.Error(), "Bad Gateway") {
		t.Errorf("%v", err)
	}
}
