package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// runKeep notes this start in a file, prints what the file then holds and serves it at /: what is sent there by PUT replaces it.
func runKeep(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("keep", flag.ContinueOnError)
	file := flags.String("file", "", "file on the volume; directories are made")
	address := flags.String("listen", ":8080", "address to serve the content on")
	once := flags.Bool("once", false, "end after printing, as an init container does")
	name := flags.String("name", hostname(), "who has started")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *file == "" {
		return usageError{errors.New("-file: want the name of one")}
	}
	if err := note(*file, fmt.Sprintf("%s started %s\n", *name, time.Now().UTC().Format(time.RFC3339Nano))); err != nil {
		return err
	}
	content, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if _, err := out.Write(content); err != nil || *once {
		return err
	}
	listeners, err := listen(*address)
	if err != nil {
		return err
	}
	return serve(ctx, keeper(*file), nil, listeners...)
}

// note adds a line to a file, which is on the disk then.
func note(file, line string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	_, err = f.WriteString(line)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}

// keeper serves a file.
type keeper string

func (k keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		content, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile(string(k), content, 0o644)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	content, err := os.ReadFile(string(k))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(content) // who has asked is gone when that fails
}
