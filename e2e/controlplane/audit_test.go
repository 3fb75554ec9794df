package controlplane_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/e2e/controlplane"
)

func testAudit(t *testing.T, cp *controlplane.ControlPlane) {
	const client = "controlplane-test/"
	ctx, audit := t.Context(), cp.Audit()
	configMaps := clientset(t, cp).CoreV1().ConfigMaps(metav1.NamespaceDefault)
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "audited"}}
	create := func() error {
		_, err := configMaps.Create(ctx, configMap, metav1.CreateOptions{FieldManager: "tester"})
		return err
	}
	if err := configMaps.Delete(ctx, "before", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	since, err := audit.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}

	if err := create(); err != nil {
		t.Fatal(err)
	}
	if err := create(); !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if err := configMaps.Delete(ctx, "missing", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	orphan, uid := metav1.DeletePropagationOrphan, types.UID("other")
	err = configMaps.Delete(ctx, "audited", metav1.DeleteOptions{
		PropagationPolicy: &orphan, Preconditions: &metav1.Preconditions{UID: &uid}, DryRun: []string{metav1.DryRunAll},
	})
	if !apierrors.IsConflict(err) {
		t.Fatal(err)
	}
	if _, err := configMaps.List(ctx, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	apply(t, cp, deployment, "--dry-run=server")

	writes, err := audit.Writes(ctx, since, client)
	if err != nil {
		t.Fatal(err)
	}
	write := controlplane.Write{
		Verb: "create", Resource: "configmaps", Namespace: "default", Name: "audited", Code: http.StatusCreated,
		FieldManager: "tester", User: "kubernetes-admin", UserAgent: client + "1",
	}
	conflict, missing := write, write
	conflict.Code = http.StatusConflict
	missing.Verb, missing.Name, missing.Code, missing.FieldManager = "delete", "missing", http.StatusNotFound, ""
	precise := missing
	precise.Name, precise.Code = "audited", http.StatusConflict
	precise.DryRun, precise.Propagation, precise.PreconditionUID = true, string(orphan), string(uid)
	if want := []controlplane.Write{write, conflict, missing, precise}; !slices.Equal(writes, want) {
		t.Errorf("writes\n%+v, want\n%+v", writes, want)
	}
	if got := controlplane.Persisted(writes); !slices.Equal(got, writes[:1]) {
		t.Errorf("stored are %v, want the first of %v", got, writes)
	}
	counts, want := controlplane.Counts(writes), map[string]int{"create configmaps": 2, "delete configmaps": 2}
	if !maps.Equal(counts, want) {
		t.Errorf("counts %v, want %v", counts, want)
	}

	dry, err := audit.Writes(ctx, since, "kubectl/")
	if err != nil {
		t.Fatal(err)
	}
	if len(dry) != 1 || dry[0].String() != "patch deployments.apps" || !dry[0].DryRun || len(controlplane.Persisted(dry)) > 0 {
		t.Errorf("of kubectl %+v, want one dry run of an apply", dry)
	}
	testAuditOfSubresources(t, cp)
}

func testAuditOfSubresources(t *testing.T, cp *controlplane.ControlPlane) {
	since, err := cp.Audit().Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, cp, deployment)
	kubectl(t, cp, "rollout", "status", "deployment/web", "--timeout=60s")
	writes, err := cp.Audit().Writes(t.Context(), since, "")
	if err != nil {
		t.Fatal(err)
	}
	counts := controlplane.Counts(writes)
	for _, want := range []string{"patch deployments.apps", "create replicasets.apps", "patch pods/status", "create pods/binding"} {
		if counts[want] == 0 {
			t.Errorf("no %q among %v", want, counts)
		}
	}
	nothing, err := cp.Audit().Writes(t.Context(), since, "nobody/")
	if err != nil || len(nothing) > 0 {
		t.Errorf("of a client that does not exist: %v, %v", nothing, err)
	}
}
