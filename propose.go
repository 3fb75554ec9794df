package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/crds"
)

// The field managers of kubectl apply, with and without --server-side.
const (
	kubectlServerSide = "kubectl"
	kubectlClientSide = "kubectl-client-side-apply"
)

// proposer predicts what `kubectl apply -f` would make of a collector.
type proposer struct {
	client    dynamic.Interface
	offline   bool
	admission func() (*crds.Admission, error)
}

// proposal is a collector as it would be.
type proposal struct {
	collector *unstructured.Unstructured
	predicted string // why the API server was not asked; empty when it was
}

// propose asks the API server, with a dry run of the request that kubectl would send, and so the answer has defaults, and is what
// admission lets pass. Where the user may not send that, or does not want to, it does the same here. An object that is to be created
// has no UID.
func (p *proposer) propose(ctx context.Context, file *unstructured.Unstructured) (proposal, error) {
	file = submitted(file)
	version := file.GroupVersionKind().Version
	if file.GetName() == "" || version != crds.VersionV1Beta1 && version != crds.VersionV1Alpha1 {
		_, err := p.admit(ctx, file) // says it
		return proposal{}, err
	}
	resource := schema.GroupVersionResource{Group: crds.Group, Version: version, Resource: crds.Resource}
	client := p.client.Resource(resource).Namespace(file.GetNamespace())
	live, err := client.Get(ctx, file.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		live = nil
	case err != nil:
		return proposal{}, err
	}
	predicted := "the API server was not asked"
	if !p.offline {
		answer, err := dryRun(ctx, client, file, live)
		if err == nil {
			return proposal{collector: answer}, nil
		}
		verb, denied := notAllowed(err)
		if !denied {
			return proposal{}, refused(err)
		}
		predicted = fmt.Sprintf("may not %s %s", verb, resource.GroupResource())
	}
	answer, err := p.predict(ctx, file, live)
	return proposal{answer, predicted}, err
}

// submitted is what a file says, without what only an API server says.
func submitted(file *unstructured.Unstructured) *unstructured.Unstructured {
	out := file.DeepCopy()
	delete(out.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	if _, ok := out.GetAnnotations()[crds.AnnotationLastApplied]; ok {
		setLastApplied(out, "")
	}
	return out
}

func setLastApplied(u *unstructured.Unstructured, value string) {
	annotations := maps.Clone(u.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	if annotations[crds.AnnotationLastApplied] = value; value == "" {
		delete(annotations, crds.AnnotationLastApplied)
	}
	u.SetAnnotations(annotations)
}

// dryRun sends what kubectl apply would.
func dryRun(ctx context.Context, client dynamic.ResourceInterface, file, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if live == nil {
		out, err := client.Create(ctx, file, metav1.CreateOptions{
			DryRun: []string{metav1.DryRunAll}, FieldManager: kubectlClientSide, FieldValidation: metav1.FieldValidationStrict,
		})
		if err != nil {
			return nil, err
		}
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp"} { // nothing will ever have them
			unstructured.RemoveNestedField(out.Object, "metadata", field)
		}
		return out, nil
	}
	options := metav1.PatchOptions{
		DryRun: []string{metav1.DryRunAll}, FieldManager: kubectlClientSide, FieldValidation: metav1.FieldValidationStrict,
	}
	if serverSide(live) {
		data, err := file.MarshalJSON()
		if err != nil {
			return nil, err
		}
		options.FieldManager, options.Force = kubectlServerSide, new(true)
		return client.Patch(ctx, file.GetName(), types.ApplyPatchType, data, options)
	}
	patch, err := mergePatch(file, live)
	if err != nil {
		return nil, err
	}
	return client.Patch(ctx, file.GetName(), types.MergePatchType, patch, options)
}

// serverSide tells whether live was applied with --server-side, and not without since.
func serverSide(live *unstructured.Unstructured) bool {
	return live.GetAnnotations()[crds.AnnotationLastApplied] == "" && appliedFields(live) != nil
}

func appliedFields(live *unstructured.Unstructured) *metav1.FieldsV1 {
	for _, e := range live.GetManagedFields() {
		if e.Manager == kubectlServerSide && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" {
			return e.FieldsV1
		}
	}
	return nil
}

