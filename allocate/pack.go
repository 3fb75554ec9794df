package allocate

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
)

// foldFrom is how many targets must share a shape for values that they all have to move into it: below that, the text that this makes costs
// more than the numbers that it saves.
const foldFrom = 16

// sortedEntries returns the entries by ID, the first of each.
func sortedEntries(entries []Entry) []Entry {
	type place struct {
		id uint64
		at int
	}
	order := make([]place, len(entries))
	for i, e := range entries {
		order[i] = place{e.ID, i}
	}
	slices.SortFunc(order, func(a, b place) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.at, b.at)) })
	out := make([]Entry, 0, len(entries))
	for _, p := range order {
		if n := len(out); n == 0 || out[n-1].ID != p.id {
			out = append(out, entries[p.at])
		}
	}
	return out
}

// packer makes a Block of targets that come by ascending ID.
type packer struct {
	block *Block

	places         map[Place]uint16
	names, values  interner
	shapes         map[string]uint32 // by the indexes of the names, four bytes each
	columns        [][]uint32        // of each shape: indexes of its names
	shape          []uint32          // of each target
	rows           []uint32          // all values of all targets
	place          []uint16
	classes        []uint8
	someClass      bool
	sums           []uint64 // 0 where it is yet to be made
	scratch, label []byte
}

// interner numbers strings in the order in which they first come.
type interner struct {
	index map[string]uint32
	all   []byte
	ends  []uint32
	raw   []rawText
}

// unnumbered is the number of a string that will come.
const unnumbered = ^uint32(0)

func newInterner(room int) interner { return interner{index: make(map[string]uint32, room)} }

// put numbers s. What the texts hold is its JSON form if escape is set.
func (n *interner) put(s string, escape bool) uint32 {
	if i, ok := n.index[s]; ok && i != unnumbered {
		return i
	}
	i := uint32(len(n.ends)) // a block holds less than 4 Gi strings
	n.index[s] = i
	if !escape {
		n.all = append(n.all, s...)
	} else {
		n.all = appendEscaped(n.all, s)
		if !utf8.ValidString(s) {
			n.raw = append(n.raw, rawText{i, strings.Clone(s)})
		}
	}
	n.ends = append(n.ends, uint32(len(n.all))) // a block holds less than 4 GiB of text
	return i
}

// is tells whether the text of number i is s.
func (n *interner) is(i uint32, s string) bool {
	from := uint32(0)
	if i > 0 {
		from = n.ends[i-1]
	}
	return string(n.all[from:n.ends[i]]) == s
}

func (n *interner) texts() texts { return texts{string(n.all), exact(n.ends)} }

// exact is a copy without spare room.
func exact[T any](s []T) []T { return append(make([]T, 0, len(s)), s...) }

// newPacker returns one with room for n targets with so many values that others do not have.
func newPacker(n, values int) *packer {
	return &packer{
		block:  &Block{ids: make([]uint64, 0, n), keys: make([]uint64, 0, n)},
		places: map[Place]uint16{}, names: newInterner(0), values: newInterner(values), shapes: map[string]uint32{},
		shape: make([]uint32, 0, n), place: make([]uint16, 0, n), classes: make([]uint8, 0, n),
	}
}

