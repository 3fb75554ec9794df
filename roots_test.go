package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// TestRootCertificates runs itself where no certificate of an authority is to be found, as in the container image.
func TestRootCertificates(t *testing.T) {
	const without = "OTELIER_TEST_WITHOUT_ROOTS"
	if os.Getenv(without) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRootCertificates$")
		cmd.Env = append(os.Environ(), without+"=1", "SSL_CERT_FILE="+os.DevNull, "SSL_CERT_DIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("without the system's certificates: %v\n%s", err, out)
		}
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if pool.Equal(x509.NewCertPool()) {
		t.Error("no certificates of public authorities are known")
	}
}
