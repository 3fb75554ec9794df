package discover

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestADiscoveryDoesNotRepeatItself(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	clock := clocktesting.NewFakeClock(time.Unix(1e9, 0))
	jobs := []string{"a", "b"}
	log := slog.New(newQuiet(slog.NewTextHandler(&out, nil), clock, func() []string { return jobs })).With("discovery", "http")
	said := func() int {
		n := strings.Count(out.String(), "\n")
		out.Reset()
		return n
	}
	for port := range 100 {
		log.With("role", "x").Error("refresh failed", "err", fmt.Errorf("read tcp 10.0.0.1:%d->10.0.0.2:80: refused", port))
		clock.Step(5 * time.Second)
	}
	if text := out.String(); !strings.Contains(text, "discovery=http") || !strings.Contains(text, `jobs="[a b]"`) {
		t.Errorf("it says %s", text)
	}
	if n := said(); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	log.Error("refresh failed", "err", "something else")
	log.Info("fine")
	log.Info("fine")
	if n := said(); n != 3 {
		t.Errorf("%d messages", n)
	}
	clock.Step(sayAgain)
	jobs = []string{"1", "2", "3", "4", "5", "6", "7"}
	log.Error("refresh failed", "err", "something else")
	if text := out.String(); !strings.Contains(text, `jobs="[1 2 3 4 5]" more_jobs=2`) {
		t.Errorf("it says %s", text)
	}
	said()
	for i := range 1000 {
		log.Error("always another one", "n", i)
	}
	if n := said(); n != maxSaid-1 {
		t.Errorf("%d messages", n)
	}
}
