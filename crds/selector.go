package crds

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// labelSelector returns selector with its fields spelt as those of a label selector. Files of the incumbent's target allocator have
// them in lower case, so case does not count. With asLabels it may also be a map of labels, as in v1alpha1.
//
// What it does not know is a *FieldError rather than left out: a selector with nothing in it selects everything.
func labelSelector(selector map[string]any, path string, asLabels bool) (map[string]any, error) {
	if asLabels && isLabelMap(selector) {
		return labelMap(selector, path)
	}
	want := "want matchLabels and matchExpressions"
	if asLabels {
		want += ", or labels whose values are strings"
	}
	out := make(map[string]any, len(selector))
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		known := selectorField(key)
		_, twice := out[known]
		switch {
		case known == "":
			return nil, &FieldError{path + "." + key, "not a field of a label selector, " + want}
		case twice:
			return nil, &FieldError{path + "." + key, fmt.Sprintf("%s is there in two spellings, want one", known)}
		case selector[key] == nil && key != known: // kubectl and the API server drop the null of a field that they know
			return nil, &FieldError{path + "." + key, "got nothing, " + want}
		}
		out[known] = selector[key]
	}
	return out, nil
}

// selectorField is the field of a label selector that key spells; "" when there is none.
func selectorField(key string) string {
	for _, known := range []string{"matchLabels", "matchExpressions"} {
		if strings.EqualFold(key, known) {
			return known
		}
	}
	return ""
}

// isLabelMap tells a map of labels from a label selector. Values of labels are strings, so a label called matchLabels is
// one too.
func isLabelMap(selector map[string]any) bool {
	for _, v := range selector {
		if _, ok := v.(string); ok {
			return true
		}
	}
	return false
}

// labelMap makes a label selector of labels.
func labelMap(labels map[string]any, path string) (map[string]any, error) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if _, ok := labels[key].(string); !ok {
			return nil, &FieldError{path + "." + key, fmt.Sprintf(
				"got %s beside labels, want a string; or only matchLabels and matchExpressions, with the labels in matchLabels", jsonType(labels[key]))}
		}
	}
	return map[string]any{"matchLabels": labels}, nil
}
