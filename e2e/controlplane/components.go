package controlplane

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// auditPolicy has the API server log every write.
//
//go:embed audit-policy.yaml
var auditPolicy []byte

// Unplayed is an annotation, as "name=value", of pods that somebody else than kwok runs: they stay as the scheduler leaves them. The name
// is that of kwok's own tools.
const Unplayed = "kwok.x-k8s.io/status=custom"

const (
	serviceRange   = "10.96.0.0/16"
	firstServiceIP = "10.96.0.1"
	podRange       = "10.244.0.0/16"
)

func (cp *ControlPlane) etcd() command {
	return command{name: Etcd, cleanup: true, args: []string{
		"--name=default",
		"--data-dir=" + filepath.Join(cp.dir, "etcd"),
		"--listen-client-urls=" + cp.etcdURL(),
		"--advertise-client-urls=" + cp.etcdURL(),
		"--listen-peer-urls=http://127.0.0.1:0",
		"--log-level=warn",
		"--unsafe-no-fsync",
	}}
}

func (cp *ControlPlane) apiServer() command {
	return command{name: APIServer, args: []string{
		"--etcd-servers=" + cp.etcdURL(),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", cp.port),
		// Not reachable and not meant to be: it only ends up in the endpoints of the service "kubernetes", and without
		// it a machine without a default route can't run an API server.
		"--advertise-address=192.0.2.1",
		"--tls-cert-file=" + cp.pki.file("apiserver.crt"),
		"--tls-private-key-file=" + cp.pki.file("apiserver.key"),
		"--client-ca-file=" + cp.pki.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + cp.pki.file("sa.pub"),
		"--service-account-signing-key-file=" + cp.pki.file("sa.key"),
		"--service-cluster-ip-range=" + serviceRange,
		"--token-auth-file=" + cp.file("tokens.csv"),
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--audit-policy-file=" + cp.file("audit-policy.yaml"),
		"--audit-log-path=" + cp.file("audit.log"),
		"--audit-log-maxsize=100000", // megabytes; positions in the file have to stay valid
		"--profiling=false",
	}}
}

func (cp *ControlPlane) controllerManager() command {
	return command{name: ControllerManager, args: []string{
		"--kubeconfig=" + cp.kubeconfigFile(ControllerManager),
		"--secure-port=0",
		"--leader-elect=false",
		"--root-ca-file=" + cp.pki.file("ca.crt"),
		"--cluster-signing-cert-file=" + cp.pki.file("ca.crt"),
		"--cluster-signing-key-file=" + cp.pki.file("ca.key"),
		"--service-account-private-key-file=" + cp.pki.file("sa.key"),
		"--service-cluster-ip-range=" + serviceRange,
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		// Nodes stay Ready while kwok is frozen.
		"--node-monitor-grace-period=24h",
		"--node-monitor-period=1s",
		"--pvclaimbinder-sync-period=2s",
		"--profiling=false",
	}}
}

func (cp *ControlPlane) scheduler() command {
	return command{name: Scheduler, args: []string{"--config=" + cp.file("scheduler.yaml"), "--secure-port=0"}}
}

func (cp *ControlPlane) schedulerConfig() string {
	return fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: %q, qps: 500, burst: 1000}
leaderElection: {leaderElect: false}
enableProfiling: false
`, cp.kubeconfigFile(Scheduler))
}

func (cp *ControlPlane) kwok() command {
	args := []string{
		"--kubeconfig=" + cp.kubeconfigFile(Kwok),
		"--manage-all-nodes=true",
		"--node-lease-duration-seconds=40",
		"--cidr=" + podRange,
		"--config=" + cp.file("volumes.yaml"),
		"--disregard-status-with-annotation-selector=" + Unplayed,
	}
	for _, stage := range cp.assets.stages {
		args = append(args, "--config="+stage)
	}
	return command{name: Kwok, args: args}
}

// writeFiles writes what the components read at their start.
func (cp *ControlPlane) writeFiles() error {
	for _, dir := range []string{cp.LogDir(), cp.file(runDir)} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	var err error
	if cp.pki, err = writePKI(cp.file("pki")); err != nil {
		return err
	}
	ids := identities()
	cp.admin = ids[admin]
	if err := writeTokens(cp.file("tokens.csv"), ids); err != nil {
		return err
	}
	if err := cp.writeKubeconfigs(ids); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"audit-policy.yaml": auditPolicy,
		"volumes.yaml":      volumeStages,
		"scheduler.yaml":    []byte(cp.schedulerConfig()),
	} {
		if err := os.WriteFile(cp.file(name), data, 0o644); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	return nil
}

// freePorts returns n different loopback ports that nothing listens on at the moment.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("free port: %w", err)
		}
		defer listener.Close() //nolint:errcheck // nothing was sent
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
