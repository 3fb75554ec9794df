package features_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// lack shows what becomes of an operator without a permission.
type lack func(t *testing.T, l *lacking)

// lacking is the scene of an operator that lacks one permission, and has all others in the scene's namespace alone.
type lacking struct {
	*steps.Scene
	permission
	system     string // namespace of its Lease
	kubeconfig string
	environ    []string
}

// start starts the operator, and waits until it is ready.
func (l *lacking) start(t *testing.T, flags ...string) *program.Process {
	t.Helper()
	p := l.launch(t, flags...)
	l.AwaitReady(t, p)
	return p
}

func (l *lacking) launch(t *testing.T, flags ...string) *program.Process {
	t.Helper()
	return launch(t, l.Scene, l.environ, append([]string{"--kubeconfig", l.kubeconfig, "--namespaces", l.Namespace}, flags...)...)
}

// denied is how the API server says that the permission is missing.
func (l *lacking) denied() []string {
	resource := l.resource
	if l.scope != own {
		return []string{"cannot " + l.verb, fmt.Sprintf("resource %q", resource)}
	}
	return []string{"cannot " + l.verb, resource}
}

// waitLog waits until a line of the operator's log has all these texts.
func waitLog(t *testing.T, p *program.Process, texts ...string) {
	t.Helper()
	steps.Eventually(t, fmt.Sprintf("a line of the log with %q", texts), func() error {
		if hasLine(p.Log(), texts...) {
			return nil
		}
		return fmt.Errorf("the log ends with\n%s", p.Tail())
	})
}

func hasLine(log string, texts ...string) bool {
	for line := range strings.Lines(log) {
		// As slog writes it, in quotes.
		if containsAll(strings.ReplaceAll(line, `\"`, `"`), texts...) {
			return true
		}
	}
	return false
}

