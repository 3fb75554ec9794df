package main

import (
	"context"
	"errors"
	"log/slog"
)

// clientLog is the log of client-go, without what it says of requests that we have given up ourselves.
type clientLog struct{ slog.Handler }

// Handle implements slog.Handler.
func (h clientLog) Handle(ctx context.Context, r slog.Record) error {
	ours := false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		ours = ok && errors.Is(err, context.Canceled)
		return !ours
	})
	if ours {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h clientLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return clientLog{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h clientLog) WithGroup(name string) slog.Handler { return clientLog{h.Handler.WithGroup(name)} }
