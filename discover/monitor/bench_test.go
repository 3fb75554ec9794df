package monitor

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
)

const benchObjects = 1000

// full is a Watcher that knows benchObjects ServiceMonitors, each with a Secret of its own.
func full(b *testing.B) *player {
	b.Helper()
	secrets := shelf{}
	p := newPlayer(b, secrets)
	p.w.labels["a"] = labels.Set{"team": "t0"}
	for i := range benchObjects {
		name := fmt.Sprint("m", i)
		secrets["a/"+name] = map[string]string{"user": "u", "password": "p"}
		p.w.objectChanged(nil, newObject(serviceMonitor, service("a", name, withPassword(name))))
	}
	return p
}

// BenchmarkOneEdited is one of 1000 ServiceMonitors edited, from the event to the new picture.
func BenchmarkOneEdited(b *testing.B) {
	p := full(b)
	if n := len(p.look().Jobs); n != benchObjects {
		b.Fatalf("%d jobs", n)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		endpoint := withPassword("m500")
		endpoint["port"] = fmt.Sprint("p", i)
		p.w.objectChanged(nil, newObject(serviceMonitor, service("a", "m500", endpoint)))
		before := p.last.Jobs
		if after := p.look().Jobs; len(after) != benchObjects || &after[0] == &before[0] {
			b.Fatal("the edit changed nothing")
		}
	}
}

// BenchmarkAll translates 1000 ServiceMonitors.
func BenchmarkAll(b *testing.B) {
	p := full(b)
	p.look()
	b.ReportAllocs()
	for b.Loop() {
		for _, profile := range p.w.profiles {
			clear(profile.entries)
		}
		p.look()
	}
}

// BenchmarkNothingChanged is a look at 1000 ServiceMonitors when something was touched and nothing has changed.
func BenchmarkNothingChanged(b *testing.B) {
	p := full(b)
	p.look()
	b.ReportAllocs()
	for b.Loop() {
		p.look()
	}
}
