package features_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// scope is where a permission is granted.
type scope string

const (
	// everywhere is in all namespaces, or in each of those of --namespaces.
	everywhere scope = "namespaces"
	// clusterWide is for what is in no namespace. With --namespaces it is not granted.
	clusterWide scope = "cluster"
	// own is in the namespace of the operator alone.
	own scope = "own namespace"
)

// permission is a right that otelier install grants, what takes it, and what is seen where it was taken away.
type permission struct {
	group, resource, verb string
	scope                 scope
	// option of otelier install without which it is granted; "" for any.
	option string
	need   string
	// without is what is seen instead, and lack shows it.
	without string
	lack    lack
}

// name is the verb and the resource: "patch statefulsets.apps".
func (p permission) name() string {
	resource := p.resource
	if p.group != "" {
		resource += "." + p.group
	}
	if p.scope == own {
		resource += " of its own"
	}
	return p.verb + " " + resource
}

// key is what the permission is told from others by.
func (p permission) key() string {
	return fmt.Sprintf("%s/%s %s (%s)", cmp.Or(p.group, "core"), p.resource, p.verb, p.scope)
}

const (
	noDiscovery = "--no-discovery"
	noSecrets   = "--no-secrets"
	// onlyNamespaces is of what other rules grant already where there is no --namespaces.
	onlyNamespaces = "with --namespaces, without --no-discovery"
)

const (
	streamed     = " Only where the API server does not stream lists, or stops to: Kubernetes up to 1.33, as a rule."
	notReady     = "Not ready; log `not allowed to list and watch`."
	listsAgain   = "Log `not allowed to list and watch`; changes are seen late, by listing again and again."
	barred       = "`Stalled`, reason `Forbidden`; nothing of the collector is changed."
	barredRest   = "`Stalled`, reason `Forbidden`; what is to go stays."
	noTargets    = "`DiscoveryIncomplete` names the right; the pool's first targets wait for up to 5 minutes, then come without these."
	roleFails    = "`DiscoveryIncomplete` with the API server's answer; the job has no targets."
	roleLate     = "Log `watching has failed and is tried again`; changes are seen late, by listing again and again."
	monitorsLate = "Log `not allowed to watch`; changes are seen late, by listing again and again."
)

// permissions are all that otelier install grants.
func permissions() []permission {
	return slices.Concat(collectorPermissions(), ownedPermissions(), dependentPermissions(), monitorPermissions(), rolePermissions(), ownPermissions())
}

func collectorPermissions() []permission {
	const group, resource = "opentelemetry.io", "opentelemetrycollectors"
	return []permission{
		{
			group, resource, "get", everywhere, "", "Before an object gets its owner back that somebody has taken away: the collector may be on its way out.",
			"Log `cannot get`; the object stays without an owner, and is tried again.", lackOwner,
		},
		{group, resource, "list", everywhere, "", "What there is to do, at the start." + streamed, notReady, lackCache},
		{group, resource, "watch", everywhere, "", "What there is to do.", listsAgain, lackCache},
		{
			group, resource + "/status", "patch", everywhere, "", "Conditions, inventory and the scale subresource.",
			"Log `cannot patch`; no status, and nothing is created, since the inventory is written first.", lackStatus,
		},
	}
}

