package monitor

import (
	"github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring"
	rbacv1 "k8s.io/api/rbac/v1"
)

// Rules are the rights that a Watcher of all namespaces needs. Of Secrets and ConfigMaps it lists and watches metadata only, in
// namespaces in which some are referred to, and gets those. Without list and watch of them it fetches what is referred to every 30
// seconds instead. Namespaces are only read when a selection selects by their labels. That CustomResourceDefinitions come and go it
// learns without a right to see them.
func Rules() []rbacv1.PolicyRule {
	var resources []string
	for k := range kinds {
		resources = append(resources, k.plural())
	}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{monitoring.GroupName}, Resources: resources, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"get", "list", "watch"}},
	}
}
