package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// patience bounds the wait for the other processes that use a directory which is to be removed. It is longer than
	// any of them is given to end.
	patience = 30 * time.Second
	pause    = 50 * time.Millisecond
)

func writePID(file string, pid int) error {
	if file == "" {
		return nil
	}
	temp := file + ".new"
	if err := os.WriteFile(temp, []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := os.Rename(temp, file); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// cleanup removes dir when nothing uses it any more. It tries again for as long as something still writes there.
func cleanup(dir, pidfile string) {
	if _, err := os.Stat(filepath.Join(dir, "keep")); err == nil {
		return
	}
	deadline := time.Now().Add(patience)
	for pidfile != "" && anyAlive(filepath.Dir(pidfile)) && time.Now().Before(deadline) {
		time.Sleep(pause)
	}
	for os.RemoveAll(dir) != nil && time.Now().Before(deadline) {
		time.Sleep(pause)
	}
}

// anyAlive says whether a process that a pid file in dir names exists.
func anyAlive(dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*.pid"))
	if err != nil {
		return false
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // removed meanwhile: it has ended
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err == nil && pid > 0 && syscall.Kill(pid, 0) == nil {
			return true
		}
	}
	return false
}