func containsAll(line string, texts ...string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// lackCache is about what is watched at all times.
func lackCache(t *testing.T, l *lacking) {
	p := l.launch(t)
	resource := l.resource
	if l.group != "" {
		resource += "." + l.group
	}
	waitLog(t, p, "not allowed to list and watch", "resource="+resource)
	if l.verb == "list" {
		if status, body, err := p.Get(t.Context(), "/readyz"); err != nil || status == http.StatusOK {
			t.Errorf("/readyz: %d %s, error %v, want it not to be ready", status, body, err)
		}
	}
}

// lackOwned is about what is made for a collector.
func lackOwned(t *testing.T, l *lacking) {
	l.start(t)
	l.Create(t, idle(t, "barred", modeOf(l.resource)))
	l.WaitCondition(t, "barred", "Stalled", metav1.ConditionTrue, "Forbidden", l.denied()...)
}

// modeOf is a mode in which there is one of a resource.
func modeOf(resource string) string {
	switch resource {
	case "daemonsets":
		return "daemonset"
	case "statefulsets":
		return "statefulset"
	default:
		return "deployment"
	}
}

func lackStatus(t *testing.T, l *lacking) {
	p := l.start(t)
	l.Create(t, idle(t, "mute", "deployment"))
	waitLog(t, p, l.denied()...)
	if status := steps.Field(l.Get(t, steps.Collectors, "mute"), "status", "conditions"); status != nil {
		t.Errorf("status %v, want none", status)
	}
	if made := l.List(t, steps.Deployments, ""); len(made) > 0 {
		t.Errorf("there is %v, want nothing that no inventory names", steps.Names(made))
	}
}

func lackOwner(t *testing.T, l *lacking) {
	p := l.start(t)
	l.Create(t, idle(t, "left", "deployment"))
	l.WaitReady(t, "left")
	disown(t, l.Scene, "left")
	waitLog(t, p, l.denied()...)
	if owners := l.Get(t, steps.ServiceAccounts, "left-collector").GetOwnerReferences(); len(owners) > 0 {
		t.Errorf("owners %v, want none", owners)
	}
}

func lackPruning(t *testing.T, l *lacking) {
	l.start(t)
	superfluous(t, l.Scene, l.resource, "kept")
	l.WaitCondition(t, "kept", "Stalled", metav1.ConditionTrue, "Forbidden", l.denied()...)
}

func lackGrowth(t *testing.T, l *lacking) {
	l.start(t)
	class := storageClass(t, l.Scene, true, "small")
	l.Create(t, running(t, "small", claimOf("1Gi", class)))
	waitBound(t, l.Scene, "small")
	l.PatchSpec(t, "small", claimOf("2Gi", class))
	l.WaitCondition(t, "small", "ClaimsNotExpanded", metav1.ConditionTrue, "ClaimRefused", l.denied()...)
}

// lackClass is about a class that does not let claims grow: that it was not asked for is seen from who has refused.
func lackClass(t *testing.T, l *lacking) {
	l.start(t)
	class := storageClass(t, l.Scene, false, "small")
	l.Create(t, running(t, "small", claimOf("1Gi", class)))
	waitBound(t, l.Scene, "small")
	l.PatchSpec(t, "small", claimOf("2Gi", class))
	l.WaitCondition(t, "small", "ClaimsNotExpanded", metav1.ConditionTrue, "ClaimRefused", "only dynamically provisioned pvc can be resized")
}

func lackRelabelling(t *testing.T, l *lacking) {
	p := l.start(t)
	l.Create(t, running(t, "other"))
	l.WaitReady(t, "other")
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	otherSelector(t, l.Scene, "other")
	l.start(t)
	l.WaitCondition(t, "other", "Stalled", metav1.ConditionTrue, "Forbidden", l.denied()...)
}

func lackPodDeletion(t *testing.T, l *lacking) {
	l.start(t)
	class := storageClass(t, l.Scene, true, "bare")
	l.Create(t, running(t, "bare"))
	l.WaitReady(t, "bare")
	l.PatchSpec(t, "bare", claimOf("1Gi", class))
	l.WaitCondition(t, "bare", "Stalled", metav1.ConditionTrue, "Forbidden", l.denied()...)
}

func lackEvents(t *testing.T, l *lacking) {
	p := l.start(t)
	l.Create(t, idle(t, "bad", "deployment", `config: "{}"`))
	waitLog(t, p, append(l.denied(), "Server rejected event")...)
	if events := l.Events(t, "bad"); len(events) > 0 {
		t.Errorf("events %v, want none", events)
	}
}

func lackEventSeries(t *testing.T, l *lacking) {
	p := l.start(t)
	securedMonitor(t, l.Scene)
	l.Create(t, scraper(t, "scraper", monitorsOfAll))
	brokenTwice(t, l.Scene, "scraper")
	waitLog(t, p, append(l.denied(), "Server rejected event")...)
	if n := l.CountEvents(t, secured, "MissingReference"); n != 1 {
		t.Errorf("the Event counts %d, want 1", n)
	}
}

func lackMonitors(t *testing.T, l *lacking) {
	l.start(t)
	l.Create(t, scraper(t, "scraper", monitorsByLabel))
	l.WaitCondition(t, "scraper", "DiscoveryIncomplete", metav1.ConditionTrue, "NotReported", "waits for the monitors: the right to list and watch "+l.resource)
}

func lackMonitorChanges(t *testing.T, l *lacking) {
	p := l.start(t)
	l.Create(t, scraper(t, "scraper", monitorsByLabel))
	waitLog(t, p, append(l.denied(), "not allowed to watch")...)
}

func lackSecret(t *testing.T, l *lacking) {
	l.start(t)
	securedMonitor(t, l.Scene)
	l.Create(t, scraper(t, "scraper", monitorsOfAll))
	l.WaitCondition(t, "scraper", "MonitorsInvalid", metav1.ConditionTrue, "SecretDenied", secured)
}

func lackSecretChanges(t *testing.T, l *lacking) {
	p := l.start(t)
	securedMonitor(t, l.Scene)
	l.Create(t, scraper(t, "scraper", monitorsOfAll))
	if l.verb == "watch" {
		waitLog(t, p, append(l.denied(), "not allowed to watch")...)
		return
	}
	waitLog(t, p, append(l.denied(), "watch of a resource", "state=forbidden")...)
}

// lackRole is about a role of kubernetes_sd_configs.
func lackRole(t *testing.T, l *lacking) {
	p := l.start(t)
	l.Create(t, scraper(t, "scraper", discoveryOf(roleFor(l.resource))))
	if l.verb == "watch" {
		waitLog(t, p, append(l.denied(), "watching has failed and is tried again")...)
		return
	}
	l.WaitCondition(t, "scraper", "DiscoveryIncomplete", metav1.ConditionTrue, "NotReported", l.denied()...)
}

func lackZones(t *testing.T, l *lacking) {
	p := l.start(t)
	l.Create(t, zoned(t, "zoned"))
	waitLog(t, p, append(l.denied(), "the zones of nodes can't be read")...)
}

// lackLease is about replicas that can't even take part in an election.
func lackLease(t *testing.T, l *lacking) {
	p := l.launch(t, "--leader-elect", "--leader-elect-namespace", l.system)
	text := "Error retrieving lease lock"
	if l.verb == "create" {
		text = "Error initially creating lease lock"
	}
	waitLog(t, p, append(l.denied(), text)...)
	if strings.Contains(p.Log(), "msg=reconciling") {
		t.Errorf("it works without a Lease:\n%s", p.Tail())
	}
}

func lackRenewal(t *testing.T, l *lacking) {
	p := l.launch(t, "--leader-elect", "--leader-elect-namespace", l.system)
	steps.WaitExit(t, p)
	if p.ExitCode() == 0 || !hasLine(p.Log(), l.denied()...) || !hasLine(p.Log(), "the lease was lost") {
		t.Errorf("it has ended with %d:\n%s", p.ExitCode(), p.Tail())
	}
}

// lackReplicas is about two replicas behind the Service of the allocator: a collector that does not ask this one may ask the other.
func lackReplicas(t *testing.T, l *lacking) {
	if !simulatedPods(l.Scene) {
		t.Skip("needs pods that are ready without an allocator: E2E_PROVIDER=local")
	}
	twoReplicas(t, l.Scene, l.system)
	p := l.start(t, "--allocator-url", "http://otelier."+l.system+".svc:80")
	l.Create(t, scraper(t, "scraper", staticTargets, `replicas: 1`))
	const silence = 2 * time.Minute // after which it is said
	steps.Within(t, silence+steps.Patience, "a line of the log", func() error {
		if !hasLine(p.Log(), append(l.denied(), "how many replicas answer collectors is not known")...) {
			return errors.New(p.Tail())
		}
		return nil
	})
	l.WaitCondition(t, "scraper", "CollectorsNotPolling", metav1.ConditionTrue, "NotAsked")
}
