package member

import (
	"bytes"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestReady(t *testing.T) {
	c := newCluster(t, 2)
	c.putPod(1, false)
	c.start()
	c.eventually("0 1")
	ready := c.watcher.Ready()
	if names := slices.Collect(maps.Keys(ready)); len(names) != 1 || names[0] != "c-0" {
		t.Fatalf("ready are %v, want c-0", names)
	}
	if since := time.Since(ready["c-0"]); since < 0 || since > time.Minute {
		t.Errorf("ready for %v", since)
	}
}

// That nobody is expected is not worth saying.
func TestMembersAreLogged(t *testing.T) {
	var out lockedBuffer
	c := newCluster(t, 2)
	c.log = slog.New(slog.NewTextHandler(&out, nil))
	c.start()
	c.eventually("0 1")
	if got := out.String(); !strings.Contains(got, "msg=members count=2") || strings.Contains(got, "expected") {
		t.Errorf("log is\n%s", got)
	}
	c.scale(4)
	c.putPod(2, false)
	c.putPod(3, true)
	c.eventually("0 1 3")
	if got := out.String(); !strings.Contains(got, "msg=members count=3 expected=1") {
		t.Errorf("log is\n%s", got)
	}
}

// lockedBuffer is for a log.
type lockedBuffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}
