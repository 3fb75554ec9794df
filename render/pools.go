package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otelier/otelier/crds"
)

// Pool is what the allocator has to discover for one prometheus receiver of a collector, and to share out among its pods.
type Pool struct {
	// Receiver is its ID, such as prometheus/x.
	Receiver string
	// Name of the pool, unique in the collector's namespace, and Path below the allocator's address: crds.PoolName, crds.PoolPath.
	Name, Path string
	// Main is true of the one pool that the jobs of monitors belong to.
	Main bool
	// ScrapeConfigs is a YAML document of a mapping with global, where the receiver has it, and scrape_configs: what the collector
	// would read if it scraped by itself. Equal settings give equal bytes. It may hold secrets.
	ScrapeConfigs []byte
	// Withheld are the scrape configs that are left out, in their order.
	Withheld []Withheld
}

// Withheld is a scrape config that can't be shared out. It is on nobody.
type Withheld struct {
	Job     string // its job_name
	Reason  string // crds.ReasonValueUnknown, ReasonFileUnreachable, ReasonJobInvalid or ReasonJobNameTaken
	Message string // begins with the path in the spec, and has no values
}

// Pools are those of c, by the ID of their receiver; none when c does not ask for allocation, or no pipeline has a prometheus
// receiver. All have the same members: c's pods.
//
// An error is one that Collector returns too: the spec is not in use, and what the pools are made of should stay what it was.
func Pools(c *crds.Collector, o Options) ([]Pool, error) {
	in, err := newInput(c, o)
	if err != nil || len(in.receivers) == 0 {
		return nil, err
	}
	env := in.environment()
	var out []Pool
	for _, r := range in.receivers {
		p := Pool{Receiver: r.id, Name: crds.PoolName(in.Name, r.id), Path: in.pool(r), Main: r.main}
		if err := in.fill(&p, r, env); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// fill puts into p what is to be scraped for r.
func (in *input) fill(p *Pool, r receiver, env environment) error {
	tree := map[string]any{}
	global, problem := globals(in.doc.section(r.path("config")...)["global"], env)
	if global != nil {
		tree["global"] = global
	}
	jobs, names := []any{}, map[string]bool{}
	for i, job := range r.jobs {
		w := Withheld{Job: jobName(job, env), Reason: crds.ReasonValueUnknown}
		path := r.path("config", fmt.Sprintf("scrape_configs[%d]", i))
		expanded, err := env.expand(job)
		switch config, isMap := expanded.(map[string]any); {
		case problem != nil:
			err, path = problem, r.path("config", "global")
		case err != nil:
		case !isMap || w.Job == "":
			w.Reason, err = crds.ReasonJobInvalid, errors.New("want a mapping with job_name")
		case names[w.Job]:
			w.Reason, err = crds.ReasonJobNameTaken, errors.New("there is another one with its job_name before")
		default:
			names[w.Job] = true
			if file := discoveryFile(config); file != "" {
				w.Reason, err = crds.ReasonFileUnreachable, fmt.Errorf("%s: a file of the pod, and targets are not discovered there", file)
				break
			}
			in.ownNamespace(config)
			jobs = append(jobs, config)
		}
		if err != nil {
			w.Message = configError(err.Error(), path...).Error()
			p.Withheld = append(p.Withheld, w)
		}
	}
	tree["scrape_configs"] = jobs
	node, err := quotedNode(tree) // quotes make older and newer YAML libraries read the same
	if err != nil {
		return configError(err.Error(), r.path("config")...)
	}
	text, err := encodeYAML(node)
	p.ScrapeConfigs = []byte(text)
	return err
}

// globals is what of config.global has a say in scraping; nil when there is none.
func globals(v any, env environment) (any, error) {
	if global, ok := v.(map[string]any); ok {
		global = maps.Clone(global)
		for _, other := range []string{"external_labels", "evaluation_interval", "rule_query_offset", "query_log_file"} {
			delete(global, other)
		}
		v = global
	}
	return env.expand(v)
}

// jobName is the job_name of a scrape config as far as it is known.
func jobName(job any, env environment) string {
	m, _ := job.(map[string]any)
	name, err := env.expand(m["job_name"])
	if err != nil || name == nil {
		written, _ := m["job_name"].(string)
		return written
	}
	return fmt.Sprint(name)
}

const discoverySuffix = "_sd_configs"

// discoveryFile is the path below a scrape config of something that names a file which discovering targets needs; "" when there is
// none. Files that only scraping needs are read in the collector's pod, as ever.
func discoveryFile(config map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if !strings.HasSuffix(key, discoverySuffix) {
			continue
		}
		if list, _ := config[key].([]any); key == "file"+discoverySuffix && len(list) > 0 {
			return key
		}
		if file := fileBelow(key, config[key]); file != "" {
			return file
		}
	}
	return ""
}

func fileBelow(path string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if s, isText := v[key].(string); isText && s != "" && strings.HasSuffix(key, "_file") {
				return path + "." + key
			}
			if file := fileBelow(path+"."+key, v[key]); file != "" {
				return file
			}
		}
	case []any:
		for i, item := range v {
			if file := fileBelow(fmt.Sprintf("%s[%d]", path, i), item); file != "" {
				return file
			}
		}
	}
	return ""
}

// ownNamespace spells out the namespace that own_namespace means: the collector's, and not that of the process that discovers.
func (in *input) ownNamespace(config map[string]any) {
	list, _ := config["kubernetes"+discoverySuffix].([]any)
	for _, item := range list {
		sd, _ := item.(map[string]any)
		namespaces, _ := sd["namespaces"].(map[string]any)
		if namespaces["own_namespace"] != true {
			continue
		}
		delete(namespaces, "own_namespace")
		names, _ := namespaces["names"].([]any)
		if !slices.Contains(names, any(in.Namespace)) {
			names = append(slices.Clip(names), in.Namespace)
		}
		namespaces["names"] = names
	}
}
