package controlplane_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/otelier/otelier/e2e/controlplane"
)

// notStored has the API server answer what kwok writes to pods with 500, because nothing listens where it would have to ask.
const notStored = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: not-stored}
webhooks:
- name: not-stored.example.com
  admissionReviewVersions: [v1]
  clientConfig: {url: "https://127.0.0.1:1"}
  sideEffects: None
  failurePolicy: Fail
  matchConditions: [{name: kwok, expression: "request.userInfo.username == 'kwok'"}]
  rules: [{apiGroups: [""], apiVersions: [v1], resources: [pods, pods/status], operations: ["*"]}]
`

// testNotStored holds that kwok does not give up what the API server could not carry out.
func testNotStored(t *testing.T, cp *controlplane.ControlPlane) {
	pod := func(name string) string {
		return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {containers: [{name: main, image: example.com/main}]}}`, name)
	}
	apply(t, cp, pod("ends"))
	kubectl(t, cp, "wait", "pod/ends", "--for=condition=Ready", "--timeout=60s")
	since, err := cp.Audit().Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, cp, notStored)
	defer kubectl(t, cp, "delete", "--ignore-not-found", "validatingwebhookconfiguration/not-stored")
	// The API server heeds the webhook shortly after it is there: a pod that comes up or ends before that says nothing.
	refused := func(verb, name string) (yes bool) {
		writes, err := cp.Audit().Writes(t.Context(), since, "kwok/")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range writes {
			yes = yes || w.Verb == verb && w.Resource == "pods" && w.Name == name && w.Code == http.StatusInternalServerError
		}
		return yes
	}
	pods := 0
	name := func() string { return fmt.Sprintf("begins-%d", pods) }
	eventually(t, "a pod that kwok could not make Running", func() error {
		if pods > 0 && refused("patch", name()) {
			return nil
		}
		if pods == 0 || kubectl(t, cp, "get", "pod", name(), "-o", "jsonpath={.status.phase}") == "Running" {
			pods++
			apply(t, cp, pod(name()))
		}
		return fmt.Errorf("%d pods, of which the last is %s", pods, kubectl(t, cp, "get", "pod", name(), "-o", "jsonpath={.status.phase}"))
	})
	kubectl(t, cp, "delete", "pod/ends", "--wait=false")
	eventually(t, "a pod that kwok could not delete", func() error {
		if refused("delete", "ends") {
			return nil
		}
		return fmt.Errorf("not refused")
	})
	kubectl(t, cp, "delete", "validatingwebhookconfiguration/not-stored")
	kubectl(t, cp, "wait", "pod/"+name(), "--for=condition=Ready", "--timeout=60s")
	kubectl(t, cp, "wait", "pod/ends", "--for=delete", "--timeout=60s")
}
