package file

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/discover/monitor"
)

// Config is what the file, the environment and the flags come to.
type Config struct {
	// Listen is the address to serve on; default ":8080".
	Listen string
	// Kubeconfig is a path; empty for what there is by default.
	Kubeconfig string
	// Collectors selects their pods: nil selects none.
	Collectors *metav1.LabelSelector
	// Namespace of the collectors. It is empty only where Options.Static is true.
	Namespace string
	// Jobs are the scrape_configs of the file, with what its global says.
	Jobs []discover.Job
	// Rules of the allocation.
	Rules allocate.Rules
	// Filter leaves targets out that relabelling drops.
	Filter bool
	// NotReadyGrace is how long a pod that is not ready keeps its targets; 0 for ever.
	NotReadyGrace time.Duration
	// AllowInsecureAuthSecrets lets jobs with secrets out over a channel that is not trusted.
	AllowInsecureAuthSecrets bool
	// Monitors are the resources of the Prometheus Operator; nil when they are not used.
	Monitors *monitor.Selection
}

// Options are what there is besides the file. Flags win over the environment, and that over the file.
type Options struct {
	Flags Flags
	// LookupEnv is os.LookupEnv: OTELCOL_NAMESPACE and ALLOW_INSECURE_AUTH_SECRETS.
	LookupEnv func(string) (string, bool)
	// Path of the file. Relative paths of service discovery are relative to its directory, and errors about jobs name it.
	Path string
	// Static is true when the collectors are listed: then neither a namespace nor a selector is needed.
	Static bool
}

// Flags of the command line; nil or empty where they were not given.
type Flags struct {
	Listen                   string
	Kubeconfig               string
	Monitors                 *bool
	HTTPS                    *bool
	AllowInsecureAuthSecrets *bool
}

// defaultScrapeProtocols are the original's.
func defaultScrapeProtocols() []string {
	return []string{"OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"}
}
