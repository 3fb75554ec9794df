package show

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/reconcile"
)

// writePatch prints the intents of what would be created, changed or replaced. `kubectl apply --server-side --force-conflicts
// --field-manager=otelier -f -` takes them.
func writePatch(w io.Writer, r *redactor, collectors []Collector) error {
	var b strings.Builder
	for i := range collectors {
		c := &collectors[i]
		if c.Paused || c.Blocked {
			continue
		}
		for _, ch := range c.Changes {
			if shown := newChange(r, ch, c.Results); ch.Want == nil || shown.Error != "" || shown.Action == reconcile.ActionNone {
				continue
			}
			if !reflect.DeepEqual(r.object(ch.ID.Kind, ch.Want.Object), ch.Want.Object) {
				return ErrSecrets
			}
			b.WriteString("---\n")
			if ch.Action == reconcile.ActionReplace {
				fmt.Fprintf(&b, "# To be deleted first, with --cascade=orphan for a StatefulSet: %s can't be changed.\n", strings.Join(ch.Immutable, ", "))
			}
			data, err := yaml.Marshal(withoutUnknownOwners(ch.Want).Object)
			if err != nil {
				return fmt.Errorf("%s: print: %w", ch.ID, err)
			}
			b.Write(data)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// withoutUnknownOwners leaves out owners that are only proposed: without a UID no API server takes them.
func withoutUnknownOwners(u *unstructured.Unstructured) *unstructured.Unstructured {
	owners := u.GetOwnerReferences()
	known := slices.DeleteFunc(slices.Clone(owners), func(o metav1.OwnerReference) bool { return o.UID == "" })
	if len(known) == len(owners) {
		return u
	}
	out := u.DeepCopy()
	out.SetOwnerReferences(known)
	return out
}
