package discover

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"
)

// shardVariable is what prometheus-operator writes into relabel rules and what the collector's receiver replaces by the environment
// variable SHARD, or by 0. Here there is one shard: collectors share targets by other means.
const (
	shardVariable = "$(SHARD)"
	shard         = "0"
)

// NewJob makes a job of a scrape configuration that config.Load or [config.ScrapeConfig.Validate] has accepted. source says where it
// is from, for people.
//
// Served has what the collector needs to scrape, with secrets in clear. It does not have the service discovery: the collector's
// receiver replaces that anyway, and so the secrets in it never leave the process.
func NewJob(cfg *config.ScrapeConfig, source string) (Job, error) {
	if cfg == nil || cfg.JobName == "" {
		return Job{}, fmt.Errorf("%s: scrape config has no job_name", source)
	}
	c := *cfg
	rules, err := oneShard(cfg.RelabelConfigs)
	if err != nil {
		return Job{}, fmt.Errorf("job %q of %s: %w", cfg.JobName, source, err)
	}
	c.RelabelConfigs = rules
	served, secrets, err := serve(&c)
	if err != nil {
		return Job{}, fmt.Errorf("job %q of %s: %w", cfg.JobName, source, err)
	}
	h := xxhash.New()
	writePart(h, served)
	writePart(h, []byte(source))
	for _, sd := range c.ServiceDiscoveryConfigs {
		_, _ = fmt.Fprintf(h, "%x", discoveryHash(sd))
	}
	return Job{Config: &c, Served: served, Hash: h.Sum64(), Source: source, Secret: secrets}, nil
}

// serve renders the configuration as Prometheus does, with secrets in the places of their placeholders.
func serve(cfg *config.ScrapeConfig) (served []byte, secret bool, err error) {
	c := *cfg
	c.ServiceDiscoveryConfigs = nil
	found := secretsOf(&c)
	c.RelabelConfigs = slices.Concat(guards(cfg, found), cfg.RelabelConfigs)
	raw, err := yaml.Marshal(&c)
	if err != nil {
		return nil, false, fmt.Errorf("scrape config cannot be rendered: %w", err)
	}
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, false, fmt.Errorf("scrape config cannot be read back: %w", err)
	}
	tree = stringKeys(tree)
	for _, s := range found {
		if err := put(tree, s.path, s.value); err != nil {
			return nil, false, fmt.Errorf("secret at %s: %w", s, err)
		}
	}
	object, _ := tree.(map[string]any)
	dropRegex(object["relabel_configs"])
	dropRegex(object["metric_relabel_configs"])
	if err := validText(tree); err != nil {
		return nil, false, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return nil, false, fmt.Errorf("scrape config cannot be rendered: %w", err)
	}
	return escapeForYAML(bytes.TrimRight(out.Bytes(), "\n")), len(found) > 0, nil
}

// oneShard replaces $(SHARD) in rules. Rules without it are the same pointers.
func oneShard(rules []*relabel.Config) ([]*relabel.Config, error) {
	out := slices.Clone(rules)
	for i, r := range rules {
		inRegex := strings.Contains(r.Regex.String(), shardVariable)
		if !inRegex && !strings.Contains(r.Replacement, shardVariable) {
			continue
		}
		c := *r
		c.Replacement = strings.ReplaceAll(c.Replacement, shardVariable, shard)
		if inRegex {
			re, err := relabel.NewRegexp(strings.ReplaceAll(r.Regex.String(), shardVariable, shard))
			if err != nil {
				return nil, fmt.Errorf("relabel rule %d: %w", i, err)
			}
			c.Regex = re
		}
		out[i] = &c
	}
	return out, nil
}

