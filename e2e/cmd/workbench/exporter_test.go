package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newTestExporter() *exporter {
	return &exporter{name: "pod", paths: []string{"/metrics", "/more"}, now: time.Now, targets: map[string][]scrape{}}
}

// ask sends a request and returns the status and the body.
func ask(t *testing.T, client *http.Client, method, url, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

func TestExporterCountsByTarget(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(withHealth(newTestExporter()))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/healthz", 200, ""},
		{"/metrics", 200, `workbench_scrapes_total{target="pod:` + port + `",path="/metrics"} 1`},
		{"/more", 200, `workbench_scrapes_total{target="pod:` + port + `",path="/more"} 2`},
		{"/probe?target=a", 200, `workbench_scrapes_total{target="probe/a",path="/probe"} 1`},
		{"/probe?target=a", 200, `workbench_scrapes_total{target="probe/a",path="/probe"} 2`},
		{"/other", 404, "not found"},
	} {
		status, body := ask(t, server.Client(), http.MethodGet, server.URL+c.path, "", http.Header{collectorHeader: {"collector-0"}})
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %q, want %d %q", c.path, status, body, c.status, c.want)
		}
	}
	_, body := ask(t, server.Client(), http.MethodGet, server.URL+"/scrapes", "", nil)
	if n := strings.Count(body, `"by":"collector-0"`); n != 4 {
		t.Errorf("%d scrapes by collector-0, want 4: %s", n, body)
	}
}

func TestExporterWantsCredentials(t *testing.T) {
	t.Parallel()
	e := newTestExporter()
	e.user, e.password = "scraper", "secret"
	server := httptest.NewServer(withHealth(e))
	defer server.Close()
	for credentials, want := range map[string]int{
		"": 401, "scraper:wrong": 401, "other:secret": 401, "scraper:secret": 200,
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		if user, password, ok := strings.Cut(credentials, ":"); ok {
			req.SetBasicAuth(user, password)
		}
		if status, _ := ask(t, server.Client(), http.MethodGet, server.URL+"/metrics", "", req.Header); status != want {
			t.Errorf("%q: %d, want %d", credentials, status, want)
		}
	}
	if status, _ := ask(t, server.Client(), http.MethodGet, server.URL+"/healthz", "", nil); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
}

func TestExporterServesTLSOnAllPorts(t *testing.T) {
	t.Parallel()
	cert, key, roots := selfSigned(t)
	first := freePorts(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- runExporter(ctx, []string{
			"-host", "127.0.0.1", "-first-port", first, "-ports", "2", "-tls-cert", cert, "-tls-key", key,
		}, io.Discard)
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "exporter.test"}}}
	second := new(big.Int).Add(mustInt(t, first), big.NewInt(1)).String()
	for _, port := range []string{first, second} {
		awaitListening(t, done, "127.0.0.1:"+port)
		if status, body := ask(t, client, http.MethodGet, "https://127.0.0.1:"+port+"/metrics", "", nil); status != 200 || !strings.Contains(body, ":"+port) {
			t.Errorf("port %s: %d %q", port, status, body)
		}
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func mustInt(t *testing.T, text string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return n
}

// awaitListening waits until something listens, or what should has ended.
func awaitListening(t *testing.T, done <-chan error, address string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case ended := <-done:
			t.Fatalf("it has ended: %v", ended)
		case <-deadline:
			t.Fatalf("nothing listens: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// freePorts finds consecutive ports that nothing listens on, and returns the first.
func freePorts(t *testing.T, n int) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		open := []net.Listener{l}
		for i := 1; i < n; i++ {
			next, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + i})
			if err == nil {
				open = append(open, next)
			}
		}
		for _, l := range open {
			_ = l.Close()
		}
		if len(open) == n {
			return big.NewInt(int64(port)).String()
		}
	}
	t.Fatal("no free ports")
	return ""
}

// selfSigned makes files with a certificate for exporter.test and its key.
func selfSigned(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"exporter.test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	dir := t.TempDir()
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("tls.crt", "CERTIFICATE", der), write("tls.key", "PRIVATE KEY", keyDER), roots
}
