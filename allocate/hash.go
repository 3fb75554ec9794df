package allocate

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
)

// Algorithm names the rules by which targets are placed, hash functions included. Two processes that say the same here give the same
// answers; it changes whenever an owner could.
const Algorithm = "hfr/1"

// Key is what places a target: a hash of what is scraped. It is stable under changes of labels, so that these move nothing, and tells
// the paths of one address apart. Path and scheme are those after relabelling, and params those of the request, sorted by name; of a
// parameter with several values the first one, as Prometheus has it in its label __param_NAME.
func Key(job, scheme, address, path string, params []labels.Label) uint64 {
	var d xxhash.Digest
	d.Reset()
	writeString(&d, job)
	writeString(&d, scheme)
	writeString(&d, address)
	writeString(&d, path)
	for _, p := range params {
		writeString(&d, p.Name)
		writeString(&d, p.Value)
	}
	return d.Sum64()
}

// Identity says which target of a job this is: a hash of the job and of the labels after relabelling, those that start with __meta_
// left out. Targets of the same identity would write the same series, and Prometheus scrapes such but once.
func Identity(job string, ls labels.Labels) uint64 {
	var d xxhash.Digest
	d.Reset()
	writeString(&d, job)
	ls.Range(func(l labels.Label) {
		if len(l.Name) >= len(metaPrefix) && l.Name[:len(metaPrefix)] == metaPrefix {
			return
		}
		writeString(&d, l.Name)
		writeString(&d, l.Value)
	})
	return d.Sum64()
}

const metaPrefix = "__meta_"

// writeString is prefixed with the length, so that no two lists of strings are the same bytes.
func writeString(d *xxhash.Digest, s string) {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(s)))
	_, _ = d.Write(n[:])
	_, _ = d.WriteString(s)
}

// seedOf is a member's part of every score.
func seedOf(s string) uint64 {
	// The finalizer of splitmix64: seeds of names alike differ in every bit.
	x := xxhash.Sum64String(s) + 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// score says how much a target is drawn to a member; the highest one wins.
func score(key, seed uint64) uint64 {
	x := (key ^ seed) * 0x9E3779B97F4A7C15
	x ^= x >> 32
	return x * 0xD6E8FEB86659FD93
}

// logBits is the number of bits behind the point in logTable.
const logBits = 48

// logTable holds log2(1+i/256). Weighted rendezvous needs logarithms, and those of package math may differ in the last bit between
// processors, which would make two replicas disagree; these are integers.
type logTable [257]uint64

func newLogTable() *logTable {
	var t logTable
	for i := range 256 {
		y := uint64(256+i) << 55 // 1<<63 stands for 1
		for bit := logBits - 1; bit >= 0; bit-- {
			hi, lo := bits.Mul64(y, y)
			if hi>>63 == 1 {
				t[i] |= 1 << bit
				y = hi
			} else {
				y = hi<<1 | lo>>63
			}
		}
	}
	t[256] = 1 << logBits
	return &t
}

// cost is -log2(score/2^64)/capacity: the lowest one wins, with a probability in proportion to capacity.
func (t *logTable) cost(score, capacity uint64) uint64 {
	score |= 1
	zeros := bits.LeadingZeros64(score)
	m := score << zeros
	i := m >> 55 & 0xff
	hi, lo := bits.Mul64(t[i+1]-t[i], m&(1<<55-1))
	log := t[i] + (hi<<9 | lo>>55)
	return (uint64(zeros+1)<<logBits - log) << 8 / capacity
}

// mulDivUp is ⌈a·b/c⌉, which has to fit.
func mulDivUp(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, c-1, 0)
	q, _ := bits.Div64(hi+carry, lo, c)
	return q
}
