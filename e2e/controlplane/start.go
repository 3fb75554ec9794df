package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// startTimeout bounds a start, without the building of programs. On an idle machine it takes a tenth of it.
const startTimeout = 2 * time.Minute

// Start starts a control plane and returns when it is ready: the API server serves, the nodes are Ready, the default
// namespace has its service account, and the default StorageClass "standard" exists.
//
// Programs that are missing are built first; see [EnsureAssets]. ctx bounds the start only: what has been started runs
// until Stop is called or this process ends. After a failed start nothing runs; its logs are kept, and the error says
// where they are and how the log of the failed component ends.
func Start(ctx context.Context, opts Options) (*ControlPlane, error) {
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	if opts.Out == nil {
		opts.Out = io.Discard
	}
	assets, err := EnsureAssets(ctx, opts.Out)
	if err != nil {
		return nil, err
	}
	// The port is free when we look, but not ours until the component listens on it.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		cp, err := startOnce(ctx, assets, opts)
		if err == nil || attempt == attempts || !portTaken(err) {
			return cp, err
		}
		say(opts.Out, "control plane: a port was taken meanwhile, starting again\n")
	}
}

func startOnce(ctx context.Context, assets Assets, opts Options) (*ControlPlane, error) {
	started := time.Now()
	cp, err := prepare(assets, opts)
	if err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	if err := cp.bringUp(bounded, opts.Nodes); err != nil {
		return nil, cp.abandon(ctx, err)
	}
	for _, p := range cp.processes {
		go cp.watch(p)
	}
	say(opts.Out, "control plane: %s with %d nodes ready in %.1f s\n",
		cp.URL(), opts.Nodes, time.Since(started).Seconds())
	return cp, nil
}

// prepare makes the data directory and everything in it.
func prepare(assets Assets, opts Options) (*ControlPlane, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{assets: assets, port: ports[0], etcdPort: ports[1], kwokPort: ports[2], done: make(chan struct{})}
	cp.stop = sync.OnceValue(cp.shutdown)
	if opts.Dir == "" {
		cp.dir, err = os.MkdirTemp("", "otelier-")
	} else {
		if cp.dir, err = filepath.Abs(opts.Dir); err == nil {
			err = os.Mkdir(cp.dir, 0o755)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err = cp.writeFiles(); err == nil {
		cp.api, err = cp.client("otelier-controlplane")
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(cp.dir))
	}
	return cp, nil
}

// bringUp starts the components, each when those it depends on are there.
func (cp *ControlPlane) bringUp(ctx context.Context, nodes int) error {
	if err := cp.launch(cp.etcd(), cp.apiServer()); err != nil {
		return err
	}
	if err := until(ctx, APIServer, cp.processes, cp.api.ready); err != nil {
		return err
	}
	var err error
	if cp.relay, err = startRelay(fmt.Sprintf("127.0.0.1:%d", cp.kwokPort), cp.URL(), cp.pki); err != nil {
		return err
	}
	if err := cp.launch(cp.controllerManager(), cp.scheduler(), cp.kwok()); err != nil {
		return err
	}
	return cp.api.populate(ctx, cp.processes, nodes)
}

func (cp *ControlPlane) launch(commands ...command) error {
	for _, c := range commands {
		p, err := cp.start(c)
		if err != nil {
			return err
		}
		cp.processes = append(cp.processes, p)
	}
	return nil
}

// abandon ends what was started and adds to the error where to read on.
func (cp *ControlPlane) abandon(ctx context.Context, cause error) error {
	if ctx.Err() == nil && !portTaken(cause) {
		cause = errors.Join(fmt.Errorf("control plane: %w\nlogs: %s", cause, cp.LogDir()), cp.Keep())
	}
	return errors.Join(cause, cp.Stop())
}
