// Package controlplane runs a real Kubernetes control plane on this machine, without containers: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler built from their Go modules, and kwok in the place of the kubelets.
//
// Pods are scheduled, get addresses and become Running and Ready, but no container runs in them. Deployments,
// StatefulSets, garbage collection, RBAC, admission and volume claims behave as in any cluster, since the components
// that act on them are the real ones. Volumes are provisioned, bound, grown and deleted by the protocol between the
// controller manager and an external provisioner, but hold no bytes.
//
// Everything that [Start] starts ends with the process that called it, however that process ends.
// It works on Linux and macOS.
package controlplane
