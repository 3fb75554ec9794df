package monitor

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// lines is a log that is written and read at the same time.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// Who may list and not watch misses nothing, but late, and nothing else would say so.
func TestNotAllowedToWatch(t *testing.T) {
	r := newRig(t)
	log := &lines{}
	r.watcher.log = slog.New(slog.NewTextHandler(log, nil))
	r.dynamic.PrependWatchReactor("servicemonitors", func(clienttesting.Action) (bool, watch.Interface, error) {
		return true, nil, forbidden("servicemonitors")
	})
	r.apply(serviceMonitor, service("a", "web", nil))
	l := r.subscribe(everything())
	r.run()
	l.untilJobs("serviceMonitor/a/web/0")
	const said = "not allowed to watch"
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); log.count(said) == 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("nothing is said of it")
		}
	}
	r.apply(serviceMonitor, service("a", "more", nil))
	l.untilJobs("serviceMonitor/a/more/0", "serviceMonitor/a/web/0")
	if n := log.count(said); n != 1 {
		t.Errorf("it is said %d times, want once", n)
	}
}
