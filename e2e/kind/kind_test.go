package kind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/e2e/controlplane"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kind.yaml")
	if err := writeConfig(path, dir, 2, true); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Nodes []struct {
			Role        string
			ExtraMounts []struct{ HostPath string }
		}
		KubeadmConfigPatches []string
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if len(config.Nodes) != 3 || config.Nodes[0].Role != "control-plane" || config.Nodes[2].Role != "worker" {
		t.Errorf("nodes %v, want a control plane and 2 workers", config.Nodes)
	}
	policy, err := os.ReadFile(config.Nodes[0].ExtraMounts[0].HostPath)
	if err != nil || string(policy) != string(controlplane.AuditPolicy()) {
		t.Errorf("audit policy: error %v:\n%s", err, policy)
	}
	kinds := map[string]bool{}
	for _, patch := range config.KubeadmConfigPatches {
		var document map[string]any
		if err := yaml.UnmarshalStrict([]byte(patch), &document); err != nil {
			t.Errorf("%v:\n%s", err, patch)
			continue
		}
		kind, _ := document["kind"].(string)
		kinds[kind] = true
	}
	if !kinds["KubeletConfiguration"] || !kinds["ClusterConfiguration"] {
		t.Errorf("patches of %v", kinds)
	}
}

// TestDigest wants another node image when a program is another.
func TestDigest(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	sum := func(content string) string {
		if err := os.WriteFile(program, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		sum, err := digest(controlplane.Programs{"program": program})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	first := sum("a")
	if again := sum("a"); again != first {
		t.Errorf("%s, then %s, of the same", first, again)
	}
	if other := sum("b"); other == first {
		t.Errorf("%s of another program too", other)
	}
}

// TestNodeFiles wants scripts to be executable, and a sandbox image in containerd's configuration.
func TestNodeFiles(t *testing.T) {
	b := &nodeBuild{version: "v1.2.3", dir: t.TempDir()}
	if err := b.files("registry.example.com/pause:1"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(b.dir, "rootfs/usr/local/bin/entrypoint"))
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("entrypoint: %v, error %v, want an executable file", info, err)
	}
	config, err := os.ReadFile(filepath.Join(b.dir, "rootfs/etc/containerd/config.toml"))
	if err != nil || !strings.Contains(string(config), "\n  sandbox = 'registry.example.com/pause:1'\n") {
		t.Errorf("error %v, no line with the sandbox image:\n%s", err, config)
	}
}
