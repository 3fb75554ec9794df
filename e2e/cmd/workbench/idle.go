package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"
)

// exitStatus is an end with a status of its own.
type exitStatus struct {
	code    int
	message string
}

func (e exitStatus) Error() string { return e.message }

// runSleep does nothing, for a time or for ever.
func runSleep(ctx context.Context, args []string, _ io.Writer) error {
	flags := flag.NewFlagSet("sleep", flag.ContinueOnError)
	duration := flags.Duration("for", 0, "for how long; 0 is for ever")
	if err := parse(flags, args); err != nil {
		return err
	}
	wait(ctx, *duration)
	return nil
}

// runFail says why and ends with a status that is not 0.
func runFail(ctx context.Context, args []string, _ io.Writer) error {
	flags := flag.NewFlagSet("fail", flag.ContinueOnError)
	after := flags.Duration("after", time.Nanosecond, "how long to live before")
	code := flags.Int("code", 1, "exit status")
	message := flags.String("message", "failing, as told", "what to say")
	if err := parse(flags, args); err != nil {
		return err
	}
	wait(ctx, *after)
	return exitStatus{*code, *message}
}

// wait waits until ctx is done, or until a time has gone by unless it is 0.
func wait(ctx context.Context, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
	case <-over:
	}
}

// runGet prints what a URL answers, and fails when its status is none of 2xx.
func runGet(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	url := flags.String("url", "", "what to get")
	timeout := flags.Duration("timeout", 5*time.Second, "for all of it")
	if err := parse(flags, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, *url, nil)
	if err != nil {
		return usageError{err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(out, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("get %s: %s", *url, resp.Status)
	}
	return nil
}
