package monitor

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
)

const (
	fetchTimeout = 10 * time.Second
	firstRetry   = time.Second
	lastRetry    = 30 * time.Second
	// pollInterval is how often what can't be watched is fetched again.
	pollInterval = 30 * time.Second
)

// fetchFunc gets one Secret or ConfigMap with its content.
type fetchFunc func(ctx context.Context, key assetKey) (asset any, version string, err error)

// assetCache holds the Secrets and ConfigMaps that objects refer to, with their content, and only those. Each is fetched once, and again
// when it is said to have changed.
type assetCache struct {
	fetch fetchFunc
	clock clock.PassiveClock
	// changed is told of every asset that is not, or may not be, what was given out.
	changed func(assetKey)

	mu      sync.Mutex
	entries map[assetKey]*cachedAsset
}

type cachedAsset struct {
	fetching sync.Mutex // held while it is fetched, so that it is fetched once

	// The rest is guarded by the cache's mutex.
	known   bool // there is an answer, content or err, and nothing says that it has changed
	content any  // last that was seen; stays while fetching it fails for the moment
	version string
	err     error
	again   time.Time // when err is to be tried again; zero for one that lasts until something changes
	failed  int       // how often in a row
	edits   int       // how often it was said to have changed
}

func newAssetCache(fetch fetchFunc, clk clock.PassiveClock, changed func(assetKey)) *assetCache {
	return &assetCache{fetch: fetch, clock: clk, changed: changed, entries: map[assetKey]*cachedAsset{}}
}

// definite says whether an error is the API server's answer about the asset, and not one about the moment.
func definite(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// get gives what is known of an asset, and fetches it when nothing is. While it can't be fetched the content seen last stands for it.
func (c *assetCache) get(ctx context.Context, key assetKey) (any, error) {
	e := c.entry(key)
	e.fetching.Lock()
	defer e.fetching.Unlock()
	for {
		edits, need := c.due(e)
		if !need {
			c.mu.Lock()
			defer c.mu.Unlock()
			return e.answer()
		}
		timed, cancel := context.WithTimeout(ctx, fetchTimeout)
		content, version, err := c.fetch(timed, key)
		cancel()
		if c.learn(e, edits, content, version, err) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return e.answer()
		}
		// It has changed meanwhile.
	}
}

func (c *assetCache) entry(key assetKey) *cachedAsset {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		e = &cachedAsset{}
		c.entries[key] = e
	}
	return e
}

func (c *assetCache) due(e *cachedAsset) (edits int, need bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return e.edits, !e.known
}

// learn takes an answer in, and says whether it still counts.
func (c *assetCache) learn(e *cachedAsset, edits int, content any, version string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !definite(err) {
		e.known, e.err = true, err
		e.again = c.clock.Now().Add(min(firstRetry<<min(e.failed, 10), lastRetry))
		e.failed++
		return true
	}
	if e.edits != edits {
		return false
	}
	e.known, e.content, e.version, e.err, e.again, e.failed = true, content, version, err, time.Time{}, 0
	if err != nil {
		e.content, e.version = nil, ""
		if apierrors.IsForbidden(err) {
			e.again = c.clock.Now().Add(pollInterval) // No watch tells when a right is given.
		}
	}
	return true
}

func (e *cachedAsset) answer() (any, error) {
	if e.err != nil && !definite(e.err) && e.content != nil {
		return e.content, nil
	}
	return e.content, e.err
}

// seen takes in that a watch has seen the asset at a version, or, with an empty one, that it is gone.
func (c *assetCache) seen(key assetKey, version string) {
	c.mu.Lock()
	e := c.entries[key]
	if e == nil || (e.known && e.err == nil && e.version == version) || (e.known && version == "" && apierrors.IsNotFound(e.err)) {
		c.mu.Unlock()
		return
	}
	e.known = false
	e.edits++
	c.mu.Unlock()
	c.changed(key)
}

// synced takes in all that a watch knows of a namespace: what is cached and not among it is gone.
func (c *assetCache) synced(kind, namespace string, versions map[string]string) {
	c.mu.Lock()
	var keys []assetKey
	for key := range c.entries {
		if key.kind == kind && key.namespace == namespace {
			keys = append(keys, key)
		}
	}
	c.mu.Unlock()
	for _, key := range keys {
		c.seen(key, versions[key.name])
	}
}

// retry makes due what is to be fetched again by now, and says when to call it next; the zero time when there is nothing.
func (c *assetCache) retry() (next time.Time) {
	now := c.clock.Now()
	c.mu.Lock()
	var due []assetKey
	for key, e := range c.entries {
		switch {
		case e.again.IsZero() || !e.known:
		case !e.again.After(now):
			e.known = false
			due = append(due, key)
		case next.IsZero() || e.again.Before(next):
			next = e.again
		}
	}
	c.mu.Unlock()
	for _, key := range due {
		c.changed(key)
	}
	return next
}

// poll has assets of a namespace that can't be watched fetched again after a while.
func (c *assetCache) poll(kind, namespace string) {
	at := c.clock.Now().Add(pollInterval)
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.entries {
		if key.kind == kind && key.namespace == namespace && e.known && e.again.IsZero() {
			e.again = at
		}
	}
}

// keep forgets all but the given ones.
func (c *assetCache) keep(used map[assetKey]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.entries {
		if !used[key] {
			delete(c.entries, key)
		}
	}
}
