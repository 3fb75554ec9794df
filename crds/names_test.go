package crds

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The name of a custom resource can have 253 characters, dots among them.
const longName = "d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e62-4d96-11ea-b174-c85b7644b6b5"

// TestNames has the names that the OpenTelemetry Operator gives, so that its objects are found where they are.
func TestNames(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, c := range []struct{ what, got, want string }{
		{"workload", WorkloadName("simplest"), "simplest-collector"},
		{"headless", HeadlessServiceName("simplest"), "simplest-collector-headless"},
		{"monitoring", MonitoringServiceName("simplest"), "simplest-collector-monitoring"},
		{"extension", ExtensionServiceName("simplest"), "simplest-collector-extension"},
		{"config map", ConfigMapName("simplest", hash), "simplest-collector-01234567"},
		{"config map of a short hash", ConfigMapName("simplest", "0123"), "simplest-collector-0123"},
		{"volume", ExtraConfigVolume("rules"), "configmap-rules"},
		{"instance", Instance("ns", "simplest"), "ns.simplest"},

		{"dots in workload", WorkloadName("team.a"), "team-a-collector"},
		{"dots in instance", Instance("ns", "team.a"), "ns.team.a"},
		{"dots in volume", ExtraConfigVolume("kube-root-ca.crt"), "configmap-kube-root-ca-crt"},

		{"long workload", WorkloadName(longName), "d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e62-4d96-11e-collector"},
		{"long headless", HeadlessServiceName(longName), "d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e62-collector-headless"},
		{"long monitoring", MonitoringServiceName(longName), "d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e-collector-monitoring"},
		{"long config map", ConfigMapName(longName, hash), "d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e62-collector-01234567"},
		{"long volume", ExtraConfigVolume(longName), "configmap-d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e62-4d96-11e"},
		{"long namespace first", Instance("namespace-of-the-greatest-length-that-there-is", longName), "d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e62-4d96-11ea-b174-c8"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
}

// TestTruncate holds the rule against the facts of the incumbent's own tests (internal/naming/triming_test.go).
func TestTruncate(t *testing.T) {
	for _, c := range []struct {
		format string
		args   []string
		want   string
	}{
		{"%s-collector", []string{"simplest"}, "simplest-collector"},
		{"%s-collector", []string{longName}, "d0c1e62-4d96-11ea-b174-c85b7644b6b5-5d0c1e62-4d96-11e-collector"},
		{"%s-%s-collector", []string{"d0c1e62", longName[8:]}, "4d96-11ea-b174-c85b7644b6b5-5d0c1e62-4d96-11ea-b174--collector"},
		{"%s-%s-collector", []string{longName[8:], "d0c1e62"}, "4d96-11ea-b174-c85b7644b6b5-5d0c1e62-4d96-11e-d0c1e62-collector"},
		{"%s", []string{"-%$#ThisIsALabel"}, "ThisIsALabel"},
		{"%s", []string{"label-invalid--_truncated-."}, "label-invalid--_truncated"},
		{"%s", []string{"--(label-invalid--_truncated-#.1."}, "label-invalid--_truncated-#.1"},
		{"%s", []string{"12ValidLabel3"}, "12ValidLabel3"},
		{"%s", []string{""}, ""},
		{"%s-%s", []string{strings.Repeat("a", 100), strings.Repeat("b", 100)}, strings.Repeat("b", 62)},
	} {
		if got := truncate(c.format, c.args...); got != c.want {
			t.Errorf("truncate(%q, %q): got %q, want %q", c.format, c.args, got, c.want)
		}
	}
}

// TestDNSName holds the rule against the facts of the incumbent's own tests (internal/naming/dns_test.go).
func TestDNSName(t *testing.T) {
	label := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	for in, want := range map[string]string{
		"simplest":                             "simplest",
		"instance.with.dots":                   "instance-with-dots",
		"TestQueryDottedServiceName.With.Dots": "testquerydottedservicename-with-dots",
		"Service🦄":                             "servicea",
		"📈Stock-Tracker":                       "astock-tracker",
		"-📈Stock-Tracker":                      "a-stock-tracker",
		"📈":                                    "a",
		"foo-":                                 "fooa",
		"-foo":                                 "afoo",
	} {
		got := dnsName(in)
		if got != want || !label.MatchString(got) {
			t.Errorf("dnsName(%q): got %q, want %q", in, got, want)
		}
	}
}

// TestNamesAreValid tries every length that a collector's name can have: nothing that is made of it may be refused.
func TestNamesAreValid(t *testing.T) {
	long := strings.Repeat("abc-1.", 50)
	for n := 1; n <= validation.DNS1123SubdomainMaxLength; n++ {
		name := strings.TrimRight(long[:n], "-.")
		for _, got := range []string{
			WorkloadName(name), HeadlessServiceName(name), MonitoringServiceName(name), ExtensionServiceName(name),
			ConfigMapName(name, "0123456789"), ExtraConfigVolume(name),
		} {
			if problems := validation.IsDNS1035Label(got); len(problems) > 0 {
				t.Fatalf("%q, of a name with %d characters: %v", got, n, problems)
			}
		}
		for k, v := range SelectorLabels(strings.Repeat("n", 63), name) {
			if problems := validation.IsValidLabelValue(v); len(problems) > 0 {
				t.Fatalf("label %s=%q, of a name with %d characters: %v", k, v, n, problems)
			}
		}
	}
}

func TestSelectorLabels(t *testing.T) {
	want := map[string]string{
		"app.kubernetes.io/managed-by": "opentelemetry-operator",
		"app.kubernetes.io/instance":   "ns.simplest",
		"app.kubernetes.io/part-of":    "opentelemetry",
		"app.kubernetes.io/component":  "opentelemetry-collector",
	}
	if got := SelectorLabels("ns", "simplest"); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := OwnedSelector(); got != "app.kubernetes.io/managed-by=opentelemetry-operator,app.kubernetes.io/component=opentelemetry-collector" {
		t.Errorf("owned: %q", got)
	}
}

func TestLabelValue(t *testing.T) {
	for in, want := range map[string]string{
		"0.164.0":                       "0.164.0",
		"":                              "",
		"_dev_":                         "dev",
		"v1+build.7":                    "v1-build.7",
		"ünï":                           "n",
		"---":                           "",
		strings.Repeat("a", 64):         strings.Repeat("a", 63),
		strings.Repeat("a", 62) + "-bc": strings.Repeat("a", 62),
	} {
		got := LabelValue(in)
		if got != want {
			t.Errorf("LabelValue(%q): got %q, want %q", in, got, want)
		}
		if problems := validation.IsValidLabelValue(got); len(problems) > 0 {
			t.Errorf("LabelValue(%q) is %q: %v", in, got, problems)
		}
	}
}
