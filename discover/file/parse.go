package file

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/discover/monitor"
)

const (
	defaultListen = ":8080"
	defaultPeriod = 30 * time.Second

	envNamespace = "OTELCOL_NAMESPACE"
	envInsecure  = "ALLOW_INSECURE_AUTH_SECRETS"

	filterRelabel = "relabel-config"
)

// Parse reads a file. Warnings are about what has no effect. An error names every field that is wrong.
func Parse(data []byte, o Options) (*Config, []string, error) {
	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, nil, fmt.Errorf("read as YAML: %w", err)
	}
	root, ok := tree.(map[string]any)
	if !ok && tree != nil {
		return nil, nil, fmt.Errorf("read as YAML: got %s, want a mapping", kindOf(tree))
	}
	s := &section{findings: &findings{}, fields: root}
	c := &Config{
		Listen:                   s.text("listen_addr", defaultListen),
		Kubeconfig:               s.text("kube_config_file_path", ""),
		Collectors:               s.selector("collector_selector"),
		Namespace:                s.text("collector_namespace", ""),
		Filter:                   s.choice("filter_strategy", filterRelabel, filterRelabel, "") == filterRelabel,
		NotReadyGrace:            s.duration("collector_not_ready_grace_period", defaultPeriod, 0),
		AllowInsecureAuthSecrets: s.boolean("allow_insecure_auth_secrets"),
	}
	c.rules(s)
	c.Jobs = jobs(s, data, o.Path)
	monitors, enabled := monitorsOf(s.section("prometheus_cr"))
	https := s.section("https").boolean("enabled")
	if _, there := s.take("telemetry"); there {
		s.warnings = append(s.warnings, "telemetry: not supported, metrics are served at /metrics")
	}
	s.rest()
	c.override(s, o, &enabled, &https)
	if enabled {
		c.Monitors = monitors
	}
	c.check(s, o, https)
	return c, s.warnings, s.err()
}

// rules reads how targets are allocated. per-node always falls back on least-weighted.
func (c *Config) rules(s *section) {
	const least, hashing, node = string(allocate.LeastWeighted), string(allocate.ConsistentHashing), string(allocate.PerNode)
	c.Rules.Strategy = allocate.Strategy(s.choice("allocation_strategy", hashing, hashing, least, node))
	s.fallback("allocation_fallback_strategy")
	more := s.section("allocation_strategy_config")
	weighted, perNode := more.section("least_weighted"), more.section("per_node")
	c.Rules.Tolerance = weighted.number("tolerance", 100)
	c.Rules.MaxTargets = weighted.whole("max_targets_per_collector")
	c.Rules.Zones = weighted.boolean("zones")
	perNode.fallback("fallback_strategy")
	for _, sub := range []*section{weighted, perNode, more} {
		sub.rest()
	}
}

func (s *section) fallback(name string) {
	const least, hashing = string(allocate.LeastWeighted), string(allocate.ConsistentHashing)
	if s.choice(name, "", "", hashing, least) == hashing {
		s.warnings = append(s.warnings, s.at(name)+": targets that no node can have are always allocated as by "+least)
	}
}

// jobs reads the field config with Prometheus' own code, defaults and checks included.
func jobs(s *section, data []byte, path string) []discover.Job {
	if _, ok := s.take("config"); !ok {
		return nil
	}
	var parts struct {
		Config yaml.Node `yaml:"config"`
	}
	err := yaml.Unmarshal(data, &parts)
	if err == nil {
		data, err = yaml.Marshal(resolved(&parts.Config))
	}
	if err != nil {
		s.problem("config", "%v", err)
		return nil
	}
	out, problems := discover.ParseJobs(data, cmp.Or(path, "config"), filepath.Dir(path))
	for _, err := range problems {
		s.problem("config", "%s", discover.WithoutValues(err.Error()))
	}
	return out
}

// resolved is a copy with what aliases stand for in their places. The library has seen before that not too much comes of that.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return resolved(n.Alias)
	}
	c := *n
	c.Anchor, c.Content = "", make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = resolved(child)
	}
	return &c
}

