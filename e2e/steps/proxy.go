package steps

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Proxy stands between a client and the API server, and can be taken away.
type Proxy struct {
	// Kubeconfig leads through the proxy.
	Kubeconfig string

	target, address string

	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
	running  sync.WaitGroup
}

// StartProxy starts a proxy to the scene's API server, on a free port. It ends with the test.
func (s *Scene) StartProxy(t *testing.T) *Proxy {
	t.Helper()
	server, err := s.Cluster.RESTConfig(UserAgent)
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(s.Cluster.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: strings.TrimPrefix(server.Host, "https://"), address: "127.0.0.1:0"}
	p.Up(t)
	t.Cleanup(p.Down)
	p.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := strings.ReplaceAll(string(config), p.target, p.address)
	if err := os.WriteFile(p.Kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// Up lets connections through, at the same address as ever.
func (p *Proxy) Up(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener, p.address = listener, listener.Addr().String()
	p.running.Go(func() { p.accept(listener) })
}

// Down ends all connections and refuses new ones.
func (p *Proxy) Down() {
	p.mu.Lock()
	_ = p.listener.Close() // an error says that it was closed before
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // Down has closed it
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, client, server)
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			p.running.Go(func() {
				_, _ = io.Copy(pair[0], pair[1]) // it ends when either side does
				_ = pair[0].Close()
				_ = pair[1].Close()
			})
		}
	}
}
