package discover

import (
	"hash/maphash"
	"sync"

	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// store has the target groups of one discovery, each by a number that it keeps while it is there.
type store struct {
	mu     sync.RWMutex
	seed   maphash.Seed
	packer *packer
	// numbers by the hash of the source.
	numbers map[uint64]uint32
	groups  []*packed
	free    []uint32
}

func newStore(d *dictionary) *store {
	return &store{seed: d.seed, packer: newPacker(d, d.seed), numbers: map[uint64]uint32{}}
}

// put takes a group in, and says whether it is other than before. A group without targets is gone. One goroutine calls it.
func (s *store) put(g *targetgroup.Group) (number uint32, changed bool) {
	source := maphash.String(s.seed, g.Source)
	number, known := s.numbers[source]
	if len(g.Targets) == 0 {
		if known {
			s.set(number, nil)
			delete(s.numbers, source)
			s.free = append(s.free, number)
		}
		return number, known
	}
	sum := s.packer.sum(g)
	if known && s.groups[number].sum == sum {
		return number, false
	}
	p := s.packer.pack(g, sum)
	if !known {
		number = s.take()
		s.numbers[source] = number
	}
	s.set(number, p)
	return number, true
}

// take finds a number that is not used.
func (s *store) take() uint32 {
	if n := len(s.free); n > 0 {
		number := s.free[n-1]
		s.free = s.free[:n-1]
		return number
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, nil)
	return uint32(len(s.groups) - 1)
}

func (s *store) set(number uint32, p *packed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[number] = p
}

// get returns a group; nil when it is gone.
func (s *store) get(number uint32) *packed {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.groups[number]
}

// present lists the numbers of the groups that are there, of those whose source is wanted.
func (s *store) present(wanted func(source string) bool) []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []uint32
	for i, g := range s.groups {
		if g != nil && wanted(g.source()) {
			out = append(out, uint32(i))
		}
	}
	return out
}
