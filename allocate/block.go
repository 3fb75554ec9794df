package allocate

import (
	"encoding/json"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/labels"
)

// Entry is a target before it is packed.
type Entry struct {
	// ID is the target's identity: a hash of its job and its labels after relabelling, without those of service discovery.
	ID uint64
	// Key is what places it: a hash of what it is scraped at.
	Key   uint64
	Place Place
	// Class is the target's weight as a power of two: 1<<Class.
	Class uint8
	// Labels before relabelling, which is what is served.
	Labels labels.Labels
}

// Block is an immutable piece of a job's targets, sorted by identity.
//
// It is packed: arrays of numbers and one dictionary of strings, so that a target costs some 30 bytes, two to four for each label whose
// value is not the same for all, and each distinct value once; and so that the garbage collector has nothing to follow. Values are
// kept the way JSON writes them, because serving is what happens to them most.
//
// A block holds less than 4 GiB of distinct text.
type Block struct {
	ids, keys []uint64
	// sums are hashes of what is served for a target.
	sums []uint64
	// classes is nil when all are 0, places when all are in places 0.
	classes []uint8
	places  []uint16
	where   []Place

	// shapes of targets: which labels they have. shape is nil when there is one only.
	shapes []shape
	shape  []uint32
	// starts says where the row of a target begins; nil when all rows are as long as that of shape 0.
	starts []uint32
	// rows are the values that differ: indexes into values. One of both is nil.
	narrow []uint16
	wide   []uint32

	values, names, parts texts
	// raw are the values that JSON can't hold, by index, for those who ask for labels.
	raw []rawText
}

// shape is what targets with the same names of labels have in common.
type shape struct {
	columns []column
	// program renders a target: text, then a value of the row, and so on. The last one has no value.
	program []step
	width   uint32
}

// column is one label of a shape.
type column struct {
	name uint32
	// value is an index into values if fixed, and a position in the row if not.
	value uint32
	fixed bool
}

// step of rendering: a text, and which value of the row comes after it, or noValue.
type step struct{ part, slot uint32 }

const noValue = ^uint32(0)

// rawText is a string whose JSON form is not the whole truth: it has bytes that are no UTF-8.
type rawText struct {
	index uint32
	text  string
}

// texts is a list of strings in one piece of memory.
type texts struct {
	all  string
	ends []uint32
}

func (t *texts) at(i uint32) string {
	if i == 0 {
		return t.all[:t.ends[0]]
	}
	return t.all[t.ends[i-1]:t.ends[i]]
}

// NewBlock packs entries. Of those with the same ID the first one stays. The same entries give the same block in any order, but for that.
func NewBlock(entries []Entry) *Block {
	p := newPacker(len(entries), 4*len(entries))
	for _, e := range sortedEntries(entries) {
		p.add(e)
	}
	return p.pack()
}

// Edit returns the block without the targets of the IDs in drop and with those of add, which replace those that have the same ID.
// Where nothing changes it returns the block itself. It costs what the block is large.
func (b *Block) Edit(drop []uint64, add []Entry) *Block {
	add = sortedEntries(add)
	drop = slices.Clone(drop)
	slices.Sort(drop)
	if b.unchangedBy(drop, add) {
		return b
	}
	p := newPacker(b.Len()+len(add), 0)
	c := newCopier(p, b, add)
	for i, id := range b.ids {
		for len(add) > 0 && add[0].ID < id {
			p.add(add[0])
			add = add[1:]
		}
		if len(add) > 0 && add[0].ID == id {
			continue // comes with the next one
		}
		if _, gone := slices.BinarySearch(drop, id); !gone {
			c.copy(i)
		}
	}
	for _, e := range add {
		p.add(e)
	}
	return p.pack()
}

func (b *Block) unchangedBy(drop []uint64, add []Entry) bool {
	for _, e := range add {
		i, found := slices.BinarySearch(b.ids, e.ID)
		if !found || b.keys[i] != e.Key || b.Class(i) != e.Class || b.Place(i) != e.Place || !labels.Equal(b.Labels(i), e.Labels) {
			return false
		}
	}
	for _, id := range drop {
		_, found := slices.BinarySearch(b.ids, id)
		at := sort.Search(len(add), func(i int) bool { return add[i].ID >= id })
		if found && (at == len(add) || add[at].ID != id) {
			return false
		}
	}
	return true
}

// Len is the number of targets.
func (b *Block) Len() int { return len(b.ids) }

// IDs of the targets, ascending. Not to be changed.
func (b *Block) IDs() []uint64 { return b.ids }

// Keys of the targets, in the order of IDs. Not to be changed.
func (b *Block) Keys() []uint64 { return b.keys }

// Class of target i: its weight is 1<<Class.
func (b *Block) Class(i int) uint8 {
	if b.classes == nil {
		return 0
	}
	return b.classes[i]
}

// Place of target i.
func (b *Block) Place(i int) Place {
	if b.places == nil {
		return b.where[0]
	}
	return b.where[b.places[i]]
}

// Labels of target i before relabelling.
func (b *Block) Labels(i int) labels.Labels {
	s, row := b.shapeOf(i), b.start(i)
	builder := labels.NewScratchBuilder(len(s.columns))
	for _, c := range s.columns {
		builder.Add(b.names.at(c.name), b.value(b.index(c, row)))
	}
	return builder.Labels()
}

func (b *Block) shapeOf(i int) *shape {
	if b.shape == nil {
		return &b.shapes[0]
	}
	return &b.shapes[b.shape[i]]
}

func (b *Block) start(i int) uint32 {
	if b.starts == nil {
		return uint32(i) * b.shapes[0].width // below the length of a slice that is indexed by uint32
	}
	return b.starts[i]
}

// cell is the value at a position of all rows.
func (b *Block) cell(at uint32) uint32 {
	if b.narrow != nil {
		return uint32(b.narrow[at])
	}
	return b.wide[at]
}

// index of a column's value, for the row that begins at row.
func (b *Block) index(c column, row uint32) uint32 {
	if c.fixed {
		return c.value
	}
	return b.cell(row + c.value)
}

// value at index as it was given.
func (b *Block) value(index uint32) string {
	at := sort.Search(len(b.raw), func(i int) bool { return b.raw[i].index >= index })
	if at < len(b.raw) && b.raw[at].index == index {
		return b.raw[at].text
	}
	return unescape(b.values.at(index))
}

// unescape is the inverse of appendEscaped for valid UTF-8.
func unescape(s string) string {
	for i := range len(s) {
		if s[i] != '\\' {
			continue
		}
		var out string
		if err := json.Unmarshal([]byte(`"`+s+`"`), &out); err == nil {
			return out
		}
		break // not of our making
	}
	return s
}
