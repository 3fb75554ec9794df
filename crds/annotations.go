package crds

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// AnnotationPrefix begins the names of the annotations that are read here.
const AnnotationPrefix = "otelier.io/"

// knownAnnotations are those with AnnotationPrefix that a collector may have. It may be given the weight for its pods to have it.
func knownAnnotations() []string {
	return []string{AnnotationTolerance, AnnotationZones, AnnotationMaxTargets, AnnotationReplicasYielded, AnnotationTargetWeight}
}

// UnknownAnnotations warns of annotations of c that look as if they were read here but are not, in the order of their names. Each warning
// begins with the field's path.
func (c *Collector) UnknownAnnotations() []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(c.Annotations)) {
		if strings.HasPrefix(key, AnnotationPrefix) && !slices.Contains(knownAnnotations(), key) {
			out = append(out, fmt.Sprintf("metadata.annotations[%s]: not known, and ignored; %s", key, suggestion(key)))
		}
	}
	return out
}

// suggestion names the known annotations that key may be a misspelling of, or those that there is a reason to write.
func suggestion(key string) string {
	distances := map[string]int{}
	best := len(key)
	for _, known := range knownAnnotations() {
		// Case is the likeliest thing to be wrong.
		d := editDistance(strings.ToLower(strings.TrimPrefix(key, AnnotationPrefix)), strings.TrimPrefix(known, AnnotationPrefix))
		distances[known], best = d, min(best, d)
	}
	closest := slices.DeleteFunc(knownAnnotations(), func(known string) bool { return distances[known] > best })
	if best <= (len(key)-len(AnnotationPrefix))/2 {
		return "did you mean " + strings.Join(closest, " or ") + "?"
	}
	return "there are " + strings.Join([]string{AnnotationTolerance, AnnotationZones, AnnotationMaxTargets, AnnotationTargetWeight}, ", ")
}

// editDistance is how many bytes have to be put in, taken out or changed to make b of a (Levenshtein's distance).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// stringsOf reads labels or annotations. As for the API server, null is an empty string. With an error it returns those that can be read.
func stringsOf(u *unstructured.Unstructured, field string) (map[string]string, error) {
	path := "metadata." + field
	v, _, err := unstructured.NestedFieldNoCopy(u.Object, "metadata", field)
	if err != nil {
		return nil, &FieldError{"metadata", err.Error()}
	}
	if v == nil {
		return nil, nil
	}
	entries, ok := v.(map[string]any)
	if !ok {
		return nil, &FieldError{path, fmt.Sprintf("got %s, want an object", jsonType(v))}
	}
	out := make(map[string]string, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		switch text, isText := entries[key].(string); {
		case isText:
			out[key] = text
		case entries[key] == nil:
			out[key] = ""
		case err == nil:
			err = &FieldError{path + "[" + key + "]", fmt.Sprintf("got %s, want a string: put quotes around it", jsonType(entries[key]))}
		}
	}
	return out, err
}