// guards are rules that the collector applies before the job's own, and that undo what its way of getting targets adds.
//
// The http_sd client labels every target with __meta_url, the URL it asked, whatever that label was before: a job whose rules could
// see it gets the original one back, from [urlLabel]. And the receiver takes a configuration for unchanged in which nothing but a
// secret has changed, because it compares what it would print: a rule without effect that is named after the secrets tells it.
func guards(cfg *config.ScrapeConfig, secrets []secret) []*relabel.Config {
	var rules []*relabel.Config
	if seesURL(cfg.RelabelConfigs) {
		restore := relabel.DefaultRelabelConfig
		restore.SourceLabels = append(restore.SourceLabels, urlLabel)
		restore.TargetLabel = metaURL
		rules = append(rules, &restore, dropLabel(urlLabel))
	}
	if len(secrets) > 0 {
		rules = append(rules, dropLabel("__tmp_otelier_revision_"+revision(cfg.JobName, secrets)))
	}
	return rules
}

const (
	// metaURL is what Prometheus' http_sd client overwrites.
	metaURL = "__meta_url"
	// urlLabel carries the original one to the collector.
	urlLabel = "__tmp_otelier_url"
)

func dropLabel(name string) *relabel.Config {
	r := relabel.DefaultRelabelConfig
	r.Action = relabel.LabelDrop
	r.Regex = relabel.MustNewRegexp(name)
	return &r
}

// seesURL is true when the outcome of the rules can depend on the label __meta_url, or on the one that carries it.
func seesURL(rules []*relabel.Config) bool {
	return slices.ContainsFunc(rules, func(r *relabel.Config) bool {
		if r.Action == relabel.LabelMap {
			return r.Regex.MatchString(metaURL) || r.Regex.MatchString(urlLabel)
		}
		return slices.Contains(r.SourceLabels, metaURL) || r.TargetLabel == metaURL
	})
}

// revision is short on purpose: it tells that a secret has changed, and nothing that would help to find it.
func revision(job string, secrets []secret) string {
	h := sha256.New()
	writePart(h, []byte(job))
	for _, s := range secrets {
		writePart(h, []byte(s.String()))
		writePart(h, []byte(s.value))
	}
	return hex.EncodeToString(h.Sum(nil))[:5]
}

// discoveryHash is of everything in a discovery's configuration, secrets included.
func discoveryHash(c discovery.Config) uint64 {
	h := xxhash.New()
	writePart(h, []byte(c.Name()))
	if static, ok := c.(discovery.StaticConfig); ok {
		for _, g := range static {
			// String sorts the labels, which are maps.
			writePart(h, []byte(g.Source+g.Labels.String()))
			for _, t := range g.Targets {
				writePart(h, []byte(t.String()))
			}
		}
		return h.Sum64()
	}
	raw, err := yaml.Marshal(c)
	if err != nil {
		// Nothing that was read cannot be written; and if so, equality decides.
		return h.Sum64()
	}
	writePart(h, raw)
	for _, s := range secretsOf(c) {
		writePart(h, []byte(s.value))
	}
	return h.Sum64()
}

func writePart(h hash.Hash, part []byte) {
	_, _ = fmt.Fprintf(h, "%d:", len(part))
	_, _ = h.Write(part)
}

// dropRegex takes regex out of rules that may not have it: Prometheus prints the default one and then refuses to read it,
// https://github.com/prometheus/prometheus/issues/12534.
func dropRegex(rules any) {
	list, _ := rules.([]any)
	for _, r := range list {
		rule, _ := r.(map[string]any)
		if a := rule["action"]; a == string(relabel.KeepEqual) || a == string(relabel.DropEqual) {
			delete(rule, "regex")
		}
	}
}

func validText(tree any) error {
	switch v := tree.(type) {
	case string:
		if !utf8.ValidString(v) {
			return errors.New("text that is not UTF-8 cannot be handed to a collector")
		}
	case []any:
		for i, e := range v {
			if err := validText(e); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case map[string]any:
		for k, e := range v {
			if !utf8.ValidString(k) {
				return errors.New("text that is not UTF-8 cannot be handed to a collector")
			}
			if err := validText(e); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
	}
	return nil
}
