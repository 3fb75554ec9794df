package discover

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// packed is a target group as bytes: a tenth of what it is as maps. It is immutable.
//
//	source, n, n × (name, value), targets, targets × (n, n × (name, value))
//
// Numbers are uvarints, labels are sorted by name. A text is its length times two and its bytes, or twice its number in dict plus one.
type packed struct {
	data string
	dict *dictionary
	// sum is a hash of the content, the same for the same group in this process.
	sum uint64
}

// pair is one label.
type pair struct{ name, value string }

// packer turns groups into bytes, with texts that many groups share in a dictionary. It is for one goroutine at a time.
type packer struct {
	dict  *dictionary
	seed  maphash.Seed
	group uint32
	buf   []byte
	pairs []pair
}

func newPacker(d *dictionary, seed maphash.Seed) *packer { return &packer{dict: d, seed: seed} }

// sum hashes what a group has; it does not depend on the order of labels.
func (p *packer) sum(g *targetgroup.Group) uint64 {
	h := mix(maphash.String(p.seed, g.Source) + labelSum(p.seed, g.Labels))
	for _, t := range g.Targets {
		h = mix(h + labelSum(p.seed, t))
	}
	return h
}

func labelSum(seed maphash.Seed, ls model.LabelSet) uint64 {
	var sum uint64
	for n, v := range ls {
		sum += pairSum(seed, string(n), string(v))
	}
	return sum
}

func pairSum(seed maphash.Seed, name, value string) uint64 {
	return mix(maphash.String(seed, name) ^ maphash.String(seed, value)*0x9E3779B97F4A7C15)
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func (p *packer) pack(g *targetgroup.Group, sum uint64) *packed {
	p.dict = p.dict.current()
	p.dict.mu.Lock()
	defer p.dict.mu.Unlock()
	// Texts get a number when two groups have them: what all targets of one group have alone is written where it is.
	p.group = uint32(maphash.String(p.seed, g.Source)) | 1
	p.buf = p.buf[:0]
	p.text(g.Source, false)
	p.labels(g.Labels)
	p.buf = binary.AppendUvarint(p.buf, uint64(len(g.Targets)))
	for _, t := range g.Targets {
		p.labels(t)
	}
	return &packed{data: string(p.buf), dict: p.dict, sum: sum}
}

func (p *packer) labels(ls model.LabelSet) {
	p.pairs = p.pairs[:0]
	for n, v := range ls {
		p.pairs = append(p.pairs, pair{string(n), string(v)})
	}
	slices.SortFunc(p.pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	p.buf = binary.AppendUvarint(p.buf, uint64(len(p.pairs)))
	for _, l := range p.pairs {
		p.text(l.name, true)
		p.text(l.value, false)
	}
}

func (p *packer) text(s string, always bool) {
	if id, ok := p.dict.number(s, p.group, always); ok {
		p.buf = binary.AppendUvarint(p.buf, uint64(id)<<1|1)
		return
	}
	p.buf = binary.AppendUvarint(p.buf, uint64(len(s))<<1)
	p.buf = append(p.buf, s...)
}

// reader reads a packed group. Texts are views of its bytes.
type reader struct {
	data  string
	at    int
	texts []string
}

func (g *packed) reader() reader { return reader{data: g.data, texts: g.dict.all()} }

// source is the group's.
func (g *packed) source() string {
	r := g.reader()
	return r.text()
}

func (r *reader) number() int {
	var n uint64
	for shift := 0; ; shift += 7 {
		b := r.data[r.at]
		r.at++
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int(n)
		}
	}
}

func (r *reader) text() string {
	n := r.number()
	if n&1 == 1 {
		return r.texts[n>>1]
	}
	from := r.at
	r.at += n >> 1
	return r.data[from:r.at]
}

// labels appends a list of labels to pairs.
func (r *reader) labels(pairs []pair) []pair {
	for range r.number() {
		name := r.text()
		pairs = append(pairs, pair{name, r.text()})
	}
	return pairs
}

// dictionary numbers texts. It only grows, up to a bound; then a new one begins, and this one goes with the last group that needs it.
type dictionary struct {
	mu    sync.RWMutex
	ids   map[string]uint32
	texts []string
	// seen has a mark for texts that one group has had: which text, and which group.
	seen []mark
	seed maphash.Seed
	next *dictionary
}

type mark struct{ text, group uint32 }

const (
	maxTexts      = 1 << 16
	maxTextLength = 256
)

func newDictionary(seed maphash.Seed) *dictionary {
	return &dictionary{ids: map[string]uint32{}, seen: make([]mark, 1<<14), seed: seed}
}

// current is the dictionary that takes new texts.
func (d *dictionary) current() *dictionary {
	for {
		d.mu.Lock()
		if len(d.texts) < maxTexts && d.next == nil {
			d.mu.Unlock()
			return d
		}
		if d.next == nil {
			d.next = newDictionary(d.seed)
			d.seen = nil
			d.ids = nil
		}
		next := d.next
		d.mu.Unlock()
		d = next
	}
}

// number of a text, which gets one when a second group has it, or always. It is called with the lock held.
func (d *dictionary) number(s string, group uint32, always bool) (uint32, bool) {
	if len(s) == 0 || len(s) > maxTextLength {
		return 0, false
	}
	if id, ok := d.ids[s]; ok {
		return id, true
	}
	if d.ids == nil || len(d.texts) >= maxTexts {
		return 0, false
	}
	if !always {
		h := maphash.String(d.seed, s)
		m := &d.seen[h%uint64(len(d.seen))]
		text := uint32(h >> 32)
		if m.text != text || m.group == group {
			*m = mark{text, group}
			return 0, false
		}
	}
	id := uint32(len(d.texts))
	s = string(append([]byte(nil), s...))
	d.texts = append(d.texts, s)
	d.ids[s] = id
	return id, true
}

// all texts so far: those that a group refers to were there before it was packed.
func (d *dictionary) all() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.texts
}
