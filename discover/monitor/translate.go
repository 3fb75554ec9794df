package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"

	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	promconfig "github.com/prometheus/prometheus/config"

	"github.com/otelier/otelier/discover"
)

// translation is what came of one object with one set of settings.
type translation struct {
	jobs     []discover.Job
	problems []Problem
	// refs are the Secrets and ConfigMaps that were asked for, whether or not they are there.
	refs []assetKey
	// waiting is true when a reference could not be read for the moment.
	waiting bool
	// denied are those of refs that the API server does not let us read.
	denied []assetKey
}

// failure is an error with the reason of the Problem that it becomes.
type failure struct {
	reason string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func invalid(err error) error { return &failure{ReasonInvalid, err} }

// translate makes the jobs of an object. It never fails: what is wrong with the object is in the result.
func (p *profile) translate(ctx context.Context, o *object, source assetSource, log *slog.Logger) (out translation) {
	reader := &reader{source: source, settings: p.settings}
	defer func() {
		if caught := recover(); caught != nil {
			log.Error("translating a monitor failed", "kind", o.kind.String(), "namespace", o.Namespace, "name", o.Name,
				"stack", reader.redact(string(debug.Stack())))
			out = p.rejected(o, reader, &failure{ReasonInternal, fmt.Errorf("translating it failed: %v", caught)})
		}
	}()
	configs, err := p.scrapeConfigs(ctx, o, reader)
	if err != nil {
		return p.rejected(o, reader, err)
	}
	out.refs = reader.refs
	weight, err := o.weight()
	if err != nil {
		out.problems = append(out.problems, o.problem(ReasonWeight, err.Error()))
	}
	for _, config := range configs {
		if why := p.denied(config); why != "" {
			out.problems = append(out.problems, o.problem(ReasonFileAccess, fmt.Sprintf("job %s %s", config.JobName, why)))
			continue
		}
		job, err := discover.NewJob(config, o.source())
		if err != nil {
			return p.rejected(o, reader, invalid(err))
		}
		job.Weight = weight
		out.jobs = append(out.jobs, job)
	}
	return out
}

func (p *profile) rejected(o *object, r *reader, err error) translation {
	reason := ReasonInvalid
	if f, ok := errors.AsType[*failure](err); ok {
		reason = f.reason
	}
	if r.reason != "" {
		reason = r.reason
	}
	return translation{
		refs: r.refs, waiting: r.reason == ReasonUnavailable, denied: r.denied, problems: []Problem{o.problem(reason, r.redact(err.Error()))},
	}
}

func (o *object) problem(reason, message string) Problem {
	return Problem{Kind: o.kind.String(), Namespace: o.Namespace, Name: o.Name, Reason: reason, Message: message}
}

func (o *object) source() string { return o.kind.source() + "/" + o.Namespace + "/" + o.Name }

// scrapeConfigs validates an object and makes what Prometheus reads of it.
func (p *profile) scrapeConfigs(ctx context.Context, o *object, r *reader) ([]*promconfig.ScrapeConfig, error) {
	if o.err != nil {
		return nil, invalid(o.err)
	}
	if p.err != nil {
		return nil, &failure{ReasonSelection, p.err}
	}
	store := assets.NewStoreBuilder(configMaps{r}, secrets{r})
	valid, err := p.check(ctx, o, store)
	if err != nil {
		return nil, err
	}
	if err := p.addClass(ctx, o, store); err != nil {
		return nil, err
	}
	var said complaints
	g, err := p.generator(slog.New(&said))
	if err != nil {
		return nil, &failure{ReasonSelection, err}
	}
	text, err := g.GenerateServerConfiguration(
		&p.server, valid.serviceMonitors, valid.podMonitors, valid.probes, valid.scrapeConfigs, store, nil, nil, nil, nil)
	switch {
	case err != nil:
		return nil, invalid(err)
	case said.first != "":
		return nil, &failure{ReasonMissingReference, errors.New(said.first)}
	}
	return parse(text)
}

func parse(text []byte) ([]*promconfig.ScrapeConfig, error) {
	config, err := promconfig.Load(string(text), slog.New(slog.DiscardHandler))
	if err != nil {
		// A service discovery that is not linked is a field that is not known, and the error quotes the whole type.
		if name := regexp.MustCompile(`field (\w+)_sd_configs not found`).FindStringSubmatch(err.Error()); name != nil {
			return nil, &failure{ReasonUnsupported, fmt.Errorf("service discovery %q is not part of this program", name[1])}
		}
		return nil, invalid(fmt.Errorf("prometheus rejects it: %w", err))
	}
	configs, err := config.GetScrapeConfigs()
	if err != nil {
		return nil, invalid(fmt.Errorf("prometheus rejects it: %w", err))
	}
	return configs, nil
}
