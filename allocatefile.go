package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	allocatorfile "github.com/otelier/otelier/discover/file"
)

// defaultConfig is where the OpenTelemetry Operator puts the file.
const defaultConfig = "/conf/targetallocator.yaml"

// fileFlags name a configuration file and what wins over it. The hidden ones are those of the OpenTelemetry Operator's allocator, whose
// command lines are to work as they are.
type fileFlags struct {
	Config string `help:"Configuration file: targetallocator.yaml of the OpenTelemetry Operator." default:"${allocatorConfig}" aliases:"config-file" type:"path" placeholder:"FILE"`

	AllowInsecureAuthSecrets  *bool  `help:"Serve jobs that hold secrets, although in clear text."`
	EnablePrometheusCRWatcher *bool  `name:"enable-prometheus-cr-watcher" help:"Use ServiceMonitors, PodMonitors, Probes and ScrapeConfigs, whatever the file says."`
	EnableHTTPSServer         *bool  `name:"enable-https-server" hidden:""`
	ListenAddrHTTPS           string `hidden:""`
	HTTPSCAFile               string `name:"https-ca-file" hidden:""`
	HTTPSTLSCertFile          string `name:"https-tls-cert-file" hidden:""`
	HTTPSTLSKeyFile           string `name:"https-tls-key-file" hidden:""`

	// How the original logs, which has no counterpart here.
	ZapDevel           *bool  `hidden:""`
	ZapEncoder         string `hidden:""`
	ZapLogLevel        string `hidden:""`
	ZapStacktraceLevel string `hidden:""`
	ZapTimeEncoding    string `hidden:""`
}

// read reads the file. Warnings go to the log. static is true when the collectors are listed.
func (f fileFlags) read(listen, kubeconfig string, static bool, log *slog.Logger) (*allocatorfile.Config, error) {
	if given := f.zap(); len(given) > 0 {
		log.Warn("flags are ignored: --log-level and --log-format say how to log", "flags", strings.Join(given, " "))
	}
	data, err := os.ReadFile(f.Config)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	c, warnings, err := allocatorfile.Parse(data, allocatorfile.Options{
		Path: f.Config, Static: static, LookupEnv: os.LookupEnv,
		Flags: allocatorfile.Flags{
			Listen: listen, Kubeconfig: kubeconfig, Monitors: f.EnablePrometheusCRWatcher, HTTPS: f.EnableHTTPSServer,
			AllowInsecureAuthSecrets: f.AllowInsecureAuthSecrets,
		},
	})
	for _, w := range warnings {
		log.Warn("configuration file: "+w, "file", f.Config)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", f.Config, err)
	}
	return c, nil
}

// zap are the flags of the original's logging that are set.
func (f fileFlags) zap() []string {
	var out []string
	if f.ZapDevel != nil {
		out = append(out, "--zap-devel")
	}
	for _, s := range []struct{ flag, value string }{
		{"--zap-encoder", f.ZapEncoder},
		{"--zap-log-level", f.ZapLogLevel},
		{"--zap-stacktrace-level", f.ZapStacktraceLevel},
		{"--zap-time-encoding", f.ZapTimeEncoding},
	} {
		if s.value != "" {
			out = append(out, s.flag)
		}
	}
	return out
}
