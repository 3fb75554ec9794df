package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
)

const (
	ipForward = "/proc/sys/net/ipv4/ip_forward"
	// inotifyInstances is how many a user may have: each node and each pod takes some, and all are root's.
	//
	// https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
	inotifyInstances = "/proc/sys/fs/inotify/max_user_instances"
)

// host is what dockerd, and we for it, change of the host.
type host struct {
	settings map[string][]byte // contents of files in /proc/sys
	bare     bool              // there were no packet filter rules
}

func lookAtHost(ctx context.Context) host {
	h := host{settings: map[string][]byte{}}
	for _, file := range []string{ipForward, inotifyInstances} {
		if data, err := os.ReadFile(file); err == nil {
			h.settings[file] = data
		}
	}
	rules, err := run(ctx, "iptables-save")
	h.bare = err == nil && !strings.Contains(rules, "\n-A ")
	return h
}

// raiseWatches raises the number of inotify instances if it is too low for a cluster or two.
func (h host) raiseWatches(out io.Writer) error {
	const enough = 1024
	now, err := strconv.Atoi(strings.TrimSpace(string(h.settings[inotifyInstances])))
	if err != nil || now >= enough {
		return nil //nolint:nilerr // where it can't be read it can't be raised: see what happens
	}
	say(out, "engine: fs.inotify.max_user_instances set to %d\n", enough)
	return os.WriteFile(inotifyInstances, []byte(strconv.Itoa(enough)), 0o600)
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
	for file, data := range h.settings {
		errs = append(errs, os.WriteFile(file, data, 0o600))
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
