package allocate

import (
	"cmp"
	"slices"

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
type Block struct {
	ids, keys []uint64
	entries   []Entry
}

// NewBlock packs entries. Of those with the same ID the first one stays.
func NewBlock(entries []Entry) *Block {
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.ID, b.ID) })
	entries = slices.CompactFunc(entries, func(a, b Entry) bool { return a.ID == b.ID })
	b := &Block{entries: entries}
	for _, e := range entries {
		b.ids, b.keys = append(b.ids, e.ID), append(b.keys, e.Key)
	}
	return b
}

// Len is the number of targets.
func (b *Block) Len() int { return len(b.ids) }

// IDs of the targets, ascending. Not to be changed.
func (b *Block) IDs() []uint64 { return b.ids }

// Keys of the targets, in the order of IDs. Not to be changed.
func (b *Block) Keys() []uint64 { return b.keys }

// Class of target i: its weight is 1<<Class.
func (b *Block) Class(i int) uint8 { return b.entries[i].Class }

// Place of target i.
func (b *Block) Place(i int) Place { return b.entries[i].Place }
