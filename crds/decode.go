package crds

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
)

// A FieldError says which field of the user's object is wrong, and what would be accepted.
type FieldError struct {
	Path   string // such as spec.config
	Detail string
}

func (e *FieldError) Error() string { return e.Path + ": " + e.Detail }

// Decode reads an OpenTelemetryCollector of either version as the API server holds it, and normalises the spellings of
// v1alpha1. It does not modify u, and shares nothing with it but the configuration's tree. Fields that it does not know
// are left out: the API server has pruned them, and for a manifest that it has not seen there is Admission.
//
// Errors are *FieldError: the object passed the schema of another version of the CRD, but does not fit the types here.
func Decode(u *unstructured.Unstructured) (*Collector, error) {
	if u.GroupVersionKind().Group != Group || u.GetKind() != Kind {
		return nil, &FieldError{"apiVersion, kind", fmt.Sprintf("got %s %s, want %s/%s or %s/%s %s",
			u.GetAPIVersion(), u.GetKind(), Group, VersionV1Beta1, Group, VersionV1Alpha1, Kind)}
	}
	c := &Collector{
		Namespace: u.GetNamespace(), Name: u.GetName(), UID: u.GetUID(), Generation: u.GetGeneration(),
		ResourceVersion: u.GetResourceVersion(), DeletionTimestamp: u.GetDeletionTimestamp(), Finalizers: u.GetFinalizers(),
	}
	var wrongLabel, wrongAnnotation error
	c.Labels, wrongLabel = stringsOf(u, "labels")
	c.Annotations, wrongAnnotation = stringsOf(u, "annotations")
	if err := cmp.Or(wrongLabel, wrongAnnotation); err != nil {
		return c, err
	}
	if err := decodeStatus(u, &c.Status); err != nil {
		return c, err
	}
	spec, ok := u.Object["spec"].(map[string]any)
	if !ok {
		return c, &FieldError{"spec", fmt.Sprintf("got %s, want an object", jsonType(u.Object["spec"]))}
	}
	spec, err := normalise(spec)
	if err != nil {
		return c, err
	}
	config := spec["config"]
	delete(spec, "config")
	data, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return c, fmt.Errorf("spec: encode: %w", err)
	}
	into := struct {
		Spec *Spec `json:"spec"`
	}{&c.Spec}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &into); err != nil {
		return c, typeError(err)
	}
	c.Spec.Config, err = decodeConfig(config)
	return c, err
}

func decodeStatus(u *unstructured.Unstructured, into *Status) error {
	status, ok := u.Object["status"].(map[string]any)
	if !ok {
		return nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(status, into); err != nil {
		return &FieldError{"status", err.Error()}
	}
	return nil
}

func decodeConfig(v any) (Config, error) {
	switch v := v.(type) {
	case string:
		return Config{Text: v, IsText: true}, nil
	case map[string]any:
		return Config{Tree: v}, nil
	default:
		return Config{}, &FieldError{"spec.config", fmt.Sprintf(
			"got %s, want the collector's configuration: an object, or a string that holds it as YAML", jsonType(v))}
	}
}

// typeError turns encoding/json's "cannot unmarshal string into Go struct field Spec.spec.replicas of type int32" into
// the path and what the field takes.
func typeError(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		path := t.Field
		if i := strings.Index(path, "spec"); i > 0 {
			path = path[i:]
		}
		return &FieldError{path, fmt.Sprintf("got %s, want %s", jsonKind(t.Value), goKind(t.Type))}
	}
	return &FieldError{"spec", strings.TrimPrefix(err.Error(), "json: ")}
}

// jsonKind is encoding/json's word for a value, in ours.
func jsonKind(value string) string {
	switch value {
	case "bool":
		return "a boolean"
	case "array":
		return "a list"
	case "object":
		return "an object"
	default: // string, number, number 1.5
		return "a " + value
	}
}

// goKind is what JSON has for a type.
func goKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Int32, reflect.Int64:
		return "a whole number"
	default:
		return "an object"
	}
}

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	default:
		return "a number"
	}
}
