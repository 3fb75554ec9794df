package member

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/utils/clock"
)

const (
	// listFrom is from how many nodes that are not known on all are listed rather than those asked for one by one.
	listFrom = 8
	// zonePatience bounds what membership waits for zones, and zoneRetry is when a failure is tried again.
	zonePatience = 5 * time.Second
	zoneRetry    = time.Minute
)

// zones remembers where nodes are. A node stays in its zone, so nothing is watched.
type zones struct {
	client metadata.Interface
	clock  clock.PassiveClock
	log    *slog.Logger

	mu    sync.Mutex
	of    map[string]string
	retry time.Time
}

func newZones(client metadata.Interface, c clock.PassiveClock, log *slog.Logger) *zones {
	return &zones{client: client, clock: c, log: log, of: map[string]string{}}
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

// learn finds the zones of those nodes that it does not know. What can't be found is left out.
func (z *zones) learn(ctx context.Context, nodes []string) {
	if z == nil {
		return
	}
	known := z.known()
	var missing []string
	for _, node := range nodes {
		if _, ok := known[node]; !ok {
			missing = append(missing, node)
		}
	}
	if len(missing) == 0 || z.clock.Now().Before(z.retry) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, zonePatience)
	defer cancel()
	found, err := z.ask(ctx, missing)
	z.mu.Lock()
	maps.Copy(z.of, found)
	z.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		z.log.Warn("the zones of nodes can't be read", "error", err)
	}
	if err != nil {
		z.retry = z.clock.Now().Add(zoneRetry)
	}
}

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
		if err != nil {
			return out, err
		}
		out[name] = node.Labels[corev1.LabelTopologyZone]
	}
	return out, nil
}
