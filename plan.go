package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/discover"
)

type planCmd struct {
	File       fileFlags     `embed:""`
	From       string        `help:"Address of a pool that is served, such as http://otelier.otelier-system.svc/pools/NAMESPACE/NAME, instead of a file." placeholder:"URL"`
	Collectors int           `help:"Number of collectors now; with --from that of the pool." placeholder:"N"`
	To         int           `help:"Number of collectors then." required:"" placeholder:"N"`
	Strategy   string        `help:"Allocation strategy; by default the file's, or least-weighted with --from." enum:",least-weighted,consistent-hashing" default:"" placeholder:"STRATEGY"`
	Tolerance  float64       `help:"By how much a collector may exceed its fair share, as a fraction; with --from." default:"0"`
	MaxTargets int           `help:"How many targets a collector gets at most, 0 for no limit; with --from." default:"0"`
	Timeout    time.Duration `help:"How long to wait for targets." default:"1m"`
	Output     string        `help:"Format: text or json." short:"o" enum:"text,json" default:"text"`
	Kube       kubeFlags     `embed:"" group:"Cluster"`
}

// Validate is called by kong.
func (c *planCmd) Validate() error {
	switch {
	case c.To < 0 || c.Collectors < 0 || c.MaxTargets < 0 || c.Tolerance < 0:
		return errors.New("--collectors, --to, --tolerance and --max-targets must not be negative")
	case c.From == "" && c.Collectors == 0:
		return errors.New("--collectors is needed, but for --from")
	case c.Timeout <= 0:
		return errors.New("--timeout must be positive")
	}
	return nil
}

// Run prints the plan.
func (c *planCmd) Run(ctx context.Context, io streams, log *slog.Logger) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no answer within %v", c.Timeout))
	defer cancel()
	jobs, members, rules, err := c.gather(ctx, log)
	if err != nil {
		return err
	}
	if c.Strategy != "" {
		rules.Strategy = allocate.Strategy(c.Strategy)
	}
	if rules.Strategy == allocate.PerNode {
		return errors.New("per-node has a collector on each node: another number of collectors is another number of nodes, which can't be planned")
	}
	if c.Collectors > 0 {
		if members, err = resized(members, c.Collectors); err != nil {
			return err
		}
	}
	then, err := resized(members, c.To)
	if err != nil {
		return err
	}
	return c.print(io, planFor(jobs, members, then, rules))
}

// gather finds the jobs with their targets, and the members as far as they are known.
func (c *planCmd) gather(ctx context.Context, log *slog.Logger) ([]*allocate.Job, []allocate.Member, allocate.Rules, error) {
	if c.From != "" {
		jobs, members, err := fetchPool(ctx, c.From)
		if err != nil {
			return nil, nil, allocate.Rules{}, fmt.Errorf("pool %s: %w", c.From, err)
		}
		found, err := c.resolve(ctx, jobs, false, log)
		return found, members, allocate.Rules{Tolerance: c.Tolerance, MaxTargets: c.MaxTargets}, err
	}
	config, err := c.File.read("", c.Kube.Kubeconfig, true, log)
	if err != nil {
		return nil, nil, allocate.Rules{}, err
	}
	if config.Monitors != nil {
		log.Warn("prometheus_cr is left out of the plan: plan from the pool that is served, with --from")
	}
	found, err := c.resolve(ctx, config.Jobs, config.Filter, log)
	return found, nil, config.Rules, err
}

// resolve discovers the targets of jobs once.
func (c *planCmd) resolve(ctx context.Context, jobs []discover.Job, filter bool, log *slog.Logger) ([]*allocate.Job, error) {
	cluster, _, err := c.Kube.config()
	if err != nil {
		cluster = nil // only service discovery in a cluster needs one, and says so
	}
	providers, err := discover.NewProviders(discover.ProvidersOptions{Log: log, Kube: cluster})
	if err != nil {
		return nil, err
	}
	var found []*allocate.Job
	discovering, done := context.WithCancel(ctx)
	defer done()
	known := false
	targets := providers.NewTargets(discover.TargetsOptions{
		Filter: filter, Log: log, Clock: clock.RealClock{}, Deadline: c.Timeout,
		Publish: func(jobs []*allocate.Job) {
			if !known {
				found, known = jobs, true
				done()
			}
		},
	})
	targets.SetJobs(jobs)
	if err := together(discovering, providers.Run, targets.Run); err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("targets of %s: %w", strings.Join(targets.Waiting(), ", "), context.Cause(ctx))
	}
	return found, nil
}

func (c *planCmd) print(io streams, p allocationPlan) error {
	if c.Output == "json" {
		enc := json.NewEncoder(io.out)
		enc.SetIndent("", "  ")
		return enc.Encode(p)
	}
	from, to := 0, 0
	w := tabwriter.NewWriter(io.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "now\tthen\t\tcollector")
	for _, r := range p.Collectors {
		if r.From != nil {
			from++
		}
		if r.To != nil {
			to++
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t\t%s\n", count(r.From), count(r.To), r.Name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	share := 0.0
	if p.Targets > 0 {
		share = 100 * float64(p.Moves.Total) / float64(p.Targets)
	}
	_, err := fmt.Fprintf(io.out, "%d targets of %d jobs, %s, from %d to %d collectors: %d move (%.1f %%), %d of them between collectors that stay\n",
		p.Targets, p.Jobs, p.Strategy, from, to, p.Moves.Total, share, p.Moves.Between)
	if err == nil && p.Unassigned.From+p.Unassigned.To > 0 {
		_, err = fmt.Fprintf(io.out, "on no collector: %d now, %d then\n", p.Unassigned.From, p.Unassigned.To)
	}
	return err
}

func count(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}