func (p *packer) add(e Entry) {
	p.head(e.ID, e.Key, e.Class, e.Place)
	p.sums = append(p.sums, 0)
	// Most names and values are those of the target before: to compare them is cheaper than to look them up.
	var before []uint32
	if n := len(p.shape); n > 0 {
		before = p.columns[p.shape[n-1]]
	}
	at := len(p.rows) - len(before)
	p.scratch = p.scratch[:0]
	k := 0
	e.Labels.Range(func(l labels.Label) {
		var name, value uint32
		switch known := k < len(before) && p.names.is(before[k], l.Name); {
		case !known:
			name, value = p.names.put(l.Name, false), p.values.put(l.Value, true)
		case p.values.is(p.rows[at+k], l.Value) && !strings.Contains(l.Value, `\`): // what needs no escaping is itself
			name, value = before[k], p.rows[at+k]
		default:
			name, value = before[k], p.values.put(l.Value, true)
		}
		k++
		p.scratch = appendIndex(p.scratch, name)
		p.rows = append(p.rows, value)
	})
	p.shape = append(p.shape, p.shapeIndex(p.scratch))
}

func appendIndex(dst []byte, i uint32) []byte {
	return append(dst, byte(i), byte(i>>8), byte(i>>16), byte(i>>24))
}

// shapeIndex numbers a shape by its key.
func (p *packer) shapeIndex(key []byte) uint32 {
	if i, ok := p.shapes[string(key)]; ok {
		return i
	}
	i := uint32(len(p.columns)) // at most one for each target
	p.shapes[string(key)] = i
	names := make([]uint32, 0, len(key)/4)
	for k := 0; k < len(key); k += 4 {
		names = append(names, uint32(key[k])|uint32(key[k+1])<<8|uint32(key[k+2])<<16|uint32(key[k+3])<<24)
	}
	p.columns = append(p.columns, names)
	return i
}

// head adds all of a target but its labels.
func (p *packer) head(id, key uint64, class uint8, place Place) {
	p.block.ids, p.block.keys = append(p.block.ids, id), append(p.block.keys, key)
	p.classes = append(p.classes, class)
	p.someClass = p.someClass || class != 0
	var at uint16
	ok := false
	if n := len(p.place); n > 0 && p.block.where[p.place[n-1]] == place {
		at, ok = p.place[n-1], true
	} else {
		at, ok = p.places[place]
	}
	switch {
	case ok:
	case len(p.block.where) > math.MaxUint16:
		// More places than nodes that a cluster can have: a wrong one costs a longer way, and nothing else.
		at = math.MaxUint16
	default:
		at = uint16(len(p.block.where)) // checked above
		place = Place{strings.Clone(place.Node), strings.Clone(place.Zone)}
		p.places[place] = at
		p.block.where = append(p.block.where, place)
	}
	p.place = append(p.place, at)
}

// copier adds targets of another block to a packer. It numbers each of their names and values once. What it numbers can be found again only
// where wanted says so, which is less work than to have an index of everything.
type copier struct {
	*packer
	from        *Block
	name, value []uint32 // numbers in packer plus one, by those in from; 0 while unknown
	known       []uint32 // the same for shapes
}

// newCopier returns one that knows which values will be added besides.
func newCopier(p *packer, from *Block, add []Entry) *copier {
	for _, e := range add {
		e.Labels.Range(func(l labels.Label) { p.values.index[l.Value] = unnumbered })
	}
	p.values.all = make([]byte, 0, len(from.values.all)+len(from.values.all)/16)
	p.values.ends = make([]uint32, 0, len(from.values.ends)+len(from.values.ends)/16)
	if from.Len() > 0 {
		p.rows = make([]uint32, 0, (from.Len()+len(add))*len(from.shapeOf(0).columns))
	}
	return &copier{
		packer: p, from: from,
		name: make([]uint32, len(from.names.ends)), value: make([]uint32, len(from.values.ends)), known: make([]uint32, len(from.shapes)),
	}
}

func (c *copier) copy(i int) {
	b := c.from
	c.head(b.ids[i], b.keys[i], b.Class(i), b.Place(i))
	c.sums = append(c.sums, b.sums[i])
	number := uint32(0)
	if b.shape != nil {
		number = b.shape[i]
	}
	s, row := &b.shapes[number], b.start(i)
	for _, column := range s.columns {
		// In the order in which add would number names and values: the result is the same as that of packing anew.
		if c.name[column.name] == 0 {
			c.name[column.name] = 1 + c.names.put(b.names.at(column.name), false)
		}
		from := b.index(column, row)
		if c.value[from] == 0 {
			c.value[from] = 1 + c.values.take(b, from)
		}
		c.rows = append(c.rows, c.value[from]-1)
	}
	if c.known[number] == 0 {
		c.scratch = c.scratch[:0]
		for _, column := range s.columns {
			c.scratch = appendIndex(c.scratch, c.name[column.name]-1)
		}
		c.known[number] = 1 + c.shapeIndex(c.scratch)
	}
	c.shape = append(c.shape, c.known[number]-1)
}

// take numbers a value of another block that was not taken before.
func (n *interner) take(from *Block, value uint32) uint32 {
	raw := from.value(value)
	i, wanted := n.index[raw]
	if wanted && i != unnumbered {
		return i
	}
	i = uint32(len(n.ends)) // a block holds less than 4 Gi strings
	if wanted {
		n.index[raw] = i
	}
	if !utf8.ValidString(raw) {
		n.raw = append(n.raw, rawText{i, raw})
	}
	n.all = append(n.all, from.values.at(value)...)
	n.ends = append(n.ends, uint32(len(n.all))) // a block holds less than 4 GiB of text
	return i
}

// pack ends the work.
func (p *packer) pack() *Block {
	b := p.block
	b.ids, b.keys = exact(b.ids), exact(b.keys)
	if p.someClass {
		b.classes = exact(p.classes)
	}
	if len(b.where) > 1 {
		b.places = exact(p.place)
	}
	b.where = exact(b.where)
	b.names, b.values, b.raw = p.names.texts(), p.values.texts(), exact(p.values.raw)
	p.fold()
	b.sums = exact(p.sums)
	for i, sum := range b.sums {
		if sum == 0 {
			p.label = b.AppendJSON(p.label[:0], i)
			b.sums[i] = xxhash.Sum64(p.label)
		}
	}
	return b
}

// fold makes the shapes and the rows: what all targets of a shape have goes into the shape.
func (p *packer) fold() {
	b := p.block
	b.shapes = make([]shape, len(p.columns))
	counts := make([]int, len(p.columns))
	first := make([][]uint32, len(p.columns)) // row of the first target
	fixed := make([][]bool, len(p.columns))
	rest := p.rows
	for _, s := range p.shape {
		var row []uint32
		row, rest = rest[:len(p.columns[s])], rest[len(p.columns[s]):]
		if counts[s]++; counts[s] == 1 {
			first[s], fixed[s] = row, slices.Repeat([]bool{true}, len(row))
			continue
		}
		for k, v := range row {
			fixed[s][k] = fixed[s][k] && v == first[s][k]
		}
	}
	parts := newInterner(0)
	for s, names := range p.columns {
		b.shapes[s] = p.makeShape(names, first[s], func(k int) bool { return counts[s] >= foldFrom && fixed[s][k] }, &parts)
	}
	b.parts = parts.texts()
	p.fillRows()
}

func (p *packer) fillRows() {
	b := p.block
	if len(b.shapes) > 1 {
		b.shape, b.starts = exact(p.shape), make([]uint32, 0, len(p.shape))
	}
	cells := make([]uint32, 0, len(p.rows))
	rest := p.rows
	for _, s := range p.shape {
		if b.starts != nil {
			b.starts = append(b.starts, uint32(len(cells))) // fewer than 4 Gi labels
		}
		for k, c := range b.shapes[s].columns {
			if !c.fixed {
				cells = append(cells, rest[k])
			}
		}
		rest = rest[len(b.shapes[s].columns):]
	}
	if len(b.values.ends) > 1+math.MaxUint16 {
		b.wide = exact(cells)
		return
	}
	b.narrow = make([]uint16, len(cells))
	for i, c := range cells {
		b.narrow[i] = uint16(c) // checked above
	}
}

// makeShape writes the program that renders targets with these names.
func (p *packer) makeShape(names, row []uint32, fixed func(int) bool, parts *interner) shape {
	b, s := p.block, shape{columns: make([]column, len(names))}
	address := -1
	for k, name := range names {
		s.columns[k] = column{name: name, value: s.width}
		if fixed(k) {
			s.columns[k].value, s.columns[k].fixed = row[k], true
		} else {
			s.width++
		}
		if b.names.at(name) == "__address__" {
			address = k
		}
	}
	text := []byte(`{"targets":["`)
	value := func(c column) {
		if c.fixed {
			text = append(text, b.values.at(c.value)...)
			return
		}
		s.program = append(s.program, step{parts.put(string(text), false), c.value})
		text = text[:0]
	}
	if address >= 0 {
		value(s.columns[address])
	}
	text = append(text, `"],"labels":{`...)
	for k, c := range s.columns {
		if k > 0 {
			text = append(text, ',')
		}
		text = append(appendQuoted(text, b.names.at(c.name)), ':', '"')
		value(c)
		text = append(text, '"')
	}
	text = append(text, '}', '}')
	s.program = append(s.program, step{parts.put(string(text), false), noValue})
	s.program = slices.Clip(s.program)
	return s
}