// mergePatch is the JSON merge patch that kubectl apply sends for custom resources: what the file says, and the removal of what it said
// when it was last applied (k8s.io/kubectl/pkg/cmd/apply, Patcher.buildMergePatch). What was applied by server-side apply has no
// record but its managed fields; what nobody has applied loses nothing.
func mergePatch(file, live *unstructured.Unstructured) ([]byte, error) {
	modified := file.DeepCopy()
	var original []byte
	if last := live.GetAnnotations()[crds.AnnotationLastApplied]; last != "" {
		text, err := file.MarshalJSON() // ends with a line break, as kubectl's
		if err != nil {
			return nil, err
		}
		setLastApplied(modified, string(text))
		original = []byte(last)
	} else if applied := appliedFields(live); applied != nil {
		var fields map[string]any
		if err := json.Unmarshal(applied.GetRawBytes(), &fields); err != nil {
			return nil, fmt.Errorf("managed fields: %w", err)
		}
		data, err := json.Marshal(owned(live.Object, fields))
		if err != nil {
			return nil, err
		}
		original = data
	}
	want, err := modified.MarshalJSON()
	if err != nil {
		return nil, err
	}
	current, err := live.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return jsonmergepatch.CreateThreeWayJSONMergePatch(original, want, current)
}

// owned is the part of v that fields, of the form FieldsV1, name. A list counts as a whole.
func owned(v any, fields map[string]any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for k, below := range fields {
		name, ok := strings.CutPrefix(k, "f:")
		child, there := m[name]
		if !ok || !there {
			continue
		}
		if below, ok := below.(map[string]any); ok && len(below) > 0 {
			child = owned(child, below)
		}
		out[name] = child
	}
	return out
}

// predict is dryRun without the API server: its webhooks and policies are left out.
func (p *proposer) predict(ctx context.Context, file, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if live == nil {
		namespaces := p.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
		if _, err := namespaces.Get(ctx, file.GetNamespace(), metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return nil, err
		}
		return p.admit(ctx, file)
	}
	patch, err := mergePatch(file, live)
	if err != nil {
		return nil, err
	}
	current, err := live.MarshalJSON()
	if err != nil {
		return nil, err
	}
	merged, err := jsonpatch.MergePatch(current, patch)
	if err != nil {
		return nil, err
	}
	var out unstructured.Unstructured
	if err := out.UnmarshalJSON(merged); err != nil {
		return nil, err
	}
	status := out.Object["status"]
	delete(out.Object, "status")
	stored, err := p.admit(ctx, &out)
	if err == nil && status != nil {
		stored.Object["status"] = status
	}
	return stored, err
}

func (p *proposer) admit(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	admission, err := p.admission()
	if err != nil {
		return nil, err
	}
	return admission.Create(ctx, u)
}

// notAllowed is the verb that an API server's authorizer refuses. Admission refuses with the same code, but other words
// (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters, ForbiddenMessage).
func notAllowed(err error) (verb string, ok bool) {
	var s apierrors.APIStatus
	if !apierrors.IsForbidden(err) || !errors.As(err, &s) {
		return "", false
	}
	_, rest, _ := strings.Cut(s.Status().Message, `" cannot `)
	verb, rest, _ = strings.Cut(rest, " ")
	return verb, slices.Contains([]string{"create", "patch"}, verb) && strings.HasPrefix(rest, "resource ")
}

// refused is what an API server says of the fields that it does not take, without their values: they may be long, and secret.
func refused(err error) error {
	var s apierrors.APIStatus
	if !errors.As(err, &s) || s.Status().Details == nil {
		return err
	}
	var out []string
	for _, c := range s.Status().Details.Causes {
		switch text := withoutValue(c.Message); c.Field {
		case "", "<nil>": // that others were not checked because of these
		case "patch": // all of it, of which the text says what is wrong
			out = append(out, text)
		default:
			out = append(out, c.Field+": "+text)
		}
	}
	if len(out) == 0 {
		return err
	}
	return errors.New(strings.Join(out, "\n"))
}

// withoutValue cuts the offending value out of a field's error (k8s.io/apimachinery/pkg/util/validation/field, Error.ErrorBody).
func withoutValue(message string) string {
	rest, ok := strings.CutPrefix(message, "Invalid value: ")
	if !ok {
		return message
	}
	d := json.NewDecoder(strings.NewReader(rest))
	var value json.RawMessage
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		rest = rest[len(quoted):]
	} else if d.Decode(&value) == nil {
		rest = rest[d.InputOffset():]
	}
	if _, detail, ok := strings.Cut(rest, ": "); ok {
		return detail
	}
	return "invalid value"
}
