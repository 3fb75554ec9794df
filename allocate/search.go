package allocate

import (
	"context"
	"strings"
)

// query is what somebody looks for. Targets have to match all of it.
type query struct {
	// terms are words, in lower case, as JSON writes them. Each is a part of a label's value or of the job's name, or NAME=PART.
	terms []string
	// job and collector are names; any when empty.
	job, collector string
}

func newQuery(words, job, collector string) query {
	q := query{job: job, collector: collector}
	for word := range strings.FieldsSeq(words) {
		q.terms = append(q.terms, string(appendEscaped(nil, lower(word))))
	}
	return q
}

// hit is a target that was found.
type hit struct {
	view  *view
	block *Block
	i     int
	owner int32
}

// found is what a search has found: the first few, and how many there are. It is partial when there was no time for the rest.
type found struct {
	hits    []hit
	total   int
	partial bool
}

// search for targets, up to most of them, by job and then by identity within each block.
func (s *Snapshot) search(ctx context.Context, q query, most int) found {
	var out found
	member := Nobody
	if q.collector != "" {
		if member = s.member(q.collector); member == Nobody {
			return out
		}
	}
	for _, v := range s.views {
		if q.job != "" && v.job.Name != q.job {
			continue
		}
		terms := leftFor(q.terms, lower(v.job.Name))
		for _, b := range v.job.Blocks {
			if ctx.Err() != nil {
				out.partial = true
				return out
			}
			owners := s.Assignment.Owners(b)
			matches := b.matcher(terms)
			for i, owner := range owners {
				if member != Nobody && int(owner) != member || !matches(i) {
					continue
				}
				if out.total++; len(out.hits) < most {
					out.hits = append(out.hits, hit{v, b, i, owner})
				}
			}
		}
	}
	return out
}

// leftFor are the terms that the name of the job does not satisfy.
func leftFor(terms []string, job string) []string {
	var left []string
	for _, term := range terms {
		if !strings.Contains(string(appendEscaped(nil, job)), term) {
			left = append(left, term)
		}
	}
	return left
}

// matcher looks through the dictionary once, so that a target costs a few comparisons of numbers.
func (b *Block) matcher(terms []string) func(i int) bool {
	type wanted struct {
		name   string // of the label, or any
		values []bool // by index
	}
	all := make([]wanted, 0, len(terms))
	for _, term := range terms {
		w := wanted{values: make([]bool, len(b.values.ends))}
		part := term
		if name, value, ok := strings.Cut(term, "="); ok && b.hasName(name) {
			w.name, part = name, value
		}
		for k := range w.values {
			w.values[k] = containsFold(b.values.at(uint32(k)), part) // indexed by uint32
		}
		all = append(all, w)
	}
	return func(i int) bool {
		s, row := b.shapeOf(i), b.start(i)
		for _, w := range all {
			has := false
			for _, c := range s.columns {
				if w.values[b.index(c, row)] && (w.name == "" || w.name == lower(b.names.at(c.name))) {
					has = true
					break
				}
			}
			if !has {
				return false
			}
		}
		return true
	}
}

func (b *Block) hasName(name string) bool {
	for k := range b.names.ends {
		if lower(b.names.at(uint32(k))) == name { // indexed by uint32
			return true
		}
	}
	return false
}

// lower is strings.ToLower for ASCII alone, which leaves lengths as they are.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// containsFold tells whether s contains part, which is in lower case, whatever the case of ASCII letters in s.
func containsFold(s, part string) bool {
	if part == "" {
		return true
	}
	for from := 0; from+len(part) <= len(s); from++ {
		if folded(s[from]) == part[0] && equalFold(s[from+1:from+len(part)], part[1:]) {
			return true
		}
	}
	return false
}

func equalFold(s, part string) bool {
	for i := range len(part) {
		if folded(s[i]) != part[i] {
			return false
		}
	}
	return true
}

func folded(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
