package monitor

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	crd "github.com/prometheus-operator/prometheus-operator/example"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
)

// kubeconfigVariable names the kubeconfig file of an API server that TestLive may do to what it likes. Package monitors of the module
// e2e sets it.
const kubeconfigVariable = "OTELIER_MONITOR_KUBECONFIG"

// live is an API server and its administrator.
type live struct {
	t     *testing.T
	admin dynamic.Interface
}

func crdResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

func (l live) apply(gvr schema.GroupVersionResource, o *unstructured.Unstructured) {
	l.t.Helper()
	_, err := l.admin.Resource(gvr).Namespace(o.GetNamespace()).Apply(
		l.t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true})
	if err != nil {
		l.t.Fatalf("apply %s %s: %v", gvr.Resource, o.GetName(), err)
	}
}

func (l live) applyTyped(gvr schema.GroupVersionResource, kind string, in any) {
	l.t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(in)
	if err != nil {
		l.t.Fatal(err)
	}
	o := &unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(gvr.GroupVersion().WithKind(kind))
	l.apply(gvr, o)
}

func (l live) monitor(k kind, o *unstructured.Unstructured) {
	l.t.Helper()
	o.SetGroupVersionKind(k.resource().GroupVersion().WithKind(k.String()))
	l.apply(k.resource(), o)
}

func (l live) remove(gvr schema.GroupVersionResource, namespace, name string) {
	l.t.Helper()
	if err := l.admin.Resource(gvr).Namespace(namespace).Delete(l.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

func (l live) secret(password string) {
	l.t.Helper()
	l.applyTyped(corev1.SchemeGroupVersion.WithResource("secrets"), "Secret", &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "auth"},
		Data:       map[string][]byte{"user": []byte("joe"), "password": []byte(password)},
	})
}

// install applies the custom resources of prometheus-operator, as it ships them.
func (l live) install() {
	l.t.Helper()
	var text bytes.Buffer
	if err := crd.PrintAll(&text); err != nil {
		l.t.Fatal(err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(&text, 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if err == io.EOF { //nolint:errorlint // the decoder returns it as it is
			return
		}
		if err != nil {
			l.t.Fatal(err)
		}
		if name, _, _ := strings.Cut(o.GetName(), "."); slices.ContainsFunc(Resources(), func(r schema.GroupVersionResource) bool {
			return r.Resource == name
		}) {
			l.apply(crdResource(), o)
		}
	}
}

// restricted is a client configuration of somebody who has the rights that the documentation of the package asks for, and no others.
func (l live) restricted(config *rest.Config) *rest.Config {
	l.t.Helper()
	const name = "otelier-monitor-test"
	l.applyTyped(rbacv1.SchemeGroupVersion.WithResource("clusterroles"), "ClusterRole", &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: Rules(),
	})
	l.applyTyped(rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"), "ClusterRoleBinding", &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	})
	out := rest.CopyConfig(config)
	out.Impersonate = rest.ImpersonationConfig{UserName: name}
	return out
}

// TestLive is the life of monitors on a real API server, seen with the least rights.
func TestLive(t *testing.T) {
	path := os.Getenv(kubeconfigVariable)
	if path == "" {
		t.Skip("no API server: " + kubeconfigVariable + " is not set")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = -1, -1
	admin, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	api := live{t, admin}
	clients, err := NewClients(api.restricted(config))
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"shop", "other"} {
		api.applyTyped(corev1.SchemeGroupVersion.WithResource("namespaces"), "Namespace",
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: map[string]string{"team": ns}}})
	}
	r := &rig{t: t, recorder: events.NewFakeRecorder(1000)}
	r.watcher = New(Options{Clients: clients, Recorder: r.recorder, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	selection := everything()
	selection.ServiceMonitors.Namespaces = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "shop"}}
	l := r.subscribe(selection)
	r.run()

	l.until("nothing but missing resources", func(x Result) bool { return len(x.Missing) == len(Resources()) && len(x.Jobs) == 0 })
	api.install()
	l.until("all resources", func(x Result) bool { return len(x.Missing) == 0 })
	api.monitor(serviceMonitor, service("shop", "open", nil))
	api.monitor(serviceMonitor, service("other", "unseen", nil))
	api.monitor(serviceMonitor, service("shop", "locked", withPassword("auth")))
	api.monitor(scrapeConfig, static("other", "fixed"))
	got := l.untilJobs("serviceMonitor/shop/open/0", "scrapeConfig/other/fixed")
	if len(got.Problems) != 1 || got.Problems[0].Reason != ReasonMissingReference {
		t.Errorf("problems %v, want the missing Secret alone", got.Problems)
	}
	api.secret("first")
	l.untilJobs("serviceMonitor/shop/locked/0", "serviceMonitor/shop/open/0", "scrapeConfig/other/fixed")
	api.secret("second")
	l.until("the new password", func(x Result) bool {
		return string(x.Jobs[0].Config.HTTPClientConfig.BasicAuth.Password) == "second"
	})
	api.remove(corev1.SchemeGroupVersion.WithResource("secrets"), "shop", "auth")
	l.untilJobs("serviceMonitor/shop/open/0", "scrapeConfig/other/fixed")
	api.applyTyped(corev1.SchemeGroupVersion.WithResource("namespaces"), "Namespace",
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other", Labels: map[string]string{"team": "shop"}}})
	l.untilJobs("serviceMonitor/other/unseen/0", "serviceMonitor/shop/open/0", "scrapeConfig/other/fixed")
	api.remove(crdResource(), "", scrapeConfig.resource().GroupResource().String())
	got = l.until("the resource to be missing", func(x Result) bool { return len(x.Missing) == 1 })
	if want := []string{"serviceMonitor/other/unseen/0", "serviceMonitor/shop/open/0"}; !slices.Equal(names(got), want) {
		t.Errorf("jobs %v, want %v", names(got), want)
	}
	api.install()
	api.monitor(serviceMonitor, service("shop", "late", nil))
	l.until("the resource again", func(x Result) bool { return len(x.Missing) == 0 && len(x.Jobs) == 3 })
}
