package features_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/otelier/otelier/e2e/samples"
	"github.com/otelier/otelier/e2e/steps"
)

// What bounds how long a target may be unscraped when its owner changes: the new one first asks at its next refresh of http_sd,
// Prometheus' discovery manager then holds an update back for up to 5 s and its scrape manager looks for updates every 5 s
// (discovery.Manager.updatert, scrape.Options.DiscoveryReloadInterval), and the first scrape is at a random offset into the interval.
const (
	scrapeInterval = time.Second
	sdRefresh      = time.Second
	unavoidable    = sdRefresh + 5*time.Second + 5*time.Second + scrapeInterval
	// slack is for the allocator's coalescing, which takes 2 s at most, and for a machine that is busy with other tests.
	slack = 10 * time.Second
	// delay is how late a sample may be at the sink.
	delay = 1500 * time.Millisecond
	// window is how far one looks back for who scrapes a target, from where all has arrived.
	window = 4 * scrapeInterval
)

// pool is the collector of a scene in which targets are scraped.
const pool = "pool"

// sinkPort is where the sink listens.
const sinkPort = 9201

// scraping is a scene in which collectors scrape exporters and export what they get to a sink, which tells what has happened.
type scraping struct {
	*steps.Scene

	client  kubernetes.Interface
	started time.Time       // of the sink
	static  map[string]bool // targets that are no port of a pod
	// withheld are the names of exporters that should not be scraped at the moment.
	withheld map[string]bool
	owners   map[string]string // of each target at the end of the last phase
	rows     []row
}

// startScraping starts a sink. Exporters and collectors are added by the methods deploy and collect.
func startScraping(t *testing.T, scene *steps.Scene) *scraping {
	t.Helper()
	scene.NeedsRealPods(t)
	config, err := scene.Cluster.RESTConfig(steps.UserAgent)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	s := &scraping{Scene: scene, client: client, static: map[string]bool{}, withheld: map[string]bool{}, owners: map[string]string{}}
	// On the control plane's node where there is one for pods, since faults spare it, and tolerant of what they do.
	s.CreateIn(t, steps.Pods, steps.Parse(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: sink, labels: {app: sink}}
spec:
  tolerations: [{operator: Exists}]
  affinity:
    nodeAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - {weight: 100, preference: {matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}}
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
    - name: sink
      image: %[1]s
      args: [sink]
      ports: [{name: http, containerPort: %[2]d}]
      readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
`, s.Images.Workbench, sinkPort)))
	s.CreateIn(t, steps.Services, steps.Parse(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: sink}
spec: {selector: {app: sink}, ports: [{name: http, port: %d}]}
`, sinkPort)))
	within(t, steps.RealPatience, "the sink answers", func() error {
		view, err := s.look(t.Context(), time.Now())
		if err == nil {
			s.started = view.Started
		}
		return err
	})
	return s
}

// collect creates the collector.
func (s *scraping) collect(t *testing.T, replicas int) {
	t.Helper()
	spec := fmt.Sprintf(`
replicas: %[1]d
resources: {requests: {cpu: 20m, memory: 64Mi}}
targetAllocator: %[3]s
config:
  extensions: {health_check: {endpoint: '0.0.0.0:13133'}}
  receivers: {prometheus: %[4]s}
  processors: {batch: {timeout: 200ms}}
  exporters:
    prometheusremotewrite:
      endpoint: http://sink.%[2]s.svc:%[5]d/api/v1/write
      external_labels: {%[6]s: '${env:POD_NAME}'}
      target_info: {enabled: false}
      tls: {insecure: true}
      timeout: 2s
      retry_on_failure: {initial_interval: 500ms, max_interval: 2s}
  service:
    extensions: [health_check]
    pipelines: {metrics: {receivers: [prometheus], processors: [batch], exporters: [prometheusremotewrite]}}
`, replicas, s.Namespace, s.allocator(), receiver(""), sinkPort, samples.LabelCollector)
	s.Create(t, steps.Collector(t, pool, "statefulset", spec))
}

// allocator is the spec.targetAllocator of the collector, in YAML: it takes the monitors of the scene's namespace.
func (s *scraping) allocator(fields ...string) string {
	return fmt.Sprintf(`{enabled: true, allocationStrategy: least-weighted, collectorTargetReloadInterval: 1s, %s
  prometheusCR: {enabled: true, scrapeInterval: %s, allowNamespaces: [%s],
    serviceMonitorSelector: {}, podMonitorSelector: {}, probeSelector: {}, scrapeConfigSelector: {}}}`,
		strings.Join(append(fields, ""), ", "), scrapeInterval, s.Namespace)
}

// receiver is the configuration of the receiver, in YAML, with jobs of its own. It must have no http_scrape_config: that would replace what
// every job says of TLS and credentials (prometheusreceiver, internal/targetallocator/manager.go).
func receiver(jobs string) string {
	return fmt.Sprintf(`{config: {global: {scrape_interval: %s}, scrape_configs: [%s]}, target_allocator: {http_sd_config: {refresh_interval: %s}}}`, scrapeInterval, jobs, sdRefresh)
}

