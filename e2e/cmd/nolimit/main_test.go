package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSpecOf(t *testing.T) {
	for _, c := range []struct {
		args  []string
		file  string
		whole bool
	}{
		{[]string{"--root", "/r", "--log-format", "json", "create", "--bundle", "/b", "--pid-file", "/p", "id"}, "/b/config.json", true},
		{[]string{"run", "-b=/b", "id"}, "/b/config.json", true},
		{[]string{"create", "id"}, "config.json", true},
		{[]string{"--root", "/r", "exec", "--process", "/tmp/p", "--detach", "id"}, "/tmp/p", false},
		{[]string{"exec", "id", "true"}, "", false},
		{[]string{"state", "id"}, "", false},
	} {
		if file, whole := specOf(c.args); file != c.file || whole != c.whole && file != "" {
			t.Errorf("specOf(%q) = %q, %v, want %q, %v", c.args, file, whole, c.file, c.whole)
		}
	}
}

func TestLessen(t *testing.T) {
	got, err := lessen([]byte(`{"linux":{"x":18446744073709551615},"process":{"args":["a"],"capabilities":{
		"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]},"rlimits":[{"type":"RLIMIT_NOFILE"}]}}`), true)
	want := `{"linux":{"x":18446744073709551615},"process":{"args":["a"],"capabilities":{"bounding":["CAP_CHOWN"],"effective":[]}}}`
	if err != nil || string(got) != want {
		t.Errorf("configuration: %s, error %v, want %s", got, err, want)
	}
	got, err = lessen([]byte(`{"cwd":"/","capabilities":{"ambient":["CAP_SYS_RESOURCE"]},"rlimits":[]}`), false)
	want = `{"capabilities":{"ambient":[]},"cwd":"/"}`
	if err != nil || string(got) != want {
		t.Errorf("process: %s, error %v, want %s", got, err, want)
	}
}

func TestNextInPath(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		if err := os.WriteFile(filepath.Join(dir, "runc"), []byte(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	self := filepath.Join(first, "runc")
	got, err := nextInPath(first+":"+second, self)
	if want := filepath.Join(second, "runc"); err != nil || got != want {
		t.Errorf("next after %s is %q, error %v, want %q", self, got, err, want)
	}
	if got, err := nextInPath(first, self); err == nil {
		t.Errorf("found %q, want an error: there is no other", got)
	}
}
