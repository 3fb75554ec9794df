package discover

import "time"

const (
	// quietFor is how long nothing must change before changes are published, and atMost how long they wait when it goes on.
	quietFor = 200 * time.Millisecond
	atMost   = 2 * time.Second
)

// coalescer decides when changes are published. Its zero value has none.
type coalescer struct{ first, last time.Time }

// touch notes a change.
func (c *coalescer) touch(now time.Time) {
	if c.first.IsZero() {
		c.first = now
	}
	c.last = now
}

// due is when what was noted is to be published; zero when there is nothing.
func (c *coalescer) due() time.Time {
	if c.first.IsZero() {
		return time.Time{}
	}
	quiet, limit := c.last.Add(quietFor), c.first.Add(atMost)
	if limit.Before(quiet) {
		return limit
	}
	return quiet
}

func (c *coalescer) reset() { *c = coalescer{} }