// ownedPermissions are those on what is made for collectors.
func ownedPermissions() []permission {
	var out []permission
	for _, kind := range []struct{ group, resource, what, goes string }{
		{"", "serviceaccounts", "the pods' identity", "`spec.serviceAccount` names another one"},
		{"", "configmaps", "the configuration", "it is older than `spec.configVersions` keeps"},
		{"", "services", "the ports", "there are no ports any more"},
		{"apps", "deployments", "mode `deployment`", "another version made it, or an immutable field changes"},
		{"apps", "daemonsets", "mode `daemonset`", "another version made it, or an immutable field changes"},
		{"apps", "statefulsets", "mode `statefulset`", "another version made it, or an immutable field changes"},
		{"policy", "poddisruptionbudgets", "evictions", "another version made it"},
	} {
		add := func(verb, need, without string, shows lack) {
			out = append(out, permission{kind.group, kind.resource, verb, everywhere, "", need, without, shows})
		}
		also := map[string]string{
			"configmaps":   " Also what monitors refer to.",
			"services":     " Also the discovery of targets.",
			"statefulsets": " Also the members of pools.",
		}[kind.resource]
		add("get", "Whether somebody else has the name of what is about to be made."+also, barred, lackOwned)
		add("list", "What is there, at the start."+also+streamed, notReady, lackCache)
		add("watch", "Drift, and how rollouts go."+also, listsAgain, lackCache)
		add("create", fmt.Sprintf("Making one, for %s.", kind.what), barred, lackOwned)
		add("patch", "Server-side apply, which is how all is made and changed.", barred, lackOwned)
		add("delete", fmt.Sprintf("Pruning, when %s.", kind.goes), barredRest, lackPruning)
	}
	return out
}

// dependentPermissions are those on what comes of workloads, and on what there is to say of all that.
func dependentPermissions() []permission {
	return []permission{
		{"", "persistentvolumeclaims", "list", everywhere, "", "What keeps pods waiting, and which claims are to grow." + streamed, notReady, lackCache},
		{"", "persistentvolumeclaims", "watch", everywhere, "", "What keeps pods waiting, and which claims are to grow.", listsAgain, lackCache},
		{
			"", "persistentvolumeclaims", "patch", everywhere, "", "Growing claims with their template: their size, and nothing else.",
			"`ClaimsNotExpanded`, reason `ClaimRefused`.", lackGrowth,
		},
		{"", "pods", "list", everywhere, "", "What is wrong with pods; the members of pools; the discovery of targets." + streamed, notReady, lackCache},
		{"", "pods", "watch", everywhere, "", "What is wrong with pods; the members of pools; the discovery of targets.", listsAgain, lackCache},
		{
			"", "pods", "patch", everywhere, "", "Relabelling the pods of a StatefulSet that is made anew with another selector: labels only.",
			barred, lackRelabelling,
		},
		{
			"", "pods", "delete", everywhere, "", "Making pods anew, one by one: that lack a volume which their StatefulSet has got, or that are of a former revision and don't come up, so that their StatefulSet waits for them in vain; removing pods that a collector has left.",
			barredRest, lackPodDeletion,
		},
		{
			"storage.k8s.io", "storageclasses", "get", clusterWide, "", "Whether claims of a class can grow.",
			"It is tried: `ClaimsNotExpanded` has the reason `ClaimRefused` instead of `ClassNotExpandable`.", lackClass,
		},
		{"events.k8s.io", "events", "create", everywhere, "", "Events about collectors and monitors.", "Log `Server rejected event`; no Events.", lackEvents},
		{
			"events.k8s.io", "events", "patch", everywhere, "", "Counting Events that happen again.",
			"Log `Server rejected event`; the Event is not counted.", lackEventSeries,
		},
	}
}

