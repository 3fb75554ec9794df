package crds

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnknownAnnotations(t *testing.T) {
	c := &Collector{Annotations: map[string]string{
		AnnotationTolerance: "5%", AnnotationZones: "true", AnnotationMaxTargets: "1", AnnotationTargetWeight: "2", AnnotationReplicasYielded: "3",
		"example.com/allocation-zone":         "of somebody else",
		"otelier.io/max-target-per-collector": "10",
		"otelier.io/Allocation-Zones":         "true",
		"otelier.io/tolerance":                "1",
		"otelier.io/x":                        "",
	}}
	want := []string{
		"metadata.annotations[otelier.io/Allocation-Zones]: not known, and ignored; did you mean otelier.io/allocation-zones?",
		"metadata.annotations[otelier.io/max-target-per-collector]: not known, and ignored; did you mean otelier.io/max-targets-per-collector?",
		"metadata.annotations[otelier.io/tolerance]: not known, and ignored; there are " +
			"otelier.io/allocation-tolerance, otelier.io/allocation-zones, otelier.io/max-targets-per-collector, otelier.io/target-weight",
		"metadata.annotations[otelier.io/x]: not known, and ignored; there are " +
			"otelier.io/allocation-tolerance, otelier.io/allocation-zones, otelier.io/max-targets-per-collector, otelier.io/target-weight",
	}
	if diff := cmp.Diff(want, c.UnknownAnnotations()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeLabelsAndAnnotationsThatAreNotStrings(t *testing.T) {
	for name, tt := range map[string]struct {
		field string
		value any
		want  string
	}{
		"a boolean":             {"annotations", map[string]any{"a": "b", AnnotationZones: true}, "metadata.annotations[otelier.io/allocation-zones]: got a boolean, want a string: put quotes around it"},
		"a number as label":     {"labels", map[string]any{"a": "b", "shard": int64(1)}, "metadata.labels[shard]: got a number, want a string: put quotes around it"},
		"a list of annotations": {"annotations", []any{}, "metadata.annotations: got a list, want an object"},
	} {
		t.Run(name, func(t *testing.T) {
			u := object(t, VersionV1Beta1, `{config: {}}`)
			u.Object["metadata"].(map[string]any)[tt.field] = tt.value
			_, err := Decode(u)
			if field, ok := errors.AsType[*FieldError](err); !ok || field.Error() != tt.want {
				t.Errorf("got error %v, want %s", err, tt.want)
			}
		})
	}
	u := object(t, VersionV1Beta1, `{config: {}}`)
	u.Object["metadata"].(map[string]any)["annotations"] = map[string]any{"a": "b", "null": nil}
	c, err := Decode(u)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "b", "null": ""}, c.Annotations); diff != "" {
		t.Errorf("null is an empty string, as for the API server (-want +got):\n%s", diff)
	}
}
