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
	Strategy   string        `help:"Allocation strategy; by default the file's, or the pool's. With --from it is that of then." enum:",least-weighted,consistent-hashing" default:"" placeholder:"STRATEGY"`
	Tolerance  *float64      `help:"By how much a collector may exceed its fair share then, as a fraction; with --from, by default the pool's." placeholder:"FRACTION"`
	MaxTargets *int          `help:"How many targets a collector gets at most then, 0 for no limit; with --from, by default the pool's." placeholder:"N"`
	Timeout    time.Duration `help:"How long to wait for targets." default:"1m"`
	Output     string        `help:"Format: text or json." short:"o" enum:"text,json" default:"text"`
	Kube       kubeFlags     `embed:"" group:"Cluster"`
}

// Validate is called by kong.
func (c *planCmd) Validate() error {
	switch {
	case c.To < 0 || c.Collectors < 0 || c.MaxTargets != nil && *c.MaxTargets < 0 || c.Tolerance != nil && !(*c.Tolerance >= 0):
		return errors.New("--collectors, --to, --tolerance and --max-targets must not be negative")
	case c.From == "" && c.Collectors == 0:
		return errors.New("--collectors N is needed with --config: a file does not say how many there are")
	case c.From != "" && c.File.Config != "" && c.File.Config != defaultConfig:
		return errors.New("--config and --from are set together, want one of them: a file, or a pool that is served")
	case c.From == "" && (c.Tolerance != nil || c.MaxTargets != nil):
		return errors.New("--tolerance and --max-targets are for --from: with --config, the file says them")
	case c.Timeout <= 0:
		return errors.New("--timeout must be positive")
	}
	return nil
}

// Run prints the plan.
func (c *planCmd) Run(ctx context.Context, io streams, log *slog.Logger) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no answer within %v", c.Timeout))
	defer cancel()
	var (
		p   allocationPlan
		err error
	)
	if c.From != "" {
		p, err = c.fromPool(ctx, log)
	} else {
		p, err = c.fromFile(ctx, log)
	}
	if err != nil {
		return err
	}
	return c.print(io, p)
}

// fromPool plans what another number of collectors, or other rules, would change in a pool that is served.
func (c *planCmd) fromPool(ctx context.Context, log *slog.Logger) (allocationPlan, error) {
	export, err := fetchPool(ctx, c.From)
	if err != nil {
		return allocationPlan{}, fmt.Errorf("pool: %w", err)
	}
	jobs, members, rules := export.Pool()
	next := rules
	if c.Strategy != "" {
		next.Strategy = allocate.Strategy(c.Strategy)
	}
	if c.Tolerance != nil {
		next.Tolerance = *c.Tolerance
	}
	if c.MaxTargets != nil {
		next.MaxTargets = *c.MaxTargets
	}
	if err := checkMembers(members); err != nil {
		return allocationPlan{}, err
	}
	from, to, err := c.sizes(members, rules)
	if err != nil {
		return allocationPlan{}, err
	}
	if rules.Zones && len(to) > len(members) {
		log.Warn("the zones of collectors that are not there yet are not known: the plan is as if they had none")
	}
	for _, j := range jobs {
		if j.Unknown {
			log.Warn("the targets of a job are not known yet: the plan is without them", "job", j.Name)
		}
	}
	now := allocate.NewAssigner().Assign(jobs, members, rules)
	differing := export.Differing(now)
	if differing > 0 {
		log.Warn("the pool does not do what its rules say: the plan is not what will happen; report this", "targets", differing)
	}
	p := planFor(jobs, from, to, rules, next)
	p.Differing = differing
	return p, nil
}

// fromFile plans from the targets that a file leads to.
func (c *planCmd) fromFile(ctx context.Context, log *slog.Logger) (allocationPlan, error) {
	config, err := c.File.read("", c.Kube.Kubeconfig, true, log)
	if err != nil {
		return allocationPlan{}, err
	}
	if config.Monitors != nil {
		log.Warn("prometheus_cr is left out of the plan: plan from the pool that is served, with --from")
	}
	rules := config.Rules
	if c.Strategy != "" {
		rules.Strategy = allocate.Strategy(c.Strategy)
	}
	from, to, err := c.sizes(nil, rules)
	if err != nil {
		return allocationPlan{}, err
	}
	jobs, err := c.resolve(ctx, config.Jobs, config.Filter, log)
	if err != nil {
		return allocationPlan{}, err
	}
	return planFor(jobs, from, to, rules, rules), nil
}

// sizes are the members now, as many as --collectors says if it does, and then.
func (c *planCmd) sizes(members []allocate.Member, rules allocate.Rules) (from, to []allocate.Member, err error) {
	if rules.Strategy == allocate.PerNode {
		return nil, nil, errors.New("per-node has a collector on each node: another number of collectors is another number of nodes, which can't be planned")
	}
	if c.Collectors > 0 {
		if members, err = resized(members, c.Collectors); err != nil {
			return nil, nil, err
		}
	}
	to, err = resized(members, c.To)
	return members, to, err
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
	if err == nil && p.Differing > 0 {
		_, err = fmt.Fprintf(io.out, "NOT RELIABLE: %d targets are on another collector now than the rules of the pool say\n", p.Differing)
	}
	return err
}

func count(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}
