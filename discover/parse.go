package discover

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"go.yaml.in/yaml/v3"
)

// ParseJobs reads the blocks global and scrape_configs of a Prometheus configuration, with Prometheus' own code for defaults and
// validity. Errors never quote a value of the document but job_name: it may be a secret. A scrape config that is invalid is left out with an error that names it, and so is one whose job_name has been there; the
// others stay.
//
// source says where the document is from. Relative paths of service discovery are relative to dir. Those of clients stay as they are:
// the files are the collector's.
func ParseJobs(doc []byte, source, dir string) ([]Job, []error) {
	var root yaml.Node
	if err := yaml.Unmarshal(doc, &root); err != nil {
		return nil, []error{fmt.Errorf("%s: %s", source, WithoutValues(err.Error()))}
	}
	if len(root.Content) == 0 {
		return nil, nil
	}
	budget := len(doc) + 100_000
	expanded, err := expand(root.Content[0], &budget, 0)
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", source, err)}
	}
	global, list, errs := blocks(expanded, source)
	if global != nil {
		// An error here would be one of every job.
		if _, err := load(global, nil); err != nil {
			return nil, append(errs, fmt.Errorf("%s: global: %w", source, rejection(err, global)))
		}
	}
	var jobs []Job
	seen := map[string]bool{}
	for i, node := range list {
		job, err := parseJob(global, node, source, dir)
		if err == nil && seen[job.Config.JobName] {
			err = fmt.Errorf("job_name %q is there already", job.Config.JobName)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: scrape_configs[%d]%s: %w", source, i, named(node), err))
			continue
		}
		seen[job.Config.JobName] = true
		jobs = append(jobs, job)
	}
	return jobs, errs
}

// blocks finds the two mappings that count; other ones are errors that stop nothing.
func blocks(doc *yaml.Node, source string) (global *yaml.Node, list []*yaml.Node, errs []error) {
	if doc.Kind == yaml.ScalarNode && doc.Tag == "!!null" {
		return nil, nil, nil
	}
	if doc.Kind != yaml.MappingNode {
		return nil, nil, []error{fmt.Errorf("%s: a mapping with scrape_configs is wanted", source)}
	}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		key, value := doc.Content[i].Value, doc.Content[i+1]
		null := value.Kind == yaml.ScalarNode && value.Tag == "!!null"
		switch {
		case null:
		case key == "global":
			global = value
		case key == "scrape_configs" && value.Kind == yaml.SequenceNode:
			list = append(list, value.Content...)
		case key == "scrape_configs":
			errs = append(errs, fmt.Errorf("%s: scrape_configs: a list is wanted", source))
		default:
			errs = append(errs, fmt.Errorf("%s: %s: no part in discovery of targets, left out", source, key))
		}
	}
	return global, list, errs
}

func parseJob(global, node *yaml.Node, source, dir string) (Job, error) {
	if err := linked(node); err != nil {
		return Job{}, err
	}
	cfg, err := load(global, node)
	if err != nil {
		return Job{}, rejection(err, global, node)
	}
	if len(cfg.ScrapeConfigs) != 1 {
		return Job{}, errors.New("empty or null scrape config section")
	}
	c := cfg.ScrapeConfigs[0]
	c.ServiceDiscoveryConfigs.SetDirectory(dir)
	return NewJob(c, source)
}

// load reads a document made of the two nodes, which are the text as it was: 1.10 stays 1.10 where a string is wanted.
func load(global, node *yaml.Node) (*config.Config, error) {
	doc := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, value *yaml.Node) {
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
	}
	if global != nil {
		add("global", global)
	}
	if node != nil {
		add("scrape_configs", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{node}})
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return config.Load(out.String(), slog.New(slog.DiscardHandler))
}

// linked tells of mechanisms that this binary does not have in better words than "field not found".
func linked(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return nil
	}
	names := discovery.RegisteredConfigNames()
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, isSD := strings.CutSuffix(node.Content[i].Value, "_sd_configs")
		if isSD && !slices.Contains(names, name) {
			return fmt.Errorf("%s_sd_configs: service discovery %q is not built in (there are %s and static_configs)",
				name, name, strings.Join(slices.DeleteFunc(names, func(n string) bool { return n == "static" }), ", "))
		}
	}
	return nil
}

// named is what an error calls a scrape config by besides its number.
func named(node *yaml.Node) string {
	if node.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == "job_name" {
			return fmt.Sprintf(" (job %q)", node.Content[i+1].Value)
		}
	}
	return ""
}

// expand copies a node with what aliases stand for in their places, so that parts of the document can be read alone. budget bounds how
// many nodes come of it.
func expand(n *yaml.Node, budget *int, depth int) (*yaml.Node, error) {
	if *budget--; *budget < 0 || depth > 1000 {
		return nil, errors.New("too much comes of the document's aliases")
	}
	if n.Kind == yaml.AliasNode {
		return expand(n.Alias, budget, depth+1)
	}
	c := *n
	c.Anchor = ""
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		var err error
		if c.Content[i], err = expand(child, budget, depth+1); err != nil {
			return nil, err
		}
	}
	return &c, nil
}