func monitorsOf(s *section) (*monitor.Selection, bool) {
	defer s.rest()
	enabled := s.boolean("enabled")
	m := &monitor.Selection{
		AllowNamespaces:    s.texts("allow_namespaces", nil),
		DenyNamespaces:     s.texts("deny_namespaces", nil),
		SecretNamespaces:   s.texts("secret_namespaces", nil),
		DenyFileAccess:     s.boolean("deny_fs_access_through_sms"),
		ScrapeInterval:     s.duration("scrape_interval", defaultPeriod, time.Millisecond),
		EvaluationInterval: s.duration("evaluation_interval", defaultPeriod, time.Millisecond),
		ScrapeProtocols:    s.texts("scrape_protocols", defaultScrapeProtocols()),
	}
	for _, p := range m.ScrapeProtocols {
		if err := config.ScrapeProtocol(p).Validate(); err != nil {
			s.problem(s.at("scrape_protocols"), "%v", err)
		}
	}
	for _, kind := range []struct {
		name string
		into *monitor.Selector
	}{{"service_monitor", &m.ServiceMonitors}, {"pod_monitor", &m.PodMonitors}, {"probe", &m.Probes}, {"scrape_config", &m.ScrapeConfigs}} {
		kind.into.Objects = s.selector(kind.name + "_selector")
		kind.into.Namespaces = cmp.Or(s.selector(kind.name+"_namespace_selector"), &metav1.LabelSelector{})
	}
	if v, there := s.take("scrape_classes"); there {
		var classes []monitoringv1.ScrapeClass
		if err := convert(v, &classes); err != nil {
			s.problem(s.at("scrape_classes"), "%v", err)
		}
		m.ScrapeClasses = classes
	}
	if len(m.AllowNamespaces) > 0 && len(m.DenyNamespaces) > 0 {
		s.problem(s.at("deny_namespaces"), "set together with allow_namespaces, want one of them only")
	}
	return m, enabled
}

// override puts in what wins over the file.
func (c *Config) override(s *section, o Options, monitors, https *bool) {
	if o.LookupEnv != nil {
		if ns, ok := o.LookupEnv(envNamespace); ok && ns != "" {
			c.Namespace = ns
		}
		if text, ok := o.LookupEnv(envInsecure); ok && text != "" {
			allow, err := strconv.ParseBool(text)
			if err != nil {
				s.problem("environment variable "+envInsecure, "got %q, want true or false", text)
			}
			c.AllowInsecureAuthSecrets = allow
		}
	}
	c.Listen = cmp.Or(o.Flags.Listen, c.Listen)
	c.Kubeconfig = cmp.Or(o.Flags.Kubeconfig, c.Kubeconfig)
	for _, flag := range []struct {
		set  *bool
		into *bool
	}{{o.Flags.Monitors, monitors}, {o.Flags.HTTPS, https}, {o.Flags.AllowInsecureAuthSecrets, &c.AllowInsecureAuthSecrets}} {
		if flag.set != nil {
			*flag.into = *flag.set
		}
	}
}

// check looks at what only the whole can tell.
func (c *Config) check(s *section, o Options, https bool) {
	if https {
		// To go on without would send over the network in clear what was meant to be protected.
		s.problem("https.enabled", "serving over TLS is not supported by this version; want false")
	}
	if c.Monitors == nil && len(c.Jobs) == 0 && s.err() == nil {
		s.problems = append(s.problems, errors.New("nothing to discover: want prometheus_cr.enabled or config.scrape_configs"))
	}
	if c.Monitors != nil {
		c.Monitors.Namespace = c.Namespace
		if len(c.Monitors.SecretNamespaces) == 0 {
			c.Monitors.SecretNamespaces = []string{c.Namespace}
		}
		if err := c.Monitors.Validate(); err != nil {
			s.problem("prometheus_cr", "%v", err)
		}
	}
	if o.Static {
		return
	}
	if strings.TrimSpace(c.Namespace) == "" {
		s.problem("collector_namespace", "missing; set it, or the environment variable %s", envNamespace)
	}
	if c.Collectors == nil {
		s.warnings = append(s.warnings, "collector_selector: missing, so no pod is a collector and nobody gets targets")
	}
}
