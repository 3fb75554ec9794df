package discover

import (
	"strings"

	"github.com/prometheus/prometheus/discovery"
	promkube "github.com/prometheus/prometheus/discovery/kubernetes"
)

// wideAbove is how many namespaces are discovered each on its own, before all are discovered at once. One watch of a cluster costs
// memory for what nobody asked for; many watches of namespaces cost the API server connections.
const wideAbove = 8

// widener turns discoveries of single namespaces into one of all, of which each job sees its own.
type widener struct {
	allowed bool
	// asked are the namespaces that were asked for, by a hash of the rest of the configuration.
	asked map[uint64]map[string]struct{}
}

func newWidener(allowed bool) widener {
	return widener{allowed: allowed, asked: map[uint64]map[string]struct{}{}}
}

// widen returns the configuration to run, and the namespaces whose groups the job is to see; nil for all groups. What has selectors
// stays narrow, because these say what the API server has to send.
func (w *widener) widen(cfg discovery.Config) (discovery.Config, []string) {
	c, ok := cfg.(*promkube.SDConfig)
	if !ok || !w.allowed || c.Role == promkube.RoleNode || len(c.Selectors) > 0 ||
		c.NamespaceDiscovery.IncludeOwnNamespace || len(c.NamespaceDiscovery.Names) == 0 {
		return cfg, nil
	}
	wide := *c
	wide.NamespaceDiscovery = promkube.NamespaceDiscovery{}
	hash := discoveryHash(&wide)
	asked := w.asked[hash]
	if asked == nil {
		asked = map[string]struct{}{}
		w.asked[hash] = asked
	}
	for _, n := range c.NamespaceDiscovery.Names {
		if len(asked) <= wideAbove {
			asked[n] = struct{}{}
		}
	}
	if len(asked) <= wideAbove {
		return cfg, nil
	}
	return &wide, c.NamespaceDiscovery.Names
}

// namespaceOf a group by its source, ROLE/NAMESPACE/NAME.
func namespaceOf(source string) string {
	_, rest, _ := strings.Cut(source, "/")
	namespace, _, _ := strings.Cut(rest, "/")
	return namespace
}
