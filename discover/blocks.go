package discover

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/otelier/otelier/allocate"
)

// Blocks are halved when they have more targets than the one on average, and merged when they have fewer than the other. In between
// they stay as they are, so that a job around a limit does not make them anew all the time.
const (
	splitAbove = 2048
	mergeBelow = 512
)

// blockSet is a job's targets, cut by the first bits of their identity.
type blockSet struct {
	bits   uint
	blocks []*allocate.Block // nil where there are none
}

// bitsFor is by how many bits n targets are cut, if they were by bits before.
func bitsFor(n int, bits uint) uint {
	for n>>bits > splitAbove {
		bits++
	}
	for bits > 0 && n>>bits < mergeBelow {
		bits--
	}
	return bits
}

func (s *blockSet) of(id uint64) int {
	if s.bits == 0 {
		return 0
	}
	return int(id >> (64 - s.bits))
}

// list is the blocks that have targets.
func (s *blockSet) list() []*allocate.Block {
	return slices.DeleteFunc(slices.Clone(s.blocks), func(b *allocate.Block) bool { return b == nil })
}

// change is what becomes of one identity: a target, or none.
type change struct {
	id    uint64
	group *packed // nil when it is gone
	at    target
}

// edit applies changes, at most one for each identity. Blocks that come out with the same content are the same pointers.
func (s *blockSet) edit(bits uint, changes []change, workers func() *relabeler) {
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.id, b.id) })
	if s.blocks == nil || bits != s.bits {
		*s = blockSet{bits: bits, blocks: newBlocks(bits)}
	}
	type part struct {
		block   int
		changes []change
	}
	var parts []part
	for i := 0; i < len(changes); {
		b := s.of(changes[i].id)
		j := i + 1
		for j < len(changes) && s.of(changes[j].id) == b {
			j++
		}
		parts = append(parts, part{b, changes[i:j]})
		i = j
	}
	parallel(len(parts), 1, workers, func(r *relabeler, i int) {
		b := parts[i].block
		s.blocks[b] = editBlock(s.blocks[b], parts[i].changes, r)
	})
}

func newBlocks(bits uint) []*allocate.Block { return make([]*allocate.Block, 1<<bits) }

func editBlock(b *allocate.Block, changes []change, r *relabeler) *allocate.Block {
	var drop []uint64
	add := make([]allocate.Entry, 0, len(changes))
	for _, c := range changes {
		if c.group == nil {
			drop = append(drop, c.id)
			continue
		}
		add = append(add, r.entry(c.group, c.at))
	}
	if b == nil {
		if len(add) == 0 {
			return nil
		}
		return allocate.NewBlock(add)
	}
	b = b.Edit(drop, add)
	if b.Len() == 0 {
		return nil
	}
	return b
}

// parallel calls work for 0 to n-1, from several goroutines when there are enough of them for that; each has its own state.
func parallel[S any](n, atLeast int, state func() S, work func(S, int)) {
	workers := min(runtime.GOMAXPROCS(0), n/max(atLeast, 1))
	if workers <= 1 {
		s := state()
		for i := range n {
			work(s, i)
		}
		return
	}
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for range workers {
		wg.Go(func() {
			s := state()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(s, i)
			}
		})
	}
	wg.Wait()
}
