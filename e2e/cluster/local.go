package cluster

import "github.com/otelier/otelier/e2e/controlplane"

// OfControlPlane is the cluster of a control plane of package controlplane. It is an Auditor too.
func OfControlPlane(cp *controlplane.ControlPlane) Cluster { return local{cp} }

type local struct{ *controlplane.ControlPlane }

var _ Auditor = local{}

func (local) Provider() string { return Local }

func (l local) Audit() (*controlplane.Audit, error) { return l.ControlPlane.Audit(), nil }
