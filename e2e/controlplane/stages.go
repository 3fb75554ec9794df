package controlplane

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	kwokModule = "sigs.k8s.io/kwok"
	stagesDir  = "stages"
)

// volumeStages make kwok an external volume provisioner.
//
//go:embed volumes.yaml
var volumeStages []byte

// stageNames are the stages of kwok's own that nodes and pods go through, by their files below kustomize/stage.
func stageNames() []string {
	return []string{
		"node/fast/node-initialize.yaml",
		"node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
		"pod/fast/pod-ready.yaml",
		"pod/fast/pod-complete.yaml",
		"pod/fast/pod-delete.yaml",
	}
}

// stageFiles are the stage definitions in a directory that copyStages filled.
// The error is os.ErrNotExist if one is missing.
func stageFiles(dir string) ([]string, error) {
	var files []string
	for _, name := range stageNames() {
		file := filepath.Join(dir, filepath.Base(name))
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("kwok stages: %w", err)
		}
		files = append(files, file)
	}
	return files, nil
}

// copyStages keeps the stage definitions beside the programs, so that a start needs neither Go nor its module cache.
func (b *builder) copyStages(ctx context.Context, dir string) error {
	files, err := b.moduleStages(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("kwok stages: %w", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("kwok stages: %w", err)
		}
		path := filepath.Join(dir, filepath.Base(file))
		err = errors.Join(os.WriteFile(path+".new", data, 0o644), os.Rename(path+".new", path))
		if err != nil {
			return fmt.Errorf("kwok stages: %w", err)
		}
	}
	return nil
}

// moduleStages finds the stage definitions in kwok's module, which it downloads if need be.
func (b *builder) moduleStages(ctx context.Context) ([]string, error) {
	tools := filepath.Join(b.root, "hack", "tools", "kwok")
	list := []string{"list", "-m", "-f", "{{.Dir}}", kwokModule}
	for _, args := range [][]string{list, {"mod", "download", kwokModule}, list} {
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = tools, buildEnv()
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("kwok stages: %s: %w: %s", cmd, err, bytes.TrimSpace(stderr.Bytes()))
		}
		if dir := string(bytes.TrimSpace(stdout.Bytes())); dir != "" {
			return under(filepath.Join(dir, "kustomize", "stage"), stageNames()), nil
		}
	}
	return nil, fmt.Errorf("kwok stages: %s is not in the module cache", kwokModule)
}

func under(dir string, names []string) []string {
	files := make([]string, 0, len(names))
	for _, name := range names {
		files = append(files, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return files
}
