package discover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	promkube "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"k8s.io/client-go/rest"

	"github.com/otelier/otelier/allocate"
)

// TestABrokenFileTakesOnlyItsOwnTargets: after the deadline those of the other files are served, and all is well when it is gone.
func TestABrokenFileTakesOnlyItsOwnTargets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.json"), `[{"targets":["a:1"]}]`)
	write(t, filepath.Join(dir, "b.json"), `[{"targets"`)
	write(t, filepath.Join(dir, "c.json"), `[{"targets"`)
	r := newRig(t, TargetsOptions{Filter: true, Deadline: 100 * time.Millisecond}, ProvidersOptions{})
	r.targets.SetJobs(jobs(t, `{scrape_configs: [{job_name: f, file_sd_configs: [{files: ["*.json"], refresh_interval: 50ms}]}]}`, dir))
	r.last(hasTargets(1))
	if st := r.targets.Status(); len(st.Waiting) != 1 || len(st.Problems) != 1 {
		t.Errorf("%+v", st)
	}
	// One goes; the other is an empty list, of which Prometheus does not tell the name.
	if err := os.Remove(filepath.Join(dir, "b.json")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "c.json"), `[]`)
	waitFor(t, "the job knows all its targets", func() bool {
		st := r.targets.Status()
		return len(st.Waiting) == 0 && len(st.Problems) == 0
	})
}

func TestAFileThatStillFailsIsNotForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, n := range []string{"a", "b", "c"} {
		write(t, filepath.Join(dir, n), "")
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	group := func(name string) []*targetgroup.Group {
		return []*targetgroup.Group{{Source: file(name) + ":0", Labels: model.LabelSet{"__meta_filepath": "x"}}}
	}
	gone := []*targetgroup.Group{{Source: file("z") + ":0"}}
	f := &filePicture{patterns: []string{dir + "/*"}, failing: map[string]int{}}
	f.nothing()
	for range 3 {
		early := f.complete(group("a"))
		f.failed(file("b"))
		if early || f.complete(group("c")) || f.complete(gone) || f.complete(gone) {
			t.Fatal("complete while a file fails")
		}
	}
	if f.complete(group("a")) {
		t.Fatal("complete before b is known not to fail")
	}
	if !f.complete(nil) {
		t.Fatal("b is an empty list, and not complete")
	}
}

// TestADroppedTargetIsNeverAKeptOne: without the filter both are handed out, whichever comes first.
func TestADroppedTargetIsNeverAKeptOne(t *testing.T) {
	t.Parallel()
	for _, order := range [][2]model.LabelValue{{"drop", "keep"}, {"keep", "drop"}} {
		w := newWorkbench(t, jobs(t, `
scrape_configs:
- job_name: j
  relabel_configs: [{source_labels: [__meta_x], regex: drop, action: drop}]
`, "")[0], 1)
		w.state.filter = false
		g := &targetgroup.Group{Source: "s"}
		for _, x := range order {
			// What relabelling adds is there: so the labels are the same before and after it.
			g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: "a:80", "instance": "a", "__meta_x": x})
		}
		w.subs[0].accept([]*targetgroup.Group{g}, true)
		got := strings.Join(w.served(), "\n")
		if !strings.Contains(got, `"__meta_x":"keep"`) || strings.Contains(got, droppedLabel) {
			t.Errorf("%v:\n%s", order, got)
		}
	}
}

