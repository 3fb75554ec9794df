package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
)

const ipForward = "/proc/sys/net/ipv4/ip_forward"

// host is what dockerd changes of the network of its host and does not put back.
type host struct {
	forward []byte // content of ipForward
	bare    bool   // there were no packet filter rules
}

func lookAtHost(ctx context.Context) host {
	forward, _ := os.ReadFile(ipForward)
	rules, err := run(ctx, "iptables-save")
	return host{forward: forward, bare: err == nil && !strings.Contains(rules, "\n-A ")}
}

// restore puts back what was there. Where there were rules of others, those of dockerd stay among them.
func (h host) restore(ctx context.Context) error {
	_, _ = run(ctx, "ip", "link", "delete", "docker0")
	var errs []error
	if h.bare {
		for _, args := range [][]string{
			{"-t", "nat", "-F"}, {"-t", "filter", "-F"}, {"-t", "nat", "-X"}, {"-t", "filter", "-X"}, {"-P", "FORWARD", "ACCEPT"},
		} {
			_, err := run(ctx, "iptables", append([]string{"-w"}, args...)...)
			errs = append(errs, err)
		}
	}
	if len(h.forward) > 0 {
		errs = append(errs, os.WriteFile(ipForward, h.forward, 0o600))
	}
	return errors.Join(errs...)
}

// keptFile is where the process ID of an engine is that was started to be kept.
func keptFile() (string, error) {
	cache, err := controlplane.CacheDir()
	return filepath.Join(cache, "engine", "kept.pid"), err
}

// kept is the process ID of the engine that an earlier run has started to be kept, 0 if there is none.
func kept() int {
	file, err := keptFile()
	if err != nil {
		return 0
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil || strings.TrimSpace(string(name)) != "dockerd" {
		return 0
	}
	return pid
}

// endKept ends a kept engine.
func endKept(pid int, patience time.Duration) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		if kept() != pid {
			file, err := keptFile()
			return errors.Join(err, os.Remove(file))
		}
		select {
		case <-late:
			return fmt.Errorf("engine: dockerd, process %d, has not ended after %s", pid, patience)
		case <-tick.C:
		}
	}
}
