package steps

import (
	"context"
	"strings"
	"testing"
	"time"
)

// dump logs what is in the scene, for whoever has to find out why the test has failed.
func (s *Scene) dump(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out strings.Builder
	for _, args := range [][]string{
		{"get", "otelcol,statefulset,deployment,daemonset,pod,pvc,configmap,service,serviceaccount", "-o", "wide"},
		{"get", "events.events.k8s.io", "-o", "custom-columns=ABOUT:.regarding.name,TYPE:.type,REASON:.reason,NOTE:.note"},
		{"get", "otelcol", "-o", "yaml"},
	} {
		text, _ := s.TryKubectl(ctx, "", args...) // the text says what went wrong
		out.WriteString("$ kubectl " + strings.Join(args, " ") + "\n" + text + "\n")
	}
	for _, p := range s.Operators {
		out.WriteString("operator:\n")
		for line := range strings.Lines(p.Log()) {
			if !strings.Contains(line, "level=DEBUG") || strings.Contains(line, "collector=") { // without client-go's own
				out.WriteString(line)
			}
		}
	}
	if s.Installed != nil {
		log, err := s.Installed.Log(ctx)
		out.WriteString("operator, of this namespace:\n")
		for line := range strings.Lines(log) {
			if strings.Contains(line, s.Namespace) {
				out.WriteString(line)
			}
		}
		if err != nil {
			out.WriteString(err.Error() + "\n")
		}
	}
	if s.ControlPlane != nil && s.artifacts == "" && s.ControlPlane.Keep() == nil { // else they are among the artifacts
		out.WriteString("logs of the control plane: " + s.ControlPlane.LogDir() + "\n")
	}
	t.Logf("what was in namespace %s:\n%s", s.Namespace, out.String())
}
