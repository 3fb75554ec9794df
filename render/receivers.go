package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otelier/otelier/crds"
)

// receiver is a prometheus receiver that a pipeline uses. Each has a pool of its own, so that its jobs come in where they were
// written, and no two receivers scrape the same.
type receiver struct {
	id   string
	main bool  // gets the jobs of monitors too
	jobs []any // config.scrape_configs, as written
}

// path is where the receiver is in the configuration, and below it.
func (r receiver) path(below ...string) []string {
	return append([]string{"receivers", r.id}, below...)
}

func isPrometheus(id string) bool {
	kind, _, _ := strings.Cut(id, "/")
	return kind == crds.ReceiverPrometheus
}

// allocate makes the prometheus receivers ask the allocator for their jobs. Those that no pipeline uses do too, although they never
// run, so that what they scrape can be changed without making pods roll.
func (in *input) allocate() error {
	var err error
	if in.allocation, err = in.Allocation(); err != nil || in.allocation == nil {
		return err
	}
	if in.options.AllocatorURL == "" {
		return &crds.FieldError{Path: "spec.targetAllocator.enabled", Detail: "true, but the operator was started without --allocator-url"}
	}
	if err := in.checkPodName(); err != nil {
		return err
	}
	ids := slices.DeleteFunc(slices.Sorted(maps.Keys(in.doc.section("receivers"))), func(id string) bool { return !isPrometheus(id) })
	if len(ids) == 0 {
		return in.incomplete("no prometheus receiver, want one for spec.targetAllocator to give targets to: prometheus, or prometheus/NAME", "receivers")
	}
	used := slices.DeleteFunc(in.doc.used("receivers"), func(id string) bool { return !isPrometheus(id) })
	for _, id := range ids {
		r := receiver{id: id, main: len(used) > 0 && id == mainReceiver(used)}
		if err := in.readReceiver(&r); err != nil {
			return err
		}
		in.rewrite(r)
		if slices.Contains(used, id) {
			in.receivers = append(in.receivers, r)
		}
	}
	return in.checkJobs(ids)
}

// mainReceiver is the one that the jobs of monitors go to: prometheus, or the first of the others.
func mainReceiver(used []string) string {
	if slices.Contains(used, crds.ReceiverPrometheus) {
		return crds.ReceiverPrometheus
	}
	return used[0]
}

// incomplete is an error, or a warning when --set may add what is missing.
func (in *input) incomplete(detail string, path ...string) error {
	err := configError(detail, path...)
	if in.completedByArgs() {
		in.warnings = append(in.warnings, err.Error())
		return nil
	}
	return err
}

// checkPodName finds a POD_NAME that is not the pod's name, which is what the allocator knows a collector by.
func (in *input) checkPodName() error {
	for _, e := range in.env() {
		if deref(e.Name) != crds.EnvPodName {
			continue
		}
		if e.ValueFrom == nil || e.ValueFrom.FieldRef == nil || deref(e.ValueFrom.FieldRef.FieldPath) != "metadata.name" {
			return &crds.FieldError{Path: "spec.env", Detail: crds.EnvPodName +
				" is not the pod's name, which a collector asks for its targets with; leave it out, or use fieldRef metadata.name"}
		}
	}
	return nil
}

// readReceiver takes the scrape configs of r from the configuration. What is not written there but only known in the pod can't be
// shared out.
func (in *input) readReceiver(r *receiver) error {
	for _, path := range [][]string{r.path(), r.path("config"), r.path("target_allocator")} {
		if m := in.doc.section(path[:len(path)-1]...); m[path[len(path)-1]] != nil {
			if _, ok := m[path[len(path)-1]].(map[string]any); !ok {
				return configError("want a mapping, written out: what it gets its targets by is rewritten", path...)
			}
		}
	}
	switch jobs := in.doc.section(r.path("config")...)["scrape_configs"].(type) {
	case nil:
	case []any:
		r.jobs = jobs
	default:
		return configError("want a list of scrape configs, written out", r.path("config", "scrape_configs")...)
	}
	return nil
}

// rewrite replaces the scrape configs of r by the allocator. Other keys stay, but for those that say how to ask it.
func (in *input) rewrite(r receiver) {
	config, own := in.doc.section(r.path("config")...), in.doc.section(r.path("target_allocator")...)
	if _, ok := config["scrape_configs"]; ok {
		in.doc.remove(r.path("config", "scrape_configs")...)
	}
	if config["scrape_config_files"] != nil {
		in.warnings = append(in.warnings, configError("read in every pod, so what is in them is scraped by all; write it into scrape_configs",
			r.path("config", "scrape_config_files")...).Error())
	}
	for _, set := range []struct{ key, value string }{
		{"endpoint", in.options.AllocatorURL + in.pool(r)},
		{"interval", in.allocation.ReloadInterval.String()},
		{"collector_id", "${env:" + crds.EnvPodName + "}"},
	} {
		if old, ok := own[set.key]; ok && old != set.value {
			in.warnings = append(in.warnings, configError("ignored, the operator sets it", r.path("target_allocator", set.key)...).Error())
		}
		in.doc.set(set.value, r.path("target_allocator", set.key)...)
	}
	if own["http_scrape_config"] != nil {
		// prometheusreceiver, internal/targetallocator/manager.go
		in.warnings = append(in.warnings, configError("put by the receiver in the place of what every job says of TLS, credentials and proxies",
			r.path("target_allocator", "http_scrape_config")...).Error())
	}
	if own["timeout"] == nil {
		in.doc.set(pollTimeout, r.path("target_allocator", "timeout")...)
	}
}

// pollTimeout is how long a collector waits for its jobs, unless its configuration says otherwise. A receiver that is told nothing waits
// for ever (its HTTP client has no timeout): when the network swallows a request, it hears of new jobs only after the kernel has given the
// connection up, which by default takes a quarter of an hour (net.ipv4.tcp_retries2).
const pollTimeout = "30s"

// pool is the path of r's pool below the allocator's address.
func (in *input) pool(r receiver) string {
	return crds.PoolPath(in.Namespace, crds.PoolName(in.Name, r.id))
}

// checkJobs finds receivers that nothing is there to scrape for. ids are those of all prometheus receivers.
func (in *input) checkJobs(ids []string) error {
	if len(in.receivers) == 0 {
		in.warnings = append(in.warnings, configError(fmt.Sprintf("no pipeline uses %s, so nothing is scraped", strings.Join(ids, " or ")), "service", "pipelines").Error())
		return nil
	}
	var main receiver
	found, configured := 0, false
	for _, r := range in.receivers {
		found += len(r.jobs)
		configured = configured || in.doc.section(r.path()...)["config"] != nil
		if r.main {
			main = r
		}
	}
	if found == 0 && in.allocation.Monitors == nil {
		const missing = "missing, want at least one scrape config, or spec.targetAllocator.prometheusCR.enabled"
		if configured {
			return in.incomplete(missing, main.path("config", "scrape_configs")...)
		}
		in.warnings = append(in.warnings, configError(missing, main.path("config", "scrape_configs")...).Error())
		return nil
	}
	for _, r := range in.receivers {
		if len(r.jobs) == 0 && (!r.main || in.allocation.Monitors == nil) {
			why := "no scrape configs, so it gets no targets"
			if in.allocation.Monitors != nil {
				why += "; those of monitors go to " + main.id
			}
			in.warnings = append(in.warnings, configError(why, r.path()...).Error())
		}
	}
	return nil
}
