package targets_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// pool is the collector of the scene, with the name that its pods begin with.
const (
	pool     = "pool"
	poolPods = "pool-collector-"
)

// collectors tell their targets their names. Their own telemetry is off, since they share the ports of one machine.
const collectors = `
podAnnotations: {kwok.x-k8s.io/status: custom}
targetAllocator:
  enabled: true
  allocationStrategy: least-weighted
  collectorTargetReloadInterval: 1s
  prometheusCR: {enabled: true, scrapeInterval: 1s, serviceMonitorSelector: {}}
config:
  receivers:
    prometheus:
      config: {scrape_configs: []}
      target_allocator:
        http_sd_config: {refresh_interval: 1s}
        http_scrape_config: {http_headers: {X-Collector: {values: ["${env:POD_NAME}"]}}}
  processors: {batch: {timeout: 5s}}
  exporters: {debug: {}}
  service:
    telemetry: {metrics: {level: none}}
    pipelines: {metrics: {receivers: [prometheus], processors: [batch], exporters: [debug]}}
`

// TestExactlyOnce has real collectors scrape 300 live targets that are found through ServiceMonitors, and looks at it from the side of the
// targets, while one after the other happens what moves targets.
func TestExactlyOnce(t *testing.T) {
	environment.Test(t, steps.Feature("300 targets").
		Assess("are scraped by one collector each, whatever happens", steps.In(func(t *testing.T, scene *steps.Scene) {
			s := startScraping(t, scene, 300)
			t.Cleanup(func() { t.Log(s.table()) })
			s.scale(t)
			s.restart(t)
			s.edit(t)
			scene.WaitReady(t, pool)
		})).
		Feature())
}

// startScraping has targets, Services and ServiceMonitors for a third of them each, and an operator.
func startScraping(t *testing.T, scene *steps.Scene, targets int) *scraping {
	t.Helper()
	address := freeAddress(t)
	s := &scraping{
		Scene: scene, farm: newFarm(t, targets), paths: map[*target]string{},
		allocator: newAllocator(t, fmt.Sprintf("http://%s/pools/%s/%s", address, scene.Namespace, pool)),
		flags:     []string{"--allocator-listen", address, "--allocator-url", "http://" + address},
	}
	for i, service := range services() {
		third := s.third(i)
		expose(t, scene, service, third)
		monitor(t, scene, service, "/metrics")
		for _, target := range third {
			s.paths[target] = "/metrics"
		}
	}
	s.kubelet = startKubelet(t, scene)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the collectors' last lines:\n%s", s.kubelet.tails())
		}
	})
	scene.StartOperator(t, s.flags...)
	return s
}

func services() []string { return []string{"alpha", "beta", "gamma"} }

// third are the targets of a service.
func (s *scraping) third(i int) farm {
	n := len(s.farm) / len(services())
	return s.farm[i*n : (i+1)*n]
}

// want is the state with as many collectors.
func (s *scraping) want(collectors, moved int) expected {
	var members []string
	for i := range collectors {
		members = append(members, fmt.Sprintf("%s%d", poolPods, i))
	}
	return expected{members, maps.Clone(s.paths), moved}
}

func (s *scraping) scale(t *testing.T) {
	t.Helper()
	s.phase(t, "3 collectors start", func(t *testing.T) {
		s.Create(t, steps.Collector(t, pool, "statefulset", collectors, "replicas: 3"))
	}, s.want(3, anyNumber))
	s.phase(t, "scale from 3 to 5", func(t *testing.T) {
		s.Kubectl(t, "", "scale", "otelcol/"+pool, "--replicas=5")
	}, s.want(5, anyNumber))
	s.phase(t, "scale from 5 to 3", func(t *testing.T) {
		s.Kubectl(t, "", "scale", "otelcol/"+pool, "--replicas=3")
	}, s.want(3, anyNumber))
}

func (s *scraping) restart(t *testing.T) {
	t.Helper()
	s.phase(t, "rolling restart", func(t *testing.T) {
		s.replaced(t, 3, func() { s.PatchSpec(t, pool, `podAnnotations: {restarted: once}`) })
	}, s.want(3, 0))
	s.phase(t, "a pod deleted", func(t *testing.T) {
		s.replaced(t, 1, func() { s.Delete(t, steps.Pods, poolPods+"1", metav1.DeletePropagationBackground) })
	}, s.want(3, 0))
	s.phase(t, "operator killed and restarted", func(t *testing.T) {
		last := s.Operators[len(s.Operators)-1]
		if err := last.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		steps.WaitExit(t, last)
		s.steady(t, "without an operator", s.want(3, 0))
		s.StartOperator(t, s.flags...)
	}, s.want(3, 0))
}

func (s *scraping) edit(t *testing.T) {
	t.Helper()
	const gamma = 2
	service := services()[gamma]
	for _, target := range s.third(gamma) {
		s.paths[target] = "/edited"
	}
	s.phase(t, "a monitor edited", func(t *testing.T) {
		s.Patch(t, serviceMonitors, service, "spec: {endpoints: ["+endpoint("/edited")+"]}")
	}, s.want(3, anyNumber))
	for _, target := range s.third(gamma) {
		delete(s.paths, target)
	}
	s.phase(t, "a monitor removed", func(t *testing.T) {
		s.Delete(t, serviceMonitors, service, metav1.DeletePropagationBackground)
	}, s.want(3, anyNumber))
}

// replaced does something that replaces pods of the pool, and waits until as many have been and all are ready.
func (s *scraping) replaced(t *testing.T, n int, do func()) {
	t.Helper()
	before := steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy))
	do()
	steps.Eventually(t, fmt.Sprintf("%d pods of %v replaced", n, before), func() error {
		pods := s.List(t, steps.Pods, steps.ManagedBy)
		now := steps.UIDs(pods)
		fresh := slices.DeleteFunc(slices.Clone(now), func(uid string) bool { return slices.Contains(before, uid) })
		if len(now) != len(before) || len(fresh) != n {
			return fmt.Errorf("pods %v", now)
		}
		return s.kubelet.allReady(t.Context(), strings.TrimSuffix(poolPods, "-"))
	})
}

// allReady says which pods are not ready.
func (k *kubelet) allReady(ctx context.Context, prefix string) error {
	pods, err := k.client.CoreV1().Pods(k.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if strings.HasPrefix(p.Name, prefix) && (!ready || p.DeletionTimestamp != nil) {
			return fmt.Errorf("pod %s is not ready", p.Name)
		}
	}
	return nil
}
