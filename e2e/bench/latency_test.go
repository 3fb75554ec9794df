package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/otelier/otelier/e2e/steps/program"
)

// What BenchmarkPodToTarget has besides what it measures.
const (
	standing           = 10_000 // targets
	standingSlices     = 100
	standingCollectors = 10
	repetitions        = 5
)

// BenchmarkPodToTarget has an operator with a pool of 10 collectors and 10,000 targets, and reports the median and the longest of
//   - target-ms: from a pod being Ready to its target being served to a collector; Kubernetes' EndpointSlice controller is in it
//   - collector-ms: from a new collector's pod being Ready to its share being taken from the others
func BenchmarkPodToTarget(b *testing.B) {
	r := newRig(b, standingCollectors)
	if err := program.InstallMonitorCRDs(b.Context(), r.cluster); err != nil {
		b.Fatal(err)
	}
	address := freeAddress(b)
	l := &latency{rig: r, base: fmt.Sprintf("http://%s/pools/%s/pool", address, r.namespace)}
	l.prepare(b)
	for b.Loop() {
		r.figures = figures{}
		r.start(b, "--allocator-listen", address, "--allocator-url", "http://"+address)
		l.wait(b, "a share of the standing targets", func(ctx context.Context) (bool, error) {
			n, err := l.count(ctx, "standing", standingCollectors-1)
			return n >= standing/standingCollectors*9/10, err
		})
		var targets, collectors []float64
		for i := range repetitions {
			targets = append(targets, l.target(b, i+1))
			collectors = append(collectors, l.collector(b, standingCollectors+i))
		}
		for _, c := range []struct {
			name   string
			values []float64
		}{{"target", targets}, {"collector", collectors}} {
			slices.Sort(c.values)
			r.figures.add(c.name+"-median-ms", c.values[len(c.values)/2])
			r.figures.add(c.name+"-max-ms", c.values[len(c.values)-1])
		}
		r.stop(b)
	}
	r.figures.report(b)
	table{r.figures}.print()
}

type latency struct {
	*rig
	base string
}

// prepare makes the pool, the standing targets, and a Deployment with a Service whose pods come later.
func (l *latency) prepare(b *testing.B) {
	b.Helper()
	var out bytes.Buffer
	fmt.Fprintf(&out, `
apiVersion: opentelemetry.io/v1beta1
kind: OpenTelemetryCollector
metadata: {name: pool}
spec:
  mode: statefulset
  replicas: %d
  targetAllocator: {enabled: true, allocationStrategy: least-weighted, prometheusCR: {enabled: true, serviceMonitorSelector: {}}}
  config:
    receivers: {prometheus: {config: {scrape_configs: []}}}
    exporters: {debug: {}}
    service: {pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coming}
spec:
  replicas: 0
  selector: {matchLabels: {app: coming}}
  template:
    metadata: {labels: {app: coming}}
    spec: {containers: [{name: app, image: example.com/app, ports: [{name: metrics, containerPort: 9090}]}]}
`, standingCollectors)
	for service, selector := range map[string]string{"standing": "", "coming": "selector: {app: coming}, "} {
		fmt.Fprintf(&out, `---
apiVersion: v1
kind: Service
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec: {%[2]sports: [{name: metrics, port: 80, targetPort: 9090}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: %[1]s}
spec: {selector: {matchLabels: {app: %[1]s}}, endpoints: [{port: metrics}]}
`, service, selector)
	}
	for i := range standingSlices {
		var endpoints []string
		for j := range standing / standingSlices {
			endpoints = append(endpoints, fmt.Sprintf("{addresses: [10.250.%d.%d], conditions: {ready: true}}", i, j))
		}
		fmt.Fprintf(&out, `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: standing-%d, labels: {kubernetes.io/service-name: standing, endpointslice.kubernetes.io/managed-by: bench}}
addressType: IPv4
endpoints: [%s]
ports: [{name: metrics, port: 9090, protocol: TCP}]
`, i, strings.Join(endpoints, ", "))
	}
	l.kubectl(b, out.Bytes(), "apply", "--server-side", "-n", l.namespace, "-f", "-")
}

