package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/discover"
)

// mostFetched bounds an answer of a pool.
const mostFetched = 4 << 30

// fetchPool asks a pool that is served for its jobs, each with its targets as static ones, and its members. Jobs without targets and
// members without targets are not told.
func fetchPool(ctx context.Context, base string) ([]discover.Job, []allocate.Member, error) {
	base = strings.TrimSuffix(base, "/")
	var configs map[string]json.RawMessage
	if err := fetch(ctx, base+"/scrape_configs", &configs); err != nil {
		return nil, nil, err
	}
	names := map[string]bool{}
	var jobs []discover.Job
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		var shares map[string]struct {
			Targets []servedGroup `json:"targets"`
		}
		if err := fetch(ctx, base+"/jobs/"+url.QueryEscape(name)+"/targets", &shares); err != nil {
			return nil, nil, err
		}
		var groups []*targetgroup.Group
		for _, collector := range slices.Sorted(maps.Keys(shares)) {
			names[collector] = true
			for _, g := range shares[collector].Targets {
				groups = append(groups, g.group(len(groups)))
			}
		}
		job, err := staticJob(name, configs[name], groups)
		if err != nil {
			return nil, nil, err
		}
		jobs = append(jobs, job)
	}
	return jobs, listed(slices.Sorted(maps.Keys(names))), nil
}

// servedGroup is one target as it is served.
type servedGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func (g servedGroup) group(n int) *targetgroup.Group {
	target := model.LabelSet{}
	for name, value := range g.Labels {
		target[model.LabelName(name)] = model.LabelValue(value)
	}
	if len(g.Targets) > 0 {
		target[model.AddressLabel] = model.LabelValue(g.Targets[0])
	}
	return &targetgroup.Group{Targets: []model.LabelSet{target}, Source: fmt.Sprint(n)}
}

// staticJob is a job with targets that were discovered elsewhere.
func staticJob(name string, served []byte, groups []*targetgroup.Group) (discover.Job, error) {
	doc := slices.Concat([]byte(`{"scrape_configs":[`), served, []byte(`]}`))
	jobs, errs := discover.ParseJobs(doc, "the pool", "")
	if len(errs) > 0 || len(jobs) != 1 {
		return discover.Job{}, fmt.Errorf("job %q is not understood: %v", name, errs)
	}
	config := *jobs[0].Config
	config.ServiceDiscoveryConfigs = discovery.Configs{discovery.StaticConfig(groups)}
	return discover.NewJob(&config, "the pool")
}

func fetch(ctx context.Context, from string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body := io.LimitReader(response.Body, mostFetched)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 1<<10))
		return fmt.Errorf("%s: %s: %s", from, response.Status, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return nil
}
