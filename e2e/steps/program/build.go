package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// module is the name that tells the repository's go.mod from those below it.
const module = "module github.com/otelier/otelier\n"

// Root is the repository's directory, found upwards from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("repository: %w", err)
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && len(data) >= len(module) && string(data[:len(module)]) == module {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("repository: the working directory is not inside of it")
		}
		dir = parent
	}
}

// moduleDir is where the sources of a module are, at the version that the program is built with.
func moduleDir(ctx context.Context, module string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	list := []string{"list", "-m", "-f", "{{.Dir}}", module}
	for _, args := range [][]string{list, {"mod", "download", module}, list} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("sources of %s: %w", module, err)
		}
		if dir := string(bytes.TrimSpace(out)); dir != "" {
			return dir, nil
		}
	}
	return "", fmt.Errorf("sources of %s: not in the module cache", module)
}

// Build builds the program into dir, with more flags for go build such as -race, and returns its path.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "otelier")
	args := append([]string{"build", "-o", path}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build otelier: %w\n%s", err, out)
	}
	return path, nil
}
