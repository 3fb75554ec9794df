package features_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

var update = flag.Bool("update", false, "rewrite docs/permissions.md")

const document = "docs/permissions.md"

// TestPermissionTable holds three lists against each other: what otelier install grants, what the document says, and what the tests know.
func TestPermissionTable(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("the table of permissions").WithLabel("run", "smoke").
		Assess("has what otelier install grants", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, flags := range [][]string{
				{},
				{noSecrets},
				{noDiscovery},
				{"--namespaces", "team-a,team-b"},
				{"--namespaces", "team-a", noSecrets},
				{"--namespaces", "team-a", noDiscovery},
			} {
				manifest, err := s.Manifest(t.Context(), flags...)
				if err != nil {
					t.Fatal(err)
				}
				got, want := grantedBy(t, manifest), wanted(flags)
				for _, key := range got {
					if n := count(got, key) - count(want, key); n > 0 {
						t.Errorf("install %s grants %s, %d times more than the table says", strings.Join(flags, " "), key, n)
					}
				}
				for _, key := range want {
					if count(got, key) == 0 {
						t.Errorf("install %s does not grant %s", strings.Join(flags, " "), key)
					}
				}
			}
		})).
		Assess("is what the document says", steps.In(func(t *testing.T, _ *steps.Scene) {
			root, err := program.Root()
			if err != nil {
				t.Fatal(err)
			}
			file, text := filepath.Join(root, document), documented()
			if *update {
				if err := os.WriteFile(file, text, 0o644); err != nil { //nolint:gosec // a document
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: error %v, want what the table says: go test ./features -run TestPermissionTable -update", document, err)
			}
		})).
		Feature())
}

func count(list []string, key string) int {
	n := 0
	for _, k := range list {
		if k == key {
			n++
		}
	}
	return n
}

// wanted are the keys of what is granted with flags of otelier install, for each namespace.
func wanted(flags []string) []string {
	namespaces := 0
	if i := slices.Index(flags, "--namespaces"); i >= 0 {
		namespaces = strings.Count(flags[i+1], ",") + 1
	}
	discovery, secrets := !slices.Contains(flags, noDiscovery), !slices.Contains(flags, noSecrets)
	var out []string
	for _, p := range permissions() {
		granted := map[string]bool{"": true, noDiscovery: discovery, noSecrets: discovery && secrets, onlyNamespaces: discovery && namespaces > 0}[p.option]
		switch {
		case !granted || p.scope == clusterWide && namespaces > 0:
		case p.scope == everywhere:
			out = append(out, slices.Repeat([]string{p.key()}, max(namespaces, 1))...)
		default:
			out = append(out, p.key())
		}
	}
	return out
}

// grantedBy are the keys of what a manifest grants.
func grantedBy(t *testing.T, manifest []byte) []string {
	t.Helper()
	var out []string
	for text := range strings.SplitSeq(string(manifest), "\n---\n") {
		var role struct {
			Kind     string
			Metadata struct{ Namespace string }
			Rules    []struct{ APIGroups, Resources, Verbs, ResourceNames []string }
		}
		if err := yaml.Unmarshal([]byte(text), &role); err != nil {
			t.Fatalf("manifest: %v", err)
		}
		if role.Kind != "Role" && role.Kind != "ClusterRole" {
			continue
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						p := permission{group: group, resource: resource, verb: verb, scope: everywhere}
						switch {
						case role.Metadata.Namespace == steps.SystemNamespace:
							p.scope = own
						case role.Kind == "ClusterRole" && inNoNamespace(resource):
							p.scope = clusterWide
						}
						if strings.Join(rule.ResourceNames, " ") != strings.Join(p.names(), " ") {
							t.Errorf("%s: for the names %v, want %v", p.key(), rule.ResourceNames, p.names())
						}
						out = append(out, p.key())
					}
				}
			}
		}
	}
	return out
}

func inNoNamespace(resource string) bool {
	return slices.Contains([]string{"nodes", "namespaces", "storageclasses"}, resource)
}

// documented is what the document says.
func documented() []byte {
	var out bytes.Buffer
	out.WriteString(`# Permissions

What ` + "`otelier install`" + ` grants to the operator, what each right is for, and what you see where you have taken it away. A test compares this table
with the manifest, shows that each right is used, and takes each away to see that what is said here happens
(` + "`e2e/features/permissions_table_test.go`" + `, from which this is made).

| Where | |
|---|---|
| namespaces | In all namespaces, by a ClusterRole; with ` + "`--namespaces`" + ` in each of these, by a Role. |
| cluster | For what is in no namespace, by the ClusterRole. With ` + "`--namespaces`" + ` there is none, and what is without it is as said here. |
| own namespace | In the operator's own namespace, by a Role. |

` + "`--no-discovery`" + ` leaves out what finding targets takes, for installations without target allocators; ` + "`--no-secrets`" + ` leaves Secrets out. Who may list
Secrets, or watch them, can read their content: RBAC does not tell metadata from content. The operator watches names and versions, and reads
content only of Secrets that a selected monitor refers to, in namespaces that ` + "`spec.targetAllocator.prometheusCR.secretNamespaces`" + ` allows. By the
rights to create workloads, the operator can, as any controller of workloads, run pods with any ServiceAccount and any Secret of the namespaces
it works in.

Nothing is granted that lets the operator change a collector (but for its status), a Secret, a Role or a node. RBAC can't tell whose an object is: by
its rights the operator could change or delete any object of the kinds below, in the namespaces that it works in. That it leaves alone what is not a
collector's is its own doing. ` + "`--namespaces`" + ` limits where.

| API group | Resource | Verb | Where | Not with | For | Without it |
|---|---|---|---|---|---|---|
`)
	for _, p := range permissions() {
		option := ""
		if p.option != "" {
			option = "`" + p.option + "`"
		}
		if p.option == onlyNamespaces {
			option = "`--no-discovery`; only with `--namespaces`"
		}
		if p.option == noSecrets {
			option = "`--no-secrets`, `--no-discovery`"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s |\n", cmp.Or(p.group, "core"), p.resource, p.verb, p.scope, option, p.need, p.without)
	}
	return out.Bytes()
}
