package discover

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sync"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"k8s.io/utils/clock"
)

const (
	// consulPatience is how long Consul may take for its list of services.
	consulPatience = 10 * time.Second
	// maxCatalog is how large that may be, in bytes.
	maxCatalog = 64 << 20
	// askAgain is how long it is not asked for it once more.
	askAgain = time.Second
)

// consulPicture is for Consul, of which Prometheus watches each service on its own and tells of it on its own. So it has to be known
// which services there are: those of the configuration, or those of Consul's catalog.
type consulPicture struct {
	config *consul.SDConfig
	clock  clock.PassiveClock
	said   func(error)

	mu     sync.Mutex
	seen   map[string]bool // nil when the picture is complete
	wanted []string
	asked  time.Time // when wanted was; zero while it is not known
}

func (*consulPicture) nothing() bool { return false }

func (*consulPicture) failed(string) {}

// complete asks for the services anew as long as one is missing: it may have gone in the meantime.
func (p *consulPicture) complete(sent []*targetgroup.Group) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		return true
	}
	for _, g := range sent {
		if g != nil {
			p.seen[g.Source] = true
		}
	}
	if p.missing() && (p.asked.IsZero() || p.clock.Since(p.asked) >= askAgain) {
		wanted, err := p.services()
		if err != nil {
			p.said(fmt.Errorf("which services there are: %w", err))
			return false
		}
		p.wanted, p.asked = wanted, p.clock.Now()
	}
	if p.missing() {
		return false
	}
	p.seen = nil
	return true
}

func (p *consulPicture) missing() bool {
	return p.asked.IsZero() || slices.ContainsFunc(p.wanted, func(name string) bool { return !p.seen[name] })
}

// services are those that Prometheus watches: see Discovery.Run in prometheus/discovery/consul.
func (p *consulPicture) services() ([]string, error) {
	c := p.config
	if len(c.Services) > 0 && len(c.ServiceTags) == 0 && c.Filter == "" {
		return c.Services, nil
	}
	catalog, err := p.catalog()
	if err != nil {
		return nil, err
	}
	var names []string
	for name, tags := range catalog {
		lacks := func(tag string) bool { return !slices.Contains(tags, tag) }
		if (len(c.Services) == 0 || slices.Contains(c.Services, name)) && !slices.ContainsFunc(c.ServiceTags, lacks) {
			names = append(names, name)
		}
	}
	return names, nil
}

// catalog are the names of services and their tags: https://developer.hashicorp.com/consul/api-docs/catalog#list-services
func (p *consulPicture) catalog() (map[string][]string, error) {
	c := p.config
	ctx, cancel := context.WithTimeout(context.Background(), consulPatience)
	defer cancel()
	query := url.Values{}
	for name, value := range map[string]string{"dc": c.Datacenter, "ns": c.Namespace, "partition": c.Partition, "filter": c.Filter} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, value := range c.NodeMeta {
		query.Add("node-meta", name+":"+value)
	}
	if c.AllowStale {
		query.Set("stale", "")
	}
	address := url.URL{Scheme: cmp.Or(c.Scheme, "http"), Host: c.Server, RawQuery: query.Encode()}
	address.Path = path.Join("/", c.PathPrefix, "/v1/catalog/services")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if c.Token != "" {
		request.Header.Set("X-Consul-Token", string(c.Token))
	}
	client, err := commonconfig.NewClientFromConfig(c.HTTPClientConfig, "consul_sd")
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("consul answers %s", response.Status)
	}
	var out map[string][]string
	if err := json.NewDecoder(io.LimitReader(response.Body, maxCatalog)).Decode(&out); err != nil {
		return nil, fmt.Errorf("the catalog of consul: %w", err)
	}
	return out, nil
}
