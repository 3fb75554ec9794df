package monitor

import (
	"cmp"
	"slices"

	"github.com/otelier/otelier/discover"
)

// Result is the complete picture of what a Selection gives: never one that some watch, Secret or ConfigMap is still missing from.
type Result struct {
	// Jobs by kind, namespace, name and index. Jobs that have not changed are equal to those of the result before.
	Jobs []discover.Job
	// Problems with single objects, or with what we are allowed to read.
	Problems []Problem
	// Missing are the custom resources that are selected from and not installed, such as "probes.monitoring.coreos.com".
	Missing []string
}

// Problem says why an object has no job, or not the one it asks for.
type Problem struct {
	// Kind of the object as in its manifest. Namespace and Name are empty where the problem is with all of them.
	Kind, Namespace, Name string
	// Reason is one word, one of the constants below.
	Reason string
	// Message says what is wrong, for people. It never holds the content of a Secret.
	Message string
}

// Reasons of problems.
const (
	// ReasonInvalid: the object says something that prometheus-operator or Prometheus rejects. It has no jobs.
	ReasonInvalid = "Invalid"
	// ReasonMissingReference: the Secret, ConfigMap or key that the object refers to doesn't exist. It has no jobs.
	ReasonMissingReference = "MissingReference"
	// ReasonForbidden: we are not allowed to read what the object refers to, or all objects of the kind. The object has the jobs that it
	// had, if the same Secrets and ConfigMaps could be read then.
	ReasonForbidden = "Forbidden"
	// ReasonUnavailable: what the object refers to can't be read for the moment. The object has the jobs that it had.
	ReasonUnavailable = "Unavailable"
	// ReasonFileAccess: a job reads files, which the selection denies, or discovers targets in files of this process. The object's other jobs stay.
	ReasonFileAccess = "FileAccessDenied"
	// ReasonUnsupported: the object asks for a service discovery that this program doesn't have. It has no jobs.
	ReasonUnsupported = "UnsupportedDiscovery"
	// ReasonWeight: the annotation with the weight is no number from 1 on. The jobs are there, with weight 1.
	ReasonWeight = "InvalidWeight"
	// ReasonInternal: the translation failed by a fault of the program. The object has no jobs.
	ReasonInternal = "InternalError"
	// ReasonSelection: the selection itself is invalid. There are no jobs at all.
	ReasonSelection = "InvalidSelection"
)

func compareProblems(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
}

// same says whether somebody who has seen r would learn nothing from o.
func (r *Result) same(o *Result) bool {
	return slices.EqualFunc(r.Jobs, o.Jobs, func(a, b discover.Job) bool {
		return a.Hash == b.Hash && a.Weight == b.Weight && a.Config.JobName == b.Config.JobName
	}) && slices.Equal(r.Problems, o.Problems) && slices.Equal(r.Missing, o.Missing)
}
