package discover

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// kubeAPI is as much of an API server as informers need: it lists objects and watches for more, as JSON.
type kubeAPI struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string][]runtime.Object // by resource
	watches map[string][]chan metav1.WatchEvent
	asked   map[string]int // lists by path
	held    chan struct{}  // lists wait for it, if it is there
	// allowed are the namespaces that may be seen; nil for all.
	allowed []string
}

func newKubeAPI(t testing.TB) *kubeAPI {
	k := &kubeAPI{objects: map[string][]runtime.Object{}, watches: map[string][]chan metav1.WatchEvent{}, asked: map[string]int{}}
	k.Server = httptest.NewServer(http.HandlerFunc(k.serve))
	t.Cleanup(func() {
		k.CloseClientConnections()
		k.Close()
	})
	return k
}

func (k *kubeAPI) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource, namespace := parts[len(parts)-1], ""
	if len(parts) > 3 && parts[len(parts)-3] == "namespaces" {
		namespace = parts[len(parts)-2]
	}
	w.Header().Set("Content-Type", "application/json")
	if k.allowed != nil && !slices.Contains(k.allowed, namespace) {
		refuseList(w, resource)
		return
	}
	if r.URL.Query().Get("watch") != "" {
		if r.URL.Query().Get("sendInitialEvents") != "" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 422, Reason: metav1.StatusReasonInvalid,
			})
			return
		}
		k.watch(w, r, resource, namespace)
		return
	}
	if k.held != nil {
		select {
		case <-k.held:
		case <-r.Context().Done():
			return
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked[r.URL.Path]++
	items := []runtime.Object{}
	for _, o := range k.objects[resource] {
		if in(o, namespace) {
			items = append(items, o)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]string{"resourceVersion": "1"}, "items": items})
}

func refuseList(w http.ResponseWriter, resource string) {
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden,
		Message: resource + " is forbidden",
	})
}

func in(o runtime.Object, namespace string) bool {
	return namespace == "" || o.(metav1.Object).GetNamespace() == namespace
}

func (k *kubeAPI) watch(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	events := make(chan metav1.WatchEvent, 1000)
	k.mu.Lock()
	k.watches[resource+"/"+namespace] = append(k.watches[resource+"/"+namespace], events)
	k.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-events:
			_ = json.NewEncoder(w).Encode(e)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// put adds objects, and tells those who watch.
func (k *kubeAPI) put(resource string, objects ...runtime.Object) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range objects {
		k.objects[resource] = append(k.objects[resource], o)
		for _, ns := range []string{"", o.(metav1.Object).GetNamespace()} {
			for _, c := range k.watches[resource+"/"+ns] {
				c <- metav1.WatchEvent{Type: string(watch.Added), Object: runtime.RawExtension{Object: o}}
			}
		}
	}
}

// lists is how many lists of a resource were asked for.
func (k *kubeAPI) lists(suffix string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for path, asked := range k.asked {
		if strings.HasSuffix(path, suffix) {
			n += asked
		}
	}
	return n
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, ResourceVersion: "1", Labels: map[string]string{"app": name}, UID: "uid-1",
		Annotations: map[string]string{"otelier.io/target-weight": "8", "note": "x"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
	}
}

func pod(namespace, name, ip string) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}, ObjectMeta: meta(namespace, name)}
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "rs", Controller: new(bool)}}
	*p.OwnerReferences[0].Controller = true
	p.Spec.NodeName = "node-1"
	p.Spec.Volumes = []corev1.Volume{{Name: "v"}}
	p.Spec.Containers = []corev1.Container{
		{Name: "main", Image: "image:1", Command: []string{"x"}, Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9100, Protocol: "TCP"}}},
		{Name: "side", Image: "image:2"},
	}
	p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "image:3"}}
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, HostIP: "192.0.2.1", Message: "hello",
		Conditions:        []corev1.PodCondition{{Type: "Initialized", Status: "True"}, {Type: corev1.PodReady, Status: "True"}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ContainerID: "c://1", Image: "image:1"}},
	}
	return p
}

func slice(namespace, name string, pods ...*corev1.Pod) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"}, ObjectMeta: meta(namespace, name+"-x"),
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	s.Labels[discoveryv1.LabelServiceName] = name
	portName, port, proto := "metrics", int32(9100), corev1.ProtocolTCP
	s.Ports = []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &proto}}
	zone, yes := "zone-a", true
	for _, p := range pods {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{p.Status.PodIP}, NodeName: &p.Spec.NodeName, Zone: &zone, Conditions: discoveryv1.EndpointConditions{Ready: &yes},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name},
		})
	}
	return s
}

func service(namespace, name string) *corev1.Service {
	return &corev1.Service{
		TypeMeta: metav1.TypeMeta{Kind: "Service", APIVersion: "v1"}, ObjectMeta: meta(namespace, name),
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "198.51.100.1", Ports: []corev1.ServicePort{{Name: "metrics", Port: 9100}}},
	}
}

// fill makes a small cluster.
func (k *kubeAPI) fill(namespaces ...string) {
	node := &corev1.Node{TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}, ObjectMeta: meta("", "node-1")}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}
	k.put("nodes", node, &corev1.Node{TypeMeta: node.TypeMeta, ObjectMeta: meta("", "node-without-address")})
	for _, ns := range namespaces {
		k.put("namespaces", &corev1.Namespace{TypeMeta: metav1.TypeMeta{Kind: "Namespace", APIVersion: "v1"}, ObjectMeta: meta("", ns)})
		one, two := pod(ns, "one", "203.0.113.1"), pod(ns, "two", "203.0.113.2")
		k.put("pods", one, two, pod(ns, "pending", ""))
		k.put("services", service(ns, "web"))
		k.put("endpointslices", slice(ns, "web", one, two), slice(ns, "empty"))
		path := networkingv1.HTTPIngressPath{Path: "/x"}
		in := &networkingv1.Ingress{TypeMeta: metav1.TypeMeta{Kind: "Ingress", APIVersion: "networking.k8s.io/v1"}, ObjectMeta: meta(ns, "in")}
		in.Spec.Rules = []networkingv1.IngressRule{{Host: "example.org", IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{path}},
		}}}
		k.put("ingresses", in)
	}
}
