package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/otelier/otelier/crds"
)

func TestProblemsTellWhatAPersonMustResolveFromWhatPasses(t *testing.T) {
	id := ID{"apps", "Deployment", "ns", "a"}
	gr := schema.GroupResource{Group: "apps", Resource: "deployments"}
	terminating := apierrors.NewForbidden(gr, "a", errors.New("being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Deployment"}, "a", field.ErrorList{
		field.Invalid(field.NewPath("spec", "replicas"), -1, "must be greater than or equal to 0"),
		field.Invalid(field.NewPath("spec", "env"), `hunter2": "x`, "must not: be so"),
		field.Required(field.NewPath("spec", "name"), "a name"),
	})
	tests := map[string]struct {
		err       error
		reason    string
		transient bool
		message   string
	}{
		"refused": {
			invalid, crds.ReasonInvalidSpec, false,
			"deployment/a: refused by the API server: spec.replicas: invalid value: must be greater than or equal to 0; " +
				"spec.env: invalid value: must not: be so; spec.name: Required value: a name",
		},
		"forbidden":               {apierrors.NewForbidden(gr, "a", errors.New("no")), crds.ReasonForbidden, false, ""},
		"namespace goes away":     {terminating, crds.ReasonRetrying, true, "deployment/a: apply: the namespace is being deleted"},
		"conflict":                {apierrors.NewConflict(gr, "a", errors.New("no")), crds.ReasonRetrying, true, ""},
		"server is not there":     {errors.New("connection refused"), crds.ReasonRetrying, true, "deployment/a: apply: connection refused"},
		"connection breaks":       {errors.New("read tcp 10.0.0.1:41234->10.0.0.2:443: reset"), crds.ReasonRetrying, true, "deployment/a: apply: read tcp 10.0.0.2:443: reset"},
		"already told as problem": {fmt.Errorf("x: %w", &Problem{Reason: crds.ReasonOwnershipConflict, Message: "m"}), crds.ReasonOwnershipConflict, false, "m"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := apiProblem("apply", id, tt.err)
			if p.Reason != tt.reason || p.Transient != tt.transient {
				t.Errorf("got %+v, want reason %s, transient %v", p, tt.reason, tt.transient)
			}
			if tt.message != "" && p.Message != tt.message {
				t.Errorf("message is\n%s\nwant\n%s", p.Message, tt.message)
			}
			if strings.Contains(p.Message, "hunter2") {
				t.Errorf("message shows the refused value: %s", p.Message)
			}
		})
	}
}

func TestWorstProblemLeadsAndTransientOnesAreTriedAgain(t *testing.T) {
	err := worst([]error{
		&Problem{Reason: crds.ReasonRetrying, Message: "b", Transient: true},
		&Problem{Reason: crds.ReasonForbidden, Message: "c"},
		errors.New("a"),
	})
	p, ok := errors.AsType[*Problem](err)
	if !ok || p.Reason != crds.ReasonForbidden || p.Message != "c; a; b" || !p.Transient {
		t.Errorf("got %+v, want Forbidden, transient, with all messages", err)
	}
	if err := worst(nil); err != nil {
		t.Errorf("no problems give %v", err)
	}
}

func TestSpecProblemsOfTheConfigAreToldApart(t *testing.T) {
	for path, want := range map[string]string{
		"spec.config.receivers": crds.ReasonInvalidConfig, "spec.replicas": crds.ReasonInvalidSpec,
	} {
		if p := specProblem(&crds.FieldError{Path: path, Detail: "x"}); p.Reason != want || !strings.HasPrefix(p.Message, path) {
			t.Errorf("%s: got %+v, want reason %s", path, p, want)
		}
	}
}
