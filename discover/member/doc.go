// Package member finds the members of a pool of collectors: identities that outlive pods, rather than pods that happen to be well.
//
// The members of a StatefulSet are the ordinals that its spec asks for, those of a DaemonSet are nodes, and only of what else runs
// pods are they the pods themselves. So a rolling restart moves no target, nor does a pod that is deleted and comes back. What decides
// is a pure rule over the cluster's state, see Tracker; Watcher is the edge that feeds it.
package member
