package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

func TestClientLogLeavesOutWhatWeCancelled(t *testing.T) {
	var out bytes.Buffer
	klog.SetSlogLogger(slog.New(clientLog{slog.NewTextHandler(&out, nil)}))
	defer klog.ClearLogger()
	klog.Background().Error(fmt.Errorf("read body: %w", context.Canceled), "cancelled")
	klog.Background().WithValues("a", "b").WithName("n").Error(context.Canceled, "cancelled")
	klog.Background().Error(errors.New("refused"), "failed")
	if got := out.String(); strings.Contains(got, "cancelled") || !strings.Contains(got, "refused") {
		t.Errorf("the log is %q, want the failure and not what was cancelled", got)
	}
}
