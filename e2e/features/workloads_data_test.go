package features_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

const seedName = "stateful"

// createSeed creates the StatefulSet collector of the examples as users do. It gets a configuration of components that every image has,
// and a container that keeps a file on the volume. All pods are placed on one node: there are volumes that are only there.
func createSeed(t *testing.T, s *steps.Scene) {
	t.Helper()
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(root, "examples", "statefulset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	u := steps.Parse(t, string(manifest))
	for value, path := range map[any][]string{
		configured("one"): {"spec", "config"}, schedulable(t, s)[0]: {"spec", "nodeSelector", "kubernetes.io/hostname"},
	} {
		if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
			t.Fatal(err)
		}
	}
	if err := unstructured.SetNestedSlice(u.Object, []any{keeper(s, "test-volume")}, "spec", "additionalContainers"); err != nil {
		t.Fatal(err)
	}
	data, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, string(data), "apply", "-f", "-")
	s.WaitReady(t, seedName)
}

// TestSeed is the main path with volumes that something is written to.
func TestSeed(t *testing.T) {
	t.Parallel()
	var d *data
	environment.Test(t, steps.Feature("what the pods of a StatefulSet collector have written").
		WithLabel("run", "smoke").
		Setup(steps.In(steps.RealPods, createSeed)).
		Assess("is on a volume of each", steps.In(func(t *testing.T, s *steps.Scene) { d = newData(t, s, 3) })).
		Assess("survives that a pod is deleted", steps.In(func(t *testing.T, _ *steps.Scene) { d.deletePod(t, 1) })).
		Assess("survives that the collector is scaled in and out", steps.In(func(t *testing.T, _ *steps.Scene) {
			d.scale(t, 1)
			d.scale(t, 4)
		})).
		Assess("and their pods survive that an immutable field changes", steps.In(func(t *testing.T, _ *steps.Scene) {
			d.replace(t, `serviceName: elsewhere`)
		})).
		Feature())
}

// TestVolumes goes on where TestSeed ends.
func TestVolumes(t *testing.T) {
	t.Parallel()
	var d *data
	environment.Test(t, steps.Feature("what the pods of a StatefulSet collector have written").
		WithLabel("run", "full").
		Setup(steps.In(steps.RealPods, createSeed)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) { d = newData(t, s, 3) })).
		Assess("survives that several immutable fields change at once", steps.In(func(t *testing.T, s *steps.Scene) {
			d.replace(t, "serviceName: elsewhere\npodManagementPolicy: OrderedReady\n"+seedClaims("2Gi", ""))
			if s.Kubectl(t, "", "get", "storageclass", "standard", "--output", "jsonpath={.allowVolumeExpansion}") != "true" {
				s.WaitCondition(t, seedName, "ClaimsNotExpanded", "True", "ClassNotExpandable", "test-volume-"+d.pod(0), "stays at 1Gi")
			}
		})).
		Assess("survives another claim, for which pods are made anew one by one", steps.In(anotherClaim(&d))).
		Assess("survives that the configuration changes", steps.In(func(t *testing.T, s *steps.Scene) {
			before := d.contents(t)
			s.SetConfig(t, seedName, configured("two"))
			d.wantRolledOut(t, "two", 3)
			d.wantAppended(t, before)
		})).
		Assess("survives that the StatefulSet is deleted by hand", steps.In(func(t *testing.T, s *steps.Scene) {
			before, lives := d.contents(t), d.lives(t)
			s.Delete(t, steps.StatefulSets, d.workload(), metav1.DeletePropagationBackground)
			for pod, was := range lives {
				s.Eventually(t, "another pod "+pod, func() error { return differs(s.Find(t, steps.Pods, pod), was.uid) })
			}
			d.wantRolledOut(t, "two", 3)
			d.wantAppended(t, before)
		})).
		Assess("survives the collector", steps.In(func(t *testing.T, s *steps.Scene) {
			before := d.contents(t)
			s.Delete(t, steps.Collectors, seedName, metav1.DeletePropagationForeground)
			s.Eventually(t, "the end of the collector and its pods", func() error { return d.gone(t) })
			createSeed(t, s)
			d.wantAppended(t, before)
		})).
		Feature())
}

// seedClaims are the templates of the seed with another size, and perhaps another claim.
func seedClaims(size, more string) string {
	out := "volumeClaimTemplates:\n" + seedClaim("test-volume", size)
	if more != "" {
		out += seedClaim(more, size)
	}
	return out
}

func seedClaim(name, size string) string {
	return strings.NewReplacer("NAME", name, "SIZE", size).Replace(
		"- {metadata: {name: NAME}, spec: {accessModes: [ReadWriteOnce], storageClassName: standard, resources: {requests: {storage: SIZE}}}}\n")
}

func anotherClaim(d **data) steps.Act {
	return func(t *testing.T, s *steps.Scene) {
		d := *d
		contents, lives := d.contents(t), d.lives(t)
		s.PatchSpec(t, seedName, seedClaims("2Gi", "more"))
		d.wantRolledOut(t, "one", 3)
		d.wantBound(t, 6)
		d.wantAppended(t, contents)
		wantAmong(t, "claim", d.had, d.claims(t))
		for name, now := range d.lives(t) {
			if now.uid == lives[name].uid {
				t.Errorf("pod %s is the same as before, and has no such volume", name)
			}
		}
		if n := s.CountEvents(t, seedName, "PodDeleted"); n != 3 {
			t.Errorf("%d Events PodDeleted, want one for each of three pods: %v", n, s.Events(t, seedName))
		}
	}
}
