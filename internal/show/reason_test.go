package show

import (
	"testing"

	"github.com/otelier/otelier/reconcile"
)

// TestReason is about what the line of a change says after its name.
func TestReason(t *testing.T) {
	const pod = "pod x-0 is deleted"
	for _, c := range []struct {
		change change
		want   string
	}{
		{change{Action: reconcile.ActionUpdate}, ""},
		{change{Action: reconcile.ActionUpdate, Consequence: pod}, pod},
		{change{Action: reconcile.ActionReplace, Immutable: []string{".a"}, Consequence: pod}, ".a is immutable: deleted and made anew, " + pod},
		{change{Action: reconcile.ActionDelete}, "no longer rendered"},
	} {
		if got := c.change.reason(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.change, got, c.want)
		}
	}
}