// monitorPermissions are those on what monitors are, and refer to.
func monitorPermissions() []permission {
	var out []permission
	for _, resource := range []string{"servicemonitors", "podmonitors", "probes", "scrapeconfigs"} {
		what := fmt.Sprintf("`prometheusCR` with a selector of %s.", resource)
		out = append(out,
			permission{"monitoring.coreos.com", resource, "list", everywhere, noDiscovery, what, noTargets, lackMonitors},
			permission{"monitoring.coreos.com", resource, "watch", everywhere, noDiscovery, what, monitorsLate, lackMonitorChanges},
		)
	}
	return append(out,
		permission{
			"", "secrets", "get", everywhere, noSecrets, "The Secrets that selected monitors name, and no others.",
			"`MonitorsInvalid`, reason `SecretDenied`.", lackSecret,
		},
		permission{
			"", "secrets", "list", everywhere, noSecrets, "When those change: names and versions, without content.",
			"Log `watch of a resource` with `state=forbidden`; those in use are read again every 30 seconds.", lackSecretChanges,
		},
		permission{
			"", "secrets", "watch", everywhere, noSecrets, "When those change: names and versions, without content.",
			monitorsLate, lackSecretChanges,
		},
		permission{
			"", "namespaces", "list", clusterWide, noDiscovery, "Selectors of namespaces by label, and `attach_metadata.namespace`.",
			noTargets, lackMonitors,
		},
		permission{
			"", "namespaces", "watch", clusterWide, noDiscovery, "Selectors of namespaces by label, and `attach_metadata.namespace`.",
			monitorsLate, lackMonitorChanges,
		},
	)
}

// rolePermissions are those that kubernetes_sd_configs take, in scrape configs and in what monitors become.
func rolePermissions() []permission {
	var out []permission
	for _, r := range []struct {
		group, resource string
		scope           scope
		need            string
	}{
		{"discovery.k8s.io", "endpointslices", everywhere, "Role `endpointslice`, which ServiceMonitors take."},
		{"networking.k8s.io", "ingresses", everywhere, "Role `ingress`, which Probes of Ingresses take."},
		{"", "endpoints", everywhere, "Role `endpoints`."},
		{"apps", "replicasets", everywhere, "`attach_metadata.deployment`."},
		{"batch", "jobs", everywhere, "`attach_metadata.job` and `attach_metadata.cronjob`."},
		{"", "nodes", clusterWide, "Role `node`, and `attach_metadata.node`."},
	} {
		also := ""
		if r.resource == "nodes" {
			also = " Also the zones of more than a few nodes."
		}
		out = append(out,
			permission{r.group, r.resource, "list", r.scope, noDiscovery, r.need + also, roleFails, lackRole},
			permission{r.group, r.resource, "watch", r.scope, noDiscovery, r.need, roleLate, lackRole},
		)
	}
	return append(out, permission{
		"", "nodes", "get", clusterWide, noDiscovery, "The zones of the pods' nodes, with the annotation `otelier.io/allocation-zones`.",
		"Log `the zones of nodes can't be read`; zones count for nothing.", lackZones,
	})
}

// ownPermissions are those in the operator's own namespace.
func ownPermissions() []permission {
	const leases = "coordination.k8s.io"
	return []permission{
		{leases, "leases", "create", own, "", "Leader election, the first time.", "Log `Error initially creating lease lock`; nobody works.", lackLease},
		{leases, "leases", "get", own, "", "Leader election; the Leases `otelier` and `otelier-dry-run` only.", "Log `Error retrieving lease lock`; nobody works.", lackLease},
		{leases, "leases", "update", own, "", "Leader election; the same Leases only.", "The leader ends after 10 seconds, and is started again.", lackRenewal},
		{
			"discovery.k8s.io", "endpointslices", "list", own, onlyNamespaces,
			"How many replicas answer collectors. Otherwise the right to look for targets is enough.",
			"Log `how many replicas answer collectors is not known`; `CollectorsNotPolling` may name collectors that ask another replica.", lackReplicas,
		},
	}
}

// names are those of the objects that the permission is for; nil for all.
func (p permission) names() []string {
	if p.resource == "leases" && p.verb != "create" {
		return []string{"otelier", "otelier-dry-run"}
	}
	return nil
}

// rules are permissions as RBAC has them, as YAML: one rule each.
func rules(all []permission) string {
	var out strings.Builder
	for _, p := range all {
		fmt.Fprintf(&out, "- {apiGroups: [%q], resources: [%q], verbs: [%s], resourceNames: [%s]}\n", p.group, p.resource, p.verb, strings.Join(p.names(), ", "))
	}
	return out.String()
}
