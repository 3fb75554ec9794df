package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// findings are what is wrong with a file.
type findings struct {
	problems []error
	warnings []string
}

func (f *findings) problem(path, format string, args ...any) {
	f.problems = append(f.problems, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

func (f *findings) err() error { return errors.Join(f.problems...) }

// section is a mapping of the file. What is read of it is taken out, so that what is left is not known.
type section struct {
	*findings
	path   string
	fields map[string]any
}

func (s *section) at(name string) string {
	if s.path == "" {
		return name
	}
	return s.path + "." + name
}

// take is the value of a field; false when it is absent or null.
func (s *section) take(name string) (any, bool) {
	v := s.fields[name]
	delete(s.fields, name)
	return v, v != nil
}

// section is the mapping in a field. Absent, it is an empty one.
func (s *section) section(name string) *section {
	sub := &section{findings: s.findings, path: s.at(name), fields: map[string]any{}}
	v, ok := s.take(name)
	if m, isMap := v.(map[string]any); isMap {
		sub.fields = m
	} else if ok {
		s.problem(sub.path, "got %s, want a mapping", kindOf(v))
	}
	return sub
}

// rest warns of what nobody has taken.
func (s *section) rest() {
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		s.warnings = append(s.warnings, s.at(name)+": not a known field, ignored")
	}
}

func (s *section) text(name, byDefault string) string {
	v, ok := s.take(name)
	if !ok {
		return byDefault
	}
	text, isText := v.(string)
	if !isText {
		s.problem(s.at(name), "got %s, want a text", kindOf(v))
		return byDefault
	}
	return text
}

// choice is a text that is one of some.
func (s *section) choice(name, byDefault string, among ...string) string {
	got := s.text(name, byDefault)
	if !slices.Contains(among, got) {
		quoted := make([]string, len(among))
		for i, a := range among {
			quoted[i] = fmt.Sprintf("%q", a)
		}
		s.problem(s.at(name), "got %q, want one of %s", got, strings.Join(quoted, ", "))
	}
	return got
}

func (s *section) boolean(name string) bool {
	v, ok := s.take(name)
	b, isBool := v.(bool)
	if ok && !isBool {
		s.problem(s.at(name), "got %s, want true or false", kindOf(v))
	}
	return b
}

// duration reads both the form of Prometheus (1d) and that of Go (1.5s).
func (s *section) duration(name string, byDefault, least time.Duration) time.Duration {
	v, ok := s.take(name)
	if !ok {
		return byDefault
	}
	text := fmt.Sprint(v)
	d, err := time.ParseDuration(text)
	if prom, promErr := model.ParseDuration(text); err != nil && promErr == nil {
		d, err = time.Duration(prom), nil
	}
	if err != nil || d < least {
		s.problem(s.at(name), "got %q, want a duration of at least %v, such as 30s", text, least)
		return byDefault
	}
	return d
}

func (s *section) number(name string, most float64) float64 {
	v, ok := s.take(name)
	if !ok {
		return 0
	}
	var f float64
	switch n := v.(type) {
	case int:
		f = float64(n)
	case float64:
		f = n
	default:
		s.problem(s.at(name), "got %s, want a number", kindOf(v))
		return 0
	}
	if !(f >= 0 && f <= most) {
		s.problem(s.at(name), "got %v, want a number from 0 to %v", v, most)
		return 0
	}
	return f
}

func (s *section) whole(name string) int {
	f := s.number(name, math.MaxInt32)
	if f != math.Trunc(f) {
		s.problem(s.at(name), "got %v, want a whole number", f)
	}
	return int(f)
}

func (s *section) texts(name string, byDefault []string) []string {
	v, ok := s.take(name)
	if !ok {
		return byDefault
	}
	list, isList := v.([]any)
	out := make([]string, 0, len(list))
	for _, item := range list {
		text, isText := item.(string)
		isList = isList && isText
		out = append(out, text)
	}
	if !isList {
		s.problem(s.at(name), "got %s, want a list of texts", kindOf(v))
		return byDefault
	}
	return out
}

// selector reads a label selector with its fields in any case: the original writes matchlabels, and people write matchLabels.
func (s *section) selector(name string) *metav1.LabelSelector {
	if v, there := s.fields[name]; !there || v == nil {
		delete(s.fields, name)
		return nil
	}
	sub := s.section(name)
	fields := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(sub.fields)) {
		for _, known := range []string{"matchLabels", "matchExpressions"} {
			if strings.EqualFold(key, known) {
				fields[known], _ = sub.take(key)
			}
		}
	}
	sub.rest()
	out := &metav1.LabelSelector{}
	if err := convert(fields, out); err != nil {
		s.problem(sub.path, "%v; want matchLabels and matchExpressions as in any label selector", err)
		return nil
	}
	if _, err := metav1.LabelSelectorAsSelector(out); err != nil {
		s.problem(sub.path, "%v", err)
		return nil
	}
	return out
}

// convert makes a typed value of a tree.
func convert(tree, into any) error {
	data, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// kindOf says what a value is. It does not say the value, which may be a secret.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case bool:
		return "a boolean"
	case int, int64, uint64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any, map[any]any:
		return "a mapping"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
