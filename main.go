// Command otelier runs OpenTelemetry Collectors on Kubernetes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"k8s.io/klog/v2"

	"github.com/otelier/otelier/crds"
)

// version is set when the program is linked: -X main.version=v1.2.3.
var version = "dev"

// Exit codes. Kong's own for wrong usage is kept, so that scripts can tell it from a failure.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 80
)

type cli struct {
	Run      runCmd      `cmd:"" help:"Run the operator."`
	Diff     diffCmd     `cmd:"" help:"Show what the operator would change in the cluster, and change nothing."`
	Render   renderCmd   `cmd:"" help:"Print the objects that collectors give rise to, without a cluster."`
	CRDs     crdsCmd     `cmd:"" name:"crds" help:"Print the CustomResourceDefinitions: otelier crds | kubectl apply --server-side -f -"`
	Install  installCmd  `cmd:"" help:"Print one manifest that installs the operator: otelier install | kubectl apply --server-side -f -"`
	Allocate allocateCmd `cmd:"" help:"Share scrape targets out among collectors."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	Log logFlags `embed:"" prefix:"log-" group:"Logging"`
}

type logFlags struct {
	Format string `help:"Format of the log on stderr: text or json." enum:"text,json" default:"text"`
	Level  string `help:"Least level that is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
}

type renderFlags struct {
	CollectorImage    string   `help:"Image of collectors whose spec has none." default:"${collectorImage}" placeholder:"IMAGE"`
	AnnotationsFilter []string `help:"Annotations of a collector that are not copied to its objects, as regular expressions." default:"${annotationsFilter}" placeholder:"REGEXP" sep:"none"`
	LabelsFilter      []string `help:"Labels of a collector that are not copied to its objects, as regular expressions." placeholder:"REGEXP" sep:"none"`
	AllocatorURL      string   `help:"Where collectors with a target allocator reach it: the operator's own Service." default:"${allocatorURL}" placeholder:"URL"`
}

// streams are what commands read from and write to.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run is the whole program: its exit code is all that main adds.
func run(ctx context.Context, args []string, io streams) int {
	var (
		flags  cli
		exited = -1
	)
	parser, err := kong.New(&flags,
		kong.Name(crds.Program),
		kong.Description("otelier runs OpenTelemetry Collectors on Kubernetes, from the manifests of the OpenTelemetry Operator."),
		kong.DefaultEnvars(strings.ToUpper(crds.Program)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(io.out, io.err),
		kong.Exit(func(code int) { exited = code }),
		kong.Vars{
			"collectorImage": defaultCollectorImage, "operatorImage": defaultOperatorImage + ":" + version, "annotationsFilter": crds.AnnotationsFilter,
			"allocatorURL": crds.AllocatorURL(crds.DefaultNamespace), "allocatorConfig": defaultConfig, "namespace": crds.DefaultNamespace,
		},
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(io),
	)
	if err != nil {
		return fail(io, err, exitError)
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 { // --help has been printed
		return exited
	}
	if err != nil {
		return fail(io, fmt.Errorf("%w (see %s --help)", err, crds.Program), exitUsage)
	}
	log := newLogger(flags.Log, io.err)
	klog.SetSlogLogger(slog.New(clientLog{log.Handler()}))
	if err := kctx.Run(log); err != nil {
		return ended(io, err)
	}
	return exitOK
}

// ended says what a command ended with, and returns the exit code for it.
func ended(io streams, err error) int {
	if _, usage := errors.AsType[usageError](err); usage {
		return fail(io, err, exitUsage)
	}
	status, ok := errors.AsType[statusError](err)
	switch {
	case !ok:
		return fail(io, err, exitError)
	case status.err != nil:
		return fail(io, status.err, status.code)
	default:
		return status.code
	}
}

// usageError is a wrong use of the command line that kong can't see.
type usageError struct{ error }

// statusError ends with an exit code of the command's own. Without an err all has been said.
type statusError struct {
	code int
	err  error
}

func (e statusError) Error() string { return fmt.Sprintf("exit status %d: %v", e.code, e.err) }

func (e statusError) Unwrap() error { return e.err }

func fail(io streams, err error, code int) int {
	_, _ = fmt.Fprintf(io.err, "%s: error: %v\n", crds.Program, err) // there is nowhere else to say it
	return code
}

func newLogger(f logFlags, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.Level)); err != nil {
		level = slog.LevelInfo // kong has checked it
	}
	options := &slog.HandlerOptions{Level: level}
	if f.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
