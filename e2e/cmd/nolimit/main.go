// Nolimit is runc for hosts whose processes lack the capability CAP_SYS_RESOURCE, as in some virtual machines and containers.
//
// There "docker run --privileged" fails, since no process can hand on a capability that it does not have, and so does everything in a
// kind node that raises a resource limit. Nolimit takes both out of what runc is told to do and then becomes the next runc in PATH that
// is not itself. It is registered as a runtime of dockerd, and lies in the node image under the name runc, before the real one in PATH.
//
// What runc reads is defined by the OCI runtime specification: config.json in the bundle for create and run, a process object for exec.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const capability = "CAP_SYS_RESOURCE"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "nolimit: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	file, whole := specOf(args)
	if file != "" {
		if err := edit(file, whole); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	runc, err := nextInPath(os.Getenv("PATH"), self)
	if err != nil {
		return err
	}
	return syscall.Exec(runc, append([]string{runc}, args...), os.Environ())
}

// specOf is the file that describes what these arguments of runc start, and whether that is a whole configuration and not only a
// process; "" if they start nothing.
func specOf(args []string) (file string, whole bool) {
	command := slices.IndexFunc(args, func(a string) bool { return slices.Contains([]string{"create", "run", "exec", "restore"}, a) })
	if command < 0 {
		return "", false
	}
	rest := args[command+1:]
	if args[command] == "exec" {
		return flag(rest, "--process", "-p"), false
	}
	bundle := flag(rest, "--bundle", "-b")
	return filepath.Join(bundle, "config.json"), true
}

// flag is the value of a flag among arguments, "" without it.
func flag(args []string, names ...string) string {
	for i, arg := range args {
		name, value, glued := strings.Cut(arg, "=")
		switch {
		case !slices.Contains(names, name):
		case glued:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return ""
}

// edit takes the capability and the limits out of a file.
func edit(file string, whole bool) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	edited, err := lessen(data, whole)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, edited, 0o600)
}

// lessen takes the capability and the limits out of a configuration, or of a process, and leaves all else as it is.
func lessen(data []byte, whole bool) ([]byte, error) {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber() // some are too large for a float64
	var spec map[string]any
	if err := decoder.Decode(&spec); err != nil {
		return nil, err
	}
	process := spec
	if whole {
		process, _ = spec["process"].(map[string]any)
	}
	delete(process, "rlimits")
	sets, _ := process["capabilities"].(map[string]any)
	for name, set := range sets {
		if list, ok := set.([]any); ok {
			sets[name] = slices.DeleteFunc(list, func(c any) bool { return c == capability })
		}
	}
	return json.Marshal(spec)
}

// nextInPath is the first runc in PATH that is not this program.
func nextInPath(path, self string) (string, error) {
	own, err := os.Stat(self)
	if err != nil {
		return "", err
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, "runc")
		info, err := os.Stat(candidate)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 || os.SameFile(own, info) {
			continue
		}
		return candidate, nil
	}
	return "", errors.New("no other runc in PATH")
}
