package member

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/utils/clock"
)

const (
	// listFrom is from how many nodes that are not known on all are listed rather than those asked for one by one.
	listFrom = 8
	// zonePatience bounds what membership waits for zones, and zoneRetry is when a failure is tried again, or a node that is not there
	// looked for.
	zonePatience = 5 * time.Second
	zoneRetry    = time.Minute
)

// zones remembers where nodes are, as long as they are named. A node stays in its zone, so nothing is watched.
type zones struct {
	client metadata.Interface
	clock  clock.PassiveClock
	log    *slog.Logger

	mu sync.Mutex
	of map[string]string

	// These are for learn alone.
	retry  time.Time            // when to ask again after a failure
	absent map[string]time.Time // when to look again for a node that was not there
}

func newZones(client metadata.Interface, c clock.PassiveClock, log *slog.Logger) *zones {
	return &zones{client: client, clock: c, log: log, of: map[string]string{}, absent: map[string]time.Time{}}
}

// known are the zones by the name of the node.
func (z *zones) known() map[string]string {
	if z == nil {
		return nil
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return maps.Clone(z.of)
}

// learn finds the zones of those nodes that it does not know, and forgets all others. What can't be found is left out, whichever
// nodes are asked for together; it says when to try that again, zero for never. It must not be called twice at a time.
func (z *zones) learn(ctx context.Context, nodes []string) (again time.Time) {
	if z == nil {
		return time.Time{}
	}
	now := z.clock.Now()
	missing := z.missing(nodes, now)
	if len(missing) > 0 && !now.Before(z.retry) {
		timed, cancel := context.WithTimeout(ctx, zonePatience)
		defer cancel()
		found, err := z.ask(timed, missing)
		z.take(missing, found, err)
		if err != nil && ctx.Err() == nil {
			z.log.Warn("the zones of nodes can't be read", "error", err)
		}
	}
	if now.Before(z.retry) && len(z.missing(nodes, now)) > 0 {
		again = z.retry
	}
	for _, at := range z.absent {
		again = soonest(again, at)
	}
	return again
}

// missing are the nodes that are to be asked for.
func (z *zones) missing(nodes []string, now time.Time) []string {
	named := make(map[string]bool, len(nodes))
	for _, node := range nodes {
		named[node] = true
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	maps.DeleteFunc(z.of, func(node, _ string) bool { return !named[node] })
	maps.DeleteFunc(z.absent, func(node string, _ time.Time) bool { return !named[node] })
	var out []string
	for node := range named {
		if _, known := z.of[node]; !known && !now.Before(z.absent[node]) {
			out = append(out, node)
		}
	}
	slices.Sort(out)
	return out
}

// take remembers an answer. Without an error, what was asked for and is not in it does not exist.
func (z *zones) take(asked []string, found map[string]string, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	at := z.clock.Now().Add(zoneRetry)
	if err != nil {
		z.retry = at
	}
	for _, node := range asked {
		zone, there := found[node]
		switch {
		case there:
			z.of[node] = zone
			delete(z.absent, node)
		case err == nil:
			z.absent[node] = at
		}
	}
}

// ask gives the zones of those nodes that there are.
func (z *zones) ask(ctx context.Context, nodes []string) (map[string]string, error) {
	client := z.client.Resource(corev1.SchemeGroupVersion.WithResource("nodes"))
	out := map[string]string{}
	if len(nodes) >= listFrom {
		list, err := client.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return nil, err
		}
		for _, node := range list.Items {
			out[node.Name] = node.Labels[corev1.LabelTopologyZone]
		}
		return out, nil
	}
	for _, name := range nodes {
		node, err := client.Get(ctx, name, metav1.GetOptions{})
		switch {
		case errors.IsNotFound(err):
		case err != nil:
			return out, err
		default:
			out[name] = node.Labels[corev1.LabelTopologyZone]
		}
	}
	return out, nil
}
