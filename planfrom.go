package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/otelier/otelier/allocate"
)

const (
	// mostFetched bounds an answer of a pool, in bytes: some ten million targets.
	mostFetched = 1 << 30
	// exportPath is where a pool tells what its assignment follows from.
	exportPath = "/pool.json"
)

// fetchPool asks a pool that is served for its rules, members and targets, and on whom these are.
func fetchPool(ctx context.Context, base string) (*allocate.Export, error) {
	from := strings.TrimSuffix(base, "/") + exportPath
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body := io.LimitReader(response.Body, mostFetched)
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %s: this is no pool of an otelier that can be planned from; --config plans from a configuration file", from, response.Status)
	default:
		text, _ := io.ReadAll(io.LimitReader(body, 1<<10))
		return nil, fmt.Errorf("%s: %s: %s", from, response.Status, strings.TrimSpace(string(text)))
	}
	export, err := allocate.ReadExport(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if export.Algorithm != allocate.Algorithm {
		return nil, fmt.Errorf("%s: targets are placed by %q there, and by %q here: plan with the version of the operator", from, export.Algorithm, allocate.Algorithm)
	}
	return export, nil
}

// checkMembers refuses what can't have another number of collectors.
func checkMembers(members []allocate.Member) error {
	for _, m := range members {
		if m.Seed != m.Name {
			return errors.New("the collectors are those of a DaemonSet: another number of them is another number of nodes, which can't be planned")
		}
	}
	return nil
}
