package discover

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
)

// Relabel is what the job makes of the labels that a target is served with: those that its scrapes have, and those that say how it is
// scraped. kept is false when the job drops the target, or Prometheus would refuse it.
func (j *Job) Relabel(before labels.Labels) (after labels.Labels, kept bool) {
	target := make(model.LabelSet, before.Len())
	before.Range(func(l labels.Label) {
		if l.Name != urlLabel {
			target[model.LabelName(l.Name)] = model.LabelValue(l.Value)
		}
	})
	after, err := scrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), j.Config, target, nil)
	if err != nil {
		return labels.EmptyLabels(), false
	}
	return after, !after.IsEmpty()
}
