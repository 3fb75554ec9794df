package allocate

import (
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// chunk is how much of an answer is in memory at a time, in bytes. What is larger than that is sent in several.
	chunk = 64 << 10
	// patience is how long a client may take for a chunk: some 4 KiB/s at least.
	patience = 15 * time.Second
	// maxAnswer is how long it may take for all of it.
	maxAnswer = 2 * time.Minute
)

// buffers are kept for answers to come.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	buffer := make([]byte, 0, chunk)
	return &buffer
}

func (b *buffers) put(buffer *[]byte) {
	if cap(*buffer) <= 4*chunk { // a huge target does not stay
		*buffer = (*buffer)[:0]
		b.pool.Put(buffer)
	}
}

// answer is a JSON document on its way to a client.
type answer struct {
	w       http.ResponseWriter
	r       *http.Request
	buffers *buffers

	buffer []byte
	start  time.Time // of sending the first chunk
	failed bool      // the client has gone away
}

// send sends what write appends, unless the client has what etag stands for. size of the document in bytes; -1 when it is not known.
func (a *answer) send(etag string, size int, write func()) {
	h := a.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if etag != "" {
		h.Set("ETag", etag)
		if notModified(a.r, etag) {
			a.w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if size >= 0 {
		h.Set("Content-Length", strconv.Itoa(size))
	}
	if a.r.Method == http.MethodHead {
		return
	}
	buffer := a.buffers.get()
	a.buffer = *buffer
	write()
	a.flush()
	*buffer = a.buffer
	a.buffers.put(buffer)
}

// more sends what is there if it is much. It is false when the client has gone away, and the rest need not be made.
func (a *answer) more() bool {
	if len(a.buffer) < chunk {
		return true
	}
	if a.start.IsZero() {
		a.start = time.Now() // deadlines of connections are those of the real clock
	}
	deadline := time.Now().Add(patience)
	if end := a.start.Add(maxAnswer); end.Before(deadline) {
		deadline = end
	}
	_ = http.NewResponseController(a.w).SetWriteDeadline(deadline) // where there is no connection there is no need for it
	a.flush()
	return !a.failed
}

func (a *answer) flush() {
	if len(a.buffer) > 0 && !a.failed {
		_, err := a.w.Write(a.buffer)
		a.failed = err != nil
	}
	a.buffer = a.buffer[:0]
}

// list appends what one collector has of a job.
func (a *answer) list(l list) {
	a.buffer = append(a.buffer, '[')
	for k, ref := range l.refs {
		if k > 0 {
			a.buffer = append(a.buffer, ',')
		}
		block, i := l.view.locate(ref)
		a.buffer = block.AppendJSON(a.buffer, i)
		if !a.more() {
			return
		}
	}
	a.buffer = append(a.buffer, ']')
}

// targets answers with a list: what http_sd_configs takes.
func (a *answer) targets(l list) {
	a.send(l.etag(), l.size(), func() { a.list(l) })
}

// configs answers with the scrape configurations: {"JOB":{…}}.
func (a *answer) configs(s *Snapshot) {
	a.send(s.config.etag, s.config.size, func() {
		a.buffer = append(a.buffer, '{')
		first := true
		for _, v := range s.views {
			if len(v.job.Config) == 0 {
				continue
			}
			if !first {
				a.buffer = append(a.buffer, ',')
			}
			first = false
			a.buffer = append(append(a.buffer, v.quoted...), ':')
			a.buffer = append(a.buffer, v.job.Config...)
			if !a.more() {
				return
			}
		}
		a.buffer = append(a.buffer, '}')
	})
}

// jobs answers with the jobs that have targets, or may have: {"JOB":{"_link":"…/jobs/JOB/targets"}}.
func (a *answer) jobs(s *Snapshot, root string) {
	a.send("", -1, func() {
		a.buffer = append(a.buffer, '{')
		first := true
		for _, v := range s.views {
			if v.total() == 0 && !v.job.Unknown {
				continue
			}
			if !first {
				a.buffer = append(a.buffer, ',')
			}
			first = false
			a.buffer = append(append(a.buffer, v.quoted...), `:{"_link":`...)
			a.buffer = append(appendQuoted(a.buffer, jobLink(root, v.job.Name)), '}')
			if !a.more() {
				return
			}
		}
		a.buffer = append(a.buffer, '}')
	})
}

// job answers with what each collector has of a job: {"COLLECTOR":{"_link":"…","targets":[…]}}.
func (a *answer) job(s *Snapshot, root, job string) {
	a.send("", -1, func() {
		a.buffer = append(a.buffer, '{')
		if v := s.view(job); v != nil {
			for m, member := range s.Assignment.Members {
				if m > 0 {
					a.buffer = append(a.buffer, ',')
				}
				a.buffer = append(appendQuoted(a.buffer, member.Name), `:{"_link":`...)
				a.buffer = appendQuoted(a.buffer, jobLink(root, job)+"?collector_id="+url.QueryEscape(member.Name))
				a.buffer = append(a.buffer, `,"targets":`...)
				a.list(v.of(m))
				a.buffer = append(a.buffer, '}')
				if !a.more() {
					return
				}
			}
		}
		a.buffer = append(a.buffer, '}')
	})
}

func jobLink(root, job string) string {
	return root + pathJobs + "/" + url.QueryEscape(job) + "/targets"
}
