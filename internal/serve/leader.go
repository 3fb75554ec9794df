package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A leader that stops without releasing the lease, say by a crash of its node, is replaced within 24 s: the others look each retryPeriod,
// with up to 1.2 times that of jitter, so after 4.4 s at most. They count leaseDuration from when they have seen the last renewal, and take
// the lease when they look the next time after that (k8s.io/client-go/tools/leaderelection, tryAcquireOrRenew).
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// Candidate takes part in the election for a Lease.
type Candidate struct {
	elector *leaderelection.LeaderElector
}

// NewCandidate returns a candidate for a Lease. elected is closed when it has won.
func NewCandidate(client coordination.LeasesGetter, namespace, lease string, elected chan<- struct{}, log *slog.Logger) (*Candidate, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("leader election: own name: %w", err)
	}
	identity := host + "_" + string(uuid.NewUUID())
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: lease,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: lease},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(elected) },
			OnStoppedLeading: func() {},
			OnNewLeader: func(id string) {
				log.Info("leader", "lease", namespace+"/"+lease, "identity", id, "self", id == identity)
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	return &Candidate{elector}, nil
}

// Run takes part until ctx ends, and then releases the lease. Losing it again is an error: whoever works as the leader must stop at
// once.
func (c *Candidate) Run(ctx context.Context) error {
	c.elector.Run(ctx)
	if ctx.Err() == nil {
		return errors.New("leader election: the lease was lost to another replica, or could not be renewed in time")
	}
	return nil
}

// Leads is nil while this process holds the lease and has renewed it lately. A process that was stopped for a while, with its node or by
// a signal, finds out here, before its election does, that another may have taken over.
func (c *Candidate) Leads() error {
	if !c.elector.IsLeader() || c.elector.Check(renewDeadline-leaseDuration) != nil {
		return errors.New("leader election: not the leader any more")
	}
	return nil
}