func TestWhatMayBeACredentialIsASecret(t *testing.T) {
	t.Parallel()
	for _, part := range []string{
		`oauth2: {client_id: c, client_secret_file: f, token_url: "http://u:S3CR@x"}`,
		`oauth2: {client_id: c, client_secret_file: f, token_url: "http://S3CR@x"}`,
		`oauth2: {client_id: c, client_secret_file: f, token_url: "http://x", endpoint_params: {client_assertion: S3CR}}`,
		`oauth2: {client_id: c, client_secret_file: f, token_url: "http://x", proxy_url: "http://S3CR@p"}`,
		`http_headers: {X-Api-Key: {values: [a, S3CR]}}`,
		`proxy_url: "http://S3CR@p"`,
	} {
		doc := `{scrape_configs: [{job_name: j, ` + part + `}]}`
		j := jobs(t, doc, "")[0]
		if !j.Secret || !strings.Contains(string(j.Served), "S3CR") {
			t.Errorf("%s: secret %v, served %s", part, j.Secret, j.Served)
		}
		if other := jobs(t, strings.ReplaceAll(doc, "S3CR", "0THER"), "")[0]; printed(t, other) == printed(t, j) {
			t.Errorf("%s: a collector would not see that it has changed", part)
		}
	}
	for _, part := range []string{
		`oauth2: {client_id: c, client_secret_file: f, token_url: "http://x"}`, `params: {token: [x]}`, `proxy_url: "http://p"`,
	} {
		if j := jobs(t, `{scrape_configs: [{job_name: j, `+part+`}]}`, "")[0]; j.Secret {
			t.Errorf("%s: taken for a secret", part)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                             "",
		`job "a": no such field "x_y"`: `job "a": no such field "x_y"`,
		`Get "http://h:80/sd?token=QSECRET": dial tcp: lookup h`:      `Get "http://h:80/sd?…": dial tcp: lookup h`,
		`Get "http://h/sd": EOF`:                                      `Get "http://h/sd": EOF`,
		`parse "http://u:S3CRET@p:x y": invalid port ":x y" after`:    `parse "http://…@p:x y": invalid port "…" after`,
		`parse "http://u:S3C/RET@p": invalid port ":S3C" after host`:  `parse "http://…@p": invalid port "…" after host`,
		`parse "http://u:S3%ZZ@p": invalid URL escape "%ZZ"`:          `parse "http://…@p": invalid URL escape "…"`,
		`parse "u:S3CRET RET@p": first path segment`:                  `parse "…@p": first path segment`,
		`parse "http://u:S3\"CRET@p": x`:                              `parse "http://…@p": x`,
		`"http://u:S3CRET@zz/" is not a valid hostname`:               `"http://…@zz/" is not a valid hostname`,
		`proxy http://TOKEN@p/a?b=c, and ftp://u:w@h: no`:             `proxy http://…@p/a?…, and ftp://…@h: no`,
		`dial u:S3CRET@host:80: no`:                                   `dial …@host:80: no`,
		"cannot unmarshal !!str `S3CRET` into config.plain":           "cannot unmarshal !!str `…` into config.plain",
		"cannot unmarshal !!str `often` into int":                     "cannot unmarshal !!str `often` into int",
		`read tcp 127.0.0.1:45376->10.0.0.1:443: connection reset`:    `read tcp ->10.0.0.1:443: connection reset`,
		`write udp [fe80::1%eth0]:45376->[::1]:53: i/o timeout`:       `write udp ->[::1]:53: i/o timeout`,
		`dial tcp 10.0.0.1:443: connect: connection refused`:          `dial tcp 10.0.0.1:443: connect: connection refused`,
		`Get "https://[::1]:6443/api/v1/pods?limit=500&x=y": refused`: `Get "https://[::1]:6443/api/v1/pods?…": refused`,
	} {
		got := Redact(in)
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
		if again := Redact(got); again != got {
			t.Errorf("%s becomes %s the second time", got, again)
		}
	}
	cause := errors.New("http://u:p@h")
	if err := redact(fmt.Errorf("x: %w", cause)); !errors.Is(err, cause) || err.Error() != "x: http://…@h" {
		t.Errorf("%v", err)
	}
}

// TestErrorsHaveNoCredentials: neither those of documents, nor those of discoveries and targets, in the status or in the log.
func TestErrorsHaveNoCredentials(t *testing.T) {
	t.Parallel()
	for _, part := range []string{
		`proxy_url: "http://u:S3CRET@p:x y"`, `http_sd_configs: [{url: "http://u:S3CRET@%zz/"}]`, `basic_auth: S3CRET`,
		`static_configs: [{targets: ["http://u:S3CRET@zz/"]}]`,
	} {
		_, errs := ParseJobs([]byte(`{scrape_configs: [{job_name: j, `+part+`}]}`), "x", "")
		if len(errs) != 1 || strings.Contains(errs[0].Error(), "S3C") {
			t.Errorf("%s: %v", part, errs)
		}
	}
	var out lines
	log := slog.New(slog.NewTextHandler(&out, nil))
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.json"), `[{"targets":["http://u:S3CRET@zz/"]}]`)
	r := newRig(t, TargetsOptions{Filter: true, Deadline: 100 * time.Millisecond, Log: log}, ProvidersOptions{Log: log})
	r.targets.SetJobs(jobs(t, `{scrape_configs: [{job_name: h, http_sd_configs: [{url: "`+strings.Replace(srv.URL, "//", "//u:S3CRET@", 1)+
		`/sd?token=S3CRET"}]}, {job_name: f, file_sd_configs: [{files: ["*.json"]}]}]}`, dir))
	r.last(func([]*allocate.Job) error { return nil })
	waitFor(t, "both are problems", func() bool { return len(r.targets.Status().Problems) == 2 })
	if got := fmt.Sprint(r.targets.Status()) + out.String(); strings.Contains(got, "S3CRET") || !strings.Contains(got, "level=ERROR") {
		t.Errorf("%s", got)
	}
}

// lines is what was logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestALabelThatChangesOwner: a target's label wins, so that it matters which of two values is whose.
func TestALabelThatChangesOwner(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t, jobs(t, mergingJob, "")[0], 1)
	step := func(group, own model.LabelValue) string {
		w.subs[0].accept([]*targetgroup.Group{{Source: "s", Labels: model.LabelSet{"__meta_x": group}, Targets: []model.LabelSet{
			{model.AddressLabel: "a:1", "__meta_x": own},
		}}}, true)
		return strings.Join(w.served(), "\n")
	}
	if got := step("one", "two"); !strings.Contains(got, `"two"`) {
		t.Errorf("%s", got)
	}
	if got := step("two", "one"); !strings.Contains(got, `"one"`) {
		t.Errorf("%s", got)
	}
}

