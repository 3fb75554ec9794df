package allocate

import (
	"net"
	"sync"
)

// quota counts what is in use, and by whom.
type quota struct {
	max int

	mu   sync.Mutex
	used int
	by   map[string]int
}

func newQuota(most int) *quota { return &quota{max: most, by: map[string]int{}} }

// take one for somebody, who has half of all at most. What was taken must be given back.
func (q *quota) take(who string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used >= q.max || q.by[who] >= (q.max+1)/2 {
		return false
	}
	q.used++
	q.by[who]++
	return true
}

// force takes one even where there is none left, and then is false. It must be given back in either case.
func (q *quota) force(who string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used++
	q.by[who]++
	return q.used <= q.max && q.by[who] <= (q.max+1)/2
}

// give back what was taken.
func (q *quota) give(who string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used--
	if q.by[who]--; q.by[who] == 0 {
		delete(q.by, who)
	}
}

// host is an address without its port.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}
