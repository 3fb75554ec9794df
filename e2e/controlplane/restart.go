package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Restart kills a component with SIGKILL, as a machine that loses power does, and starts it again with the same data and on the
// same port. It returns when the control plane serves again: the API server is ready, and reads what etcd has. ctx bounds the
// whole. When it fails, the control plane is of no more use.
//
// The kwok that comes after another one waits until the leases of its nodes have run out, which takes 40 s.
//
// Restarts are not to overlap with each other or with Stop.
func (cp *ControlPlane) Restart(ctx context.Context, component string) error {
	if err := cp.restart(ctx, component); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

func (cp *ControlPlane) restart(ctx context.Context, component string) error {
	bounded, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	old, err := cp.process(component)
	if err != nil {
		return err
	}
	if err := cp.kill(old); err != nil {
		return err
	}
	// Until the component listens again, its port is anybody's.
	const attempts = 5
	for attempt := 1; ; attempt++ {
		p, err := cp.revive(bounded, old)
		if err == nil {
			go cp.watch(p)
			return nil
		}
		if attempt == attempts || !portTaken(err) {
			return err
		}
		old = p
	}
}

// kill ends a component without a chance to clean up, and waits until it is gone.
func (cp *ControlPlane) kill(p *process) error {
	cp.mu.Lock()
	p.killed = true
	cp.mu.Unlock()
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	const patience = 30 * time.Second
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s: still there %s after SIGKILL", p.name, patience)
	}
}

// revive starts in the place of old, which has ended, another process of the same component, and waits until the control plane
// serves. The process is returned with an error too.
func (cp *ControlPlane) revive(ctx context.Context, old *process) (*process, error) {
	i := slices.IndexFunc(cp.commands(), func(c command) bool { return c.name == old.name })
	p, err := cp.start(cp.commands()[i])
	if err != nil {
		return old, err
	}
	cp.mu.Lock()
	cp.processes[slices.Index(cp.processes, old)] = p
	cp.mu.Unlock()
	return p, until(ctx, old.name, []*process{p}, func(ctx context.Context) error {
		_, err := os.Stat(p.pidfile)
		return errors.Join(err, cp.api.serves(ctx))
	})
}

// commands are those of all components, in the order of their start.
func (cp *ControlPlane) commands() []command {
	return []command{cp.etcd(), cp.apiServer(), cp.controllerManager(), cp.scheduler(), cp.kwok()}
}

// serves is nil if the API server is ready and etcd answers it.
func (c client) serves(ctx context.Context) error {
	_, err := c.CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{}) // not from a cache
	return errors.Join(c.ready(ctx), err)
}