// TestANumberThatHasANewOwner: a job does not get another job's group because that has the number of one of its own now.
func TestANumberThatHasANewOwner(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t, jobs(t, mergingJob, "")[0], 1)
	w.state.subs[0].namespaces = []string{"mine"}
	p := w.subs[0]
	p.accept([]*targetgroup.Group{targetGroup("pod/mine/a", "a:1")}, true)
	if got := len(w.served()); got != 1 {
		t.Fatalf("%d targets", got)
	}
	p.accept([]*targetgroup.Group{targetGroup("pod/mine/a")}, true)
	p.accept([]*targetgroup.Group{targetGroup("pod/other/b", "b:1")}, true)
	if got := w.served(); len(got) != 0 {
		t.Errorf("%s", got)
	}
}

func TestRulesThatSeeTheCarrierOfTheURL(t *testing.T) {
	t.Parallel()
	for regex, want := range map[string]bool{"__tmp_(.+)": true, "__meta_(.+)": true, "__(.+)": true, "__meta_kubernetes_(.+)": false} {
		j := jobs(t, `{scrape_configs: [{job_name: j, relabel_configs: [{action: labelmap, regex: "`+regex+`"}]}]}`, "")[0]
		if got := strings.Contains(string(j.Served), urlLabel); got != want {
			t.Errorf("%s: guarded %v", regex, got)
		}
	}
}

// TestKubernetesStopsWhileAReflectorSleeps: the third time it sleeps for more than 3 s.
func TestKubernetesStopsWhileAReflectorSleeps(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	failures := make(chan error, 100)
	d := silentKube(t, asked, failures)
	d.grace, d.patience = 10*time.Millisecond, 50*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx, make(chan []*targetgroup.Group))
	}()
	for n := range 3 {
		select {
		case <-asked:
		case <-time.After(time.Minute):
			t.Fatalf("the API server was asked %d times", n)
		}
	}
	// Nothing else has told of it.
	select {
	case err := <-failures:
		if !strings.Contains(err.Error(), "pods of namespace a") {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody was told that the API server says nothing")
	}
	cancel()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		t.Error("the discovery does not stop")
	}
}

// silentKube is a discovery whose API server is busy for ever, which a reflector keeps to itself.
func silentKube(t *testing.T, asked chan<- struct{}, failures chan<- error) *kubeDiscovery {
	t.Helper()
	const busy = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429}`
	// No server: with one, the answer might still be on its way when the test goes on, and end with the context.
	ps, err := NewProviders(ProvidersOptions{Kube: &rest.Config{Host: "http://127.0.0.1:1", Transport: roundTripper(func(r *http.Request) *http.Response {
		asked <- struct{}{}
		return &http.Response{
			StatusCode: http.StatusTooManyRequests, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
			Body: io.NopCloser(strings.NewReader(busy)),
		}
	})}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := ps.newKube(&promkube.SDConfig{
		Role: promkube.RolePod, NamespaceDiscovery: promkube.NamespaceDiscovery{Names: []string{"a"}},
	}, ps.opts.Log, func(err error) { failures <- err })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type roundTripper func(*http.Request) *http.Response

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }
