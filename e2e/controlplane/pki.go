package controlplane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki is the directory of the control plane's keys and certificates, which live as long as it does.
type pki string

func (p pki) file(name string) string { return filepath.Join(string(p), name) }

// writePKI creates a certificate authority (ca.crt, ca.key), the API server's certificate for the loopback address
// (apiserver.crt, apiserver.key) and the key pair that service account tokens are signed with (sa.key, sa.pub).
func writePKI(dir string) (pki, error) {
	p := pki(dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return p, fmt.Errorf("pki: %w", err)
	}
	ca := certificate("otelier-ca")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	caKey, err := p.sign("ca", ca, ca, nil)
	if err != nil {
		return p, err
	}
	server := certificate("kube-apiserver")
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(firstServiceIP)}
	server.DNSNames = []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	if _, err := p.sign("apiserver", server, ca, caKey); err != nil {
		return p, err
	}
	return p, p.serviceAccountKey()
}

func certificate(commonName string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(30 * 24 * time.Hour),
	}
}

// sign writes NAME.crt and NAME.key. Without a signer the certificate signs itself.
func (p pki) sign(name string, cert, parent *x509.Certificate, signer crypto.Signer) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", name, err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", name, err)
	}
	if err := p.write(name+".crt", "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return key, p.write(name+".key", "PRIVATE KEY", keyDER)
}

func (p pki) serviceAccountKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("pki: service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("pki: service account key: %w", err)
	}
	if err := p.write("sa.pub", "PUBLIC KEY", public); err != nil {
		return err
	}
	return p.write("sa.key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

func (p pki) write(name, kind string, der []byte) error {
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(p.file(name), data, 0o600); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return nil
}

// newToken returns a bearer token nobody can guess.
func newToken() string {
	var data [16]byte
	_, _ = rand.Read(data[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return hex.EncodeToString(data[:])
}