// members are the names of as many collectors' pods.
func members(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s-collector-%d", pool, i))
	}
	return out
}

// look asks the sink, through the API server, for what it has since a moment.
func (s *scraping) look(ctx context.Context, since time.Time) (*samples.View, error) {
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods/sink:%d/proxy/series", s.Namespace, sinkPort)
	data, err := s.client.CoreV1().RESTClient().Get().AbsPath(path).Param("since", fmt.Sprint(since.UnixMilli())).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	view, err := samples.Parse(data)
	if err == nil && !s.started.IsZero() && !view.Started.Equal(s.started) {
		err = fmt.Errorf("sink: it was restarted at %s, and what it had is lost", view.Started)
	}
	return view, err
}

// mustLook is look for what has to work, at some time.
func (s *scraping) mustLook(t *testing.T, since time.Time) *samples.View {
	t.Helper()
	var out *samples.View
	within(t, steps.RealPatience, "the sink answers", func() (err error) {
		out, err = s.look(t.Context(), since)
		return err
	})
	return out
}

// joined is when each target that there should be was ready, by its name: all wanted ports of all exporters' pods that are Ready and not
// about to end, and those that are no ports of pods, at no time.
func (s *scraping) joined(ctx context.Context) (map[string]time.Time, error) {
	pods, err := s.client.CoreV1().Pods(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "workbench=exporter"})
	if err != nil {
		return nil, err
	}
	out := map[string]time.Time{}
	for name := range s.static {
		out[name] = time.Time{}
	}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil || s.withheld[pod.Labels["app"]] {
			continue
		}
		ready := time.Time{}
		for _, c := range pod.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" {
				ready = c.LastTransitionTime.Time
			}
		}
		if ready.IsZero() {
			return nil, fmt.Errorf("exporter %s is not ready", pod.Name)
		}
		for port := range strings.SplitSeq(pod.Annotations[wantedPorts], ",") {
			if port != "" {
				out[pod.Name+":"+port] = ready
			}
		}
	}
	return out, nil
}

// rolledOut says which Deployment is not as its spec wants it.
func (s *scraping) rolledOut(t *testing.T) error {
	t.Helper()
	for _, u := range s.List(t, steps.Deployments, "app") {
		want, _ := steps.Field(&u, "spec", "replicas").(int64)
		count := func(field string) int64 {
			n, _, _ := unstructured.NestedInt64(u.Object, "status", field)
			return n
		}
		if count("observedGeneration") != u.GetGeneration() || count("replicas") != want || count("updatedReplicas") != want || count("readyReplicas") != want {
			return fmt.Errorf("exporters %s: %v, want %d", u.GetName(), u.Object["status"], want)
		}
	}
	return nil
}

// within is steps.Within for what is not asked for more than twice a second.
func within(t *testing.T, patience time.Duration, what string, check func() error) {
	t.Helper()
	const interval = 500 * time.Millisecond
	last, next := errors.New("nothing"), time.Time{}
	steps.Within(t, patience, what, func() error {
		if now := time.Now(); now.After(next) {
			last = check()
			next = time.Now().Add(interval)
		}
		return last
	})
}

// settled says what is not yet as it should be, or returns the owner of each target: of those that there should be, and of no others, all
// samples of the last few intervals come from one of the members, and none has more than its share.
func (s *scraping) settled(ctx context.Context, want expected) (map[string]string, error) {
	targets, err := s.joined(ctx)
	if err != nil {
		return nil, err
	}
	view, err := s.look(ctx, time.Now().Add(-time.Minute))
	if err != nil {
		return nil, err
	}
	end := view.Now.Add(-delay)
	owners, load, wrong := map[string]string{}, map[string]int{}, []string{}
	for name := range targets {
		owner, err := view.Targets[name].Between(end.Add(-window), end).Owner()
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		owners[name] = owner
		load[owner]++
	}
	for name, all := range view.Targets {
		if recent := all.Between(end.Add(-window), end); len(recent) > 0 && !has(targets, name) {
			wrong = append(wrong, fmt.Sprintf("%s is still scraped by %v", name, recent.Collectors()))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return nil, fmt.Errorf("%d of %d targets: %s", len(wrong), len(targets), strings.Join(wrong[:min(3, len(wrong))], "; "))
	}
	share := (len(targets) + len(want.members) - 1) / len(want.members)
	for member, n := range load {
		if n > share && !want.uneven || !slices.Contains(want.members, member) {
			return nil, fmt.Errorf("%s has %d of %d targets, want %d at most: %v", member, n, len(targets), share, load)
		}
	}
	return owners, nil
}

func has[K comparable, V any](m map[K]V, key K) bool {
	_, ok := m[key]
	return ok
}