// target is how long one more pod of the Deployment is Ready before its target is served, in milliseconds.
func (l *latency) target(b *testing.B, replicas int) float64 {
	b.Helper()
	ready := l.watchReady(b, "app=coming", replicas)
	l.kubectl(b, nil, "scale", "-n", l.namespace, "deployment/coming", fmt.Sprintf("--replicas=%d", replicas))
	l.wait(b, "the target of a new pod", func(ctx context.Context) (bool, error) {
		sum := 0
		for i := range standingCollectors + replicas - 1 { // a collector comes with each repetition
			n, err := l.count(ctx, "coming", i)
			if err != nil && replicas > 1 { // before the first there is no job
				return false, err
			}
			sum += n
		}
		return sum == replicas, nil
	})
	return since(b, ready)
}

// collector is how long one more collector is Ready before it has targets, in milliseconds.
func (l *latency) collector(b *testing.B, ordinal int) float64 {
	b.Helper()
	before, err := l.count(b.Context(), "standing", 0)
	if err != nil {
		b.Fatal(err)
	}
	ready := l.watchReady(b, "app.kubernetes.io/component=opentelemetry-collector", ordinal+1)
	l.kubectl(b, nil, "scale", "-n", l.namespace, "otelcol/pool", fmt.Sprintf("--replicas=%d", ordinal+1))
	// The others give it its share. To ask in its name would make it a member before it is Ready.
	l.wait(b, "the share of a new collector", func(ctx context.Context) (bool, error) {
		n, err := l.count(ctx, "standing", 0)
		return err == nil && n < before, err
	})
	return since(b, ready)
}

// since is the time since a moment that is still to be told, in milliseconds.
func since(b *testing.B, moment <-chan time.Time) float64 {
	b.Helper()
	now := time.Now()
	select {
	case at := <-moment:
		return float64(now.Sub(at).Microseconds()) / 1e3
	case <-time.After(time.Minute):
		b.Fatal("it is served, but the pod is not Ready")
		return 0
	}
}

// watchReady tells the moment at which as many pods are Ready that a selector matches.
func (l *latency) watchReady(b *testing.B, selector string, pods int) <-chan time.Time {
	b.Helper()
	config, err := l.cluster.RESTConfig("otelier-bench")
	if err != nil {
		b.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	list, err := client.CoreV1().Pods(l.namespace).List(b.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		b.Fatal(err)
	}
	ready := map[string]bool{}
	for i := range list.Items {
		ready[list.Items[i].Name] = isReady(&list.Items[i])
	}
	w, err := client.CoreV1().Pods(l.namespace).Watch(b.Context(), metav1.ListOptions{LabelSelector: selector, ResourceVersion: list.ResourceVersion})
	if err != nil {
		b.Fatal(err)
	}
	moment := make(chan time.Time, 1)
	go func() {
		defer w.Stop()
		for event := range w.ResultChan() {
			p, ok := event.Object.(*corev1.Pod)
			if !ok {
				return
			}
			if ready[p.Name] = isReady(p); len(ready) == pods && !slices.Contains(slices.Collect(maps.Values(ready)), false) {
				moment <- time.Now()
				return
			}
		}
	}()
	return moment
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// count is how many targets of a monitor's job a collector has.
func (l *latency) count(ctx context.Context, monitor string, collector int) (int, error) {
	job := url.QueryEscape("serviceMonitor/" + l.namespace + "/" + monitor + "/0")
	body, err := fetch(ctx, fmt.Sprintf("%s/jobs/%s/targets?collector_id=%s", l.base, job, collectorName(collector)))
	return bytes.Count(body, []byte(`"targets":`)), err
}

func (l *latency) wait(b *testing.B, what string, done func(context.Context) (bool, error)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			b.Fatalf("%s: %v; last seen: %v\n%s", what, ctx.Err(), err, l.operator.Tail())
		case <-time.After(2 * time.Millisecond):
		}
	}
}
