package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitStatus(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx    context.Context
		args   string
		status int
		log    string
	}{
		{t.Context(), "", 2, "exporter, fail, get, keep, sink, sleep"},
		{t.Context(), "dance", 2, "want one of"},
		{t.Context(), "sleep -tight", 2, "flag provided but not defined"},
		{t.Context(), "sleep now", 2, `unexpected argument "now"`},
		{t.Context(), "sleep -for 1ns", 0, ""},
		{ended, "sleep", 0, ""},
		{ended, "exporter -host 127.0.0.1 -first-port 0", 0, ""},
		{ended, "sink -listen 127.0.0.1:0", 0, ""},
		{t.Context(), "fail", 1, "failing, as told"},
		{t.Context(), "fail -code 3 -message why", 3, "workbench fail: why"},
		{t.Context(), "keep", 2, "-file"},
		{t.Context(), "exporter -ports 0", 2, "-ports"},
		{t.Context(), "exporter -path metrics", 2, "slash"},
		{t.Context(), "exporter -tls-cert nowhere", 1, "certificate"},
		{t.Context(), "get -url http://127.0.0.1:1", 1, "connection refused"},
	} {
		var out, log bytes.Buffer
		if status := run(c.ctx, strings.Fields(c.args), &out, &log); status != c.status || !strings.Contains(log.String(), c.log) {
			t.Errorf("%q: status %d, want %d; log %q, want %q", c.args, status, c.status, log.String(), c.log)
		}
	}
}

func TestKeepRemembersStarts(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "file")
	for i, name := range []string{"first", "second"} {
		var out, log bytes.Buffer
		if status := run(t.Context(), []string{"keep", "-once", "-file", file, "-name", name}, &out, &log); status != 0 {
			t.Fatalf("status %d: %s", status, log.String())
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != i+1 || !strings.HasPrefix(lines[0], "first started ") || !strings.HasPrefix(lines[i], name+" started ") {
			t.Errorf("after the start of %s: %q", name, out.String())
		}
	}
	server := httptest.NewServer(keeper(file))
	defer server.Close()
	if status, body := ask(t, server.Client(), http.MethodGet, server.URL, "", nil); status != http.StatusOK || strings.Count(body, "\n") != 2 {
		t.Errorf("%d %q", status, body)
	}
	if status, _ := ask(t, server.Client(), http.MethodPut, server.URL, "other", nil); status != http.StatusNoContent {
		t.Errorf("put: %d", status)
	}
	var out, log bytes.Buffer
	if status := run(t.Context(), []string{"get", "-url", server.URL}, &out, &log); status != 0 || out.String() != "other" {
		t.Errorf("get: status %d %q %s", status, out.String(), log.String())
	}
	if status := run(t.Context(), []string{"get", "-url", server.URL + "/%gh"}, &out, &log); status != statusUsage {
		t.Errorf("get of no URL: status %d", status)
	}
}
