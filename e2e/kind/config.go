package kind

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/otelier/otelier/e2e/controlplane"
)

// auditFile is where the API server writes its audit log, in its node.
const auditFile = auditDir + "/audit.log"

const (
	auditDir    = "/var/log/kubernetes"
	auditPolicy = "/etc/kubernetes/audit-policy.yaml"
)

// configuration of a cluster whose API server writes an audit log, for kind.
//
// The kubelet of a stock node image would refuse cgroup v1 (KEP-4569), on which the hosts of CI systems may still be; where cgroup v2 is, the
// field means nothing. kind's own choice of cgroup driver is left alone but for v1, where there is no systemd to ask.
//
// https://kind.sigs.k8s.io/docs/user/configuration, https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4
const configuration = `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {ipFamily: ipv4}
nodes:
- role: control-plane
  extraMounts: [{hostPath: %[1]q, containerPath: %[2]s, readOnly: true}]
%[5]skubeadmConfigPatches:
- |
  kind: KubeletConfiguration
%[6]s  failCgroupV1: false
- |
  kind: ClusterConfiguration
  apiVersion: kubeadm.k8s.io/v1beta4
  apiServer:
    extraArgs:
    - {name: audit-policy-file, value: %[2]s}
    - {name: audit-log-path, value: %[3]s}
    - {name: audit-log-maxsize, value: "100000"} # MB: who reads it keeps positions in one file
    extraVolumes:
    - {name: audit-policy, hostPath: %[2]s, mountPath: %[2]s, readOnly: true, pathType: File}
    - {name: audit-log, hostPath: %[4]s, mountPath: %[4]s, pathType: DirectoryOrCreate}
`

// writeConfig writes the configuration of a cluster, and beside it in dir what it refers to.
func writeConfig(path, dir string, workers int, cgroupV1 bool) error {
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, controlplane.AuditPolicy(), 0o644); err != nil { //nolint:gosec // the API server may be another user
		return err
	}
	driver := ""
	if cgroupV1 {
		driver = "  cgroupDriver: cgroupfs\n"
	}
	config := fmt.Sprintf(configuration, policy, auditPolicy, auditFile, auditDir, strings.Repeat("- role: worker\n", workers), driver)
	return os.WriteFile(path, []byte(config), 0o600)
}

// cgroupV1 says whether the machine of the engine, which need not be this one, has the hierarchies of cgroup v1.
func cgroupV1(ctx context.Context) (bool, error) {
	version, err := run(ctx, "docker", "info", "--format", "{{.CgroupVersion}}")
	return strings.TrimSpace(version) == "1", err
}
