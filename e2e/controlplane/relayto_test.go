package controlplane

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestRelay has an API server answer in all ways that kwok gets to see, in JSON and in protobuf.
func TestRelay(t *testing.T) {
	t.Parallel()
	files, err := writePKI(filepath.Join(t.TempDir(), "pki"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(answerByName))
	defer server.Close()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	r, err := startRelay(address, server.URL, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		pods, err := kubernetes.NewForConfig(&rest.Config{
			Host: "https://" + address, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{CAFile: files.file("ca.crt")},
			ContentConfig: rest.ContentConfig{ContentType: encoding},
		})
		if err != nil {
			t.Fatal(err)
		}
		patch := func(name string) error {
			_, err := pods.CoreV1().Pods("default").Patch(t.Context(), name, types.MergePatchType, []byte("{}"), metav1.PatchOptions{})
			return err
		}
		for name, is := range map[string]func(error) bool{
			"fine":     func(err error) bool { return err == nil },
			"conflict": apierrors.IsConflict,
			"failed":   apierrors.IsServiceUnavailable,
			"cut":      apierrors.IsServiceUnavailable,
			"half":     apierrors.IsServiceUnavailable,
		} {
			if err := patch(name); !is(err) {
				t.Errorf("%s: %s: error %v", encoding, name, err)
			}
		}
		if _, err := pods.CoreV1().Pods("default").Get(t.Context(), "failed", metav1.GetOptions{}); !apierrors.IsInternalError(err) {
			t.Errorf("%s: a read: error %v, want it as it is", encoding, err)
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + address); err == nil {
		t.Error("it still answers")
	}
}

// answerByName answers as the name of the pod says.
func answerByName(w http.ResponseWriter, r *http.Request) {
	const status = `{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": %q, "code": %d}`
	name := filepath.Base(r.URL.Path)
	if r.Header.Get("Authorization") != "Bearer secret" {
		name = "unauthorized"
	}
	w.Header().Set("Content-Type", "application/json")
	switch name {
	case "fine":
		_, _ = io.WriteString(w, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fine"}}`)
	case "conflict":
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(w, status, metav1.StatusReasonConflict, http.StatusConflict)
	case "failed":
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, status, metav1.StatusReasonInternalError, http.StatusInternalServerError)
	case "half":
		_, _ = io.WriteString(w, `{"apiVersion": "v1",`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "cut":
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}
