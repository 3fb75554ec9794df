package reconcile

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/crds"
)

// A Problem is why a pass could not do all that it had to.
type Problem struct {
	// Reason is one of crds.Reason….
	Reason string
	// Message names the object or the field, and what is wrong with it.
	Message string
	// Transient problems are tried again soon; the others when the collector changes, and now and then.
	Transient bool
	// After is when the API server has asked to be asked again; 0 when it has not.
	After time.Duration
}

// asProblem is err as a Problem: one that passes, unless it says otherwise.
func asProblem(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	return &Problem{Reason: crds.ReasonRetrying, Message: err.Error(), Transient: true}
}

func (p *Problem) Error() string { return p.Message }

// specProblem is about the collector itself: what it says can't be read or rendered.
func specProblem(err error) *Problem {
	p := &Problem{Reason: crds.ReasonInvalidSpec, Message: err.Error()}
	if field, ok := errors.AsType[*crds.FieldError](err); ok && strings.HasPrefix(field.Path, "spec.config") {
		p.Reason = crds.ReasonInvalidConfig
	}
	return p
}

// apiProblem is what the API server answered to doing something with an object. Refusals that only a person can resolve are
// told from those that pass.
func apiProblem(verb string, id ID, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	// The port that a connection happened to have would make each try a new message, and so a status write and another pass.
	text := regexp.MustCompile(`\S+:\d+->`).ReplaceAllString(err.Error(), "")
	p := &Problem{Reason: crds.ReasonRetrying, Message: fmt.Sprintf("%s: %s: %s", id, verb, text), Transient: true}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		p.After = time.Duration(seconds) * time.Second
	}
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		p.Message = fmt.Sprintf("%s: %s: the namespace is being deleted", id, verb)
	case apierrors.IsForbidden(err):
		p.Reason, p.Transient = crds.ReasonForbidden, false
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err), untypable(err):
		p.Reason, p.Transient = crds.ReasonInvalidSpec, false
		p.Message = fmt.Sprintf("%s: refused by the API server: %s", id, causes(err))
	}
	return p
}

// untypable tells whether an intent does not fit the schema of its kind, for example because a list names something twice that
// has to be unique. The API server calls that an internal error
// (k8s.io/apimachinery/pkg/util/managedfields/internal/structuredmerge.go, Apply).
func untypable(err error) bool {
	var s apierrors.APIStatus
	return errors.As(err, &s) && s.Status().Code == http.StatusInternalServerError &&
		strings.Contains(s.Status().Message, "failed to create typed patch object")
}

// causes are the fields that the API server names and what it says of them; values are left out, they may be long or secret.
func causes(err error) string {
	var s apierrors.APIStatus
	if !errors.As(err, &s) || s.Status().Details == nil || len(s.Status().Details.Causes) == 0 {
		return err.Error()
	}
	var out []string
	for _, c := range s.Status().Details.Causes {
		out = append(out, fmt.Sprintf("%s: %s", c.Field, withoutValue(c)))
	}
	return strings.Join(out, "; ")
}

// withoutValue cuts the offending value out of a cause: field errors print it between their type and their detail
// (k8s.io/apimachinery/pkg/util/validation/field, Error.ErrorBody).
func withoutValue(c metav1.StatusCause) string {
	rest, ok := strings.CutPrefix(c.Message, "Invalid value: ")
	if !ok {
		return c.Message
	}
	if value, err := strconv.QuotedPrefix(rest); err == nil {
		rest = rest[len(value):]
	}
	if _, detail, ok := strings.Cut(rest, ": "); ok {
		return "invalid value: " + detail
	}
	return "invalid value"
}
