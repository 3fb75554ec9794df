package monitor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/otelier/otelier/discover"
)

// work is one object to translate.
type work struct {
	profile *profile
	object  *object
	result  translation
}

// pass brings everything up to date and notifies whom it concerns. It says when to call it next, even if nothing changes.
func (w *Watcher) pass(ctx context.Context) (again time.Time) {
	began := w.clock.Now()
	w.assets.retry() // What is due says so, and is taken in right now.
	notices, events := w.refresh(ctx)
	if ctx.Err() != nil {
		return time.Time{}
	}
	w.followAssets()
	w.record(events)
	for _, n := range notices {
		w.notify(n)
	}
	return earlier(w.assets.retry(), w.patienceEnds(began))
}

// refresh translates what has to be, and says what is new.
func (w *Watcher) refresh(ctx context.Context) ([]notice, []event) {
	w.mu.Lock()
	todo := w.plan()
	w.mu.Unlock()
	w.translate(ctx, todo)
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return nil, nil // What was cut short says nothing about the objects.
	}
	w.take(todo)
	notices, events := w.results(), w.newProblems()
	w.retire()
	return notices, events
}

// followAssets watches the Secrets and ConfigMaps that are referred to now, and forgets the others.
func (w *Watcher) followAssets() {
	w.mu.Lock()
	defer w.mu.Unlock()
	used := w.usedAssets()
	w.watchAssets(used)
	w.assets.keep(used)
	for key := range w.watched {
		if status := w.feeds[key]; status.state == feedForbidden {
			w.assets.poll(key.what, key.namespace)
		}
	}
}

// plan is what is to be translated: what is selected by anybody and has changed, or refers to what has changed. It forgets what nobody
// selects any more, where that is known.
func (w *Watcher) plan() []*work {
	w.passes++
	selected := map[*profile]map[objectKey]bool{}
	unknown := map[*profile]bool{}
	for _, sub := range w.subs {
		if sub.err != nil {
			continue
		}
		if !w.feedsReady(sub) {
			unknown[sub.profile] = true
			continue
		}
		if sub.ready.IsZero() {
			sub.ready = w.clock.Now()
		}
		sub.planned = w.passes
		keys := selected[sub.profile]
		if keys == nil {
			keys = make(map[objectKey]bool, len(sub.profile.entries))
			selected[sub.profile] = keys
		}
		for key, o := range w.objects {
			if w.selects(sub.matcher, o) {
				keys[key] = true
			}
		}
	}
	var todo []*work
	for p, keys := range selected {
		for key, e := range p.entries {
			if !keys[key] && !unknown[p] {
				delete(p.entries, key)
			} else if len(w.changed) > 0 && slices.ContainsFunc(e.refs, func(ref assetKey) bool { return w.changed[ref] }) {
				e.stale = true
			}
		}
		for key := range keys {
			if e := p.entries[key]; e == nil || e.stale || e.object != w.objects[key] {
				todo = append(todo, &work{profile: p, object: w.objects[key]})
			}
		}
	}
	clear(w.changed)
	return todo
}

func (w *Watcher) selects(m *matcher, o *object) bool {
	return m.selects(o, w.namespaceLabels(o.Namespace))
}

// translate does the work, several at a time.
func (w *Watcher) translate(ctx context.Context, todo []*work) {
	next := make(chan *work)
	var wg sync.WaitGroup
	for range min(translators, len(todo)) {
		wg.Go(func() {
			for t := range next {
				t.result = t.profile.translate(ctx, t.object, w.assets, w.log)
			}
		})
	}
	for _, t := range todo {
		next <- t
	}
	close(next)
	wg.Wait()
}

// take stores what was translated. An object that only waits for what it refers to, or must not read it any more, keeps the jobs that it
// had, with another selection too.
func (w *Watcher) take(todo []*work) {
	for _, t := range todo {
		key := t.object.key()
		e := &entry{object: t.object, translation: t.result}
		if old := w.before(t.profile, e); old != nil {
			e.jobs, e.waiting = old.jobs, false
			for _, ref := range old.refs {
				if !slices.Contains(e.refs, ref) {
					e.refs = append(e.refs, ref)
				}
			}
			e.problems = slices.Clone(e.problems)
			for i := range e.problems {
				e.problems[i].Message += "; the jobs made before stay"
			}
		}
		t.profile.entries[key] = e
	}
}

// before is what an entry may go on with: the last one of the same object that has jobs; nil if there is none.
func (w *Watcher) before(p *profile, e *entry) *entry {
	if !e.waiting && len(e.denied) == 0 {
		return nil
	}
	usable := func(old *entry) bool {
		return old != nil && old.object.UID == e.object.UID && len(old.jobs) > 0 &&
			!slices.ContainsFunc(e.denied, func(ref assetKey) bool { return !slices.Contains(old.refs, ref) })
	}
	key := e.object.key()
	if old := p.entries[key]; usable(old) {
		return old
	}
	for _, other := range slices.Sorted(maps.Keys(w.profiles)) {
		if q := w.profiles[other]; q != p && q.alike(p) && usable(q.entries[key]) {
			return q.entries[key]
		}
	}
	return nil
}

// usedAssets are those that any translation has asked for.
func (w *Watcher) usedAssets() map[assetKey]bool {
	used := map[assetKey]bool{}
	for _, p := range w.profiles {
		for _, e := range p.entries {
			for _, ref := range e.refs {
				used[ref] = true
			}
		}
	}
	return used
}

// notice is a result that somebody is to be told.
type notice struct {
	sub    *subscription
	result Result
}

// results are those that are complete and new.
func (w *Watcher) results() []notice {
	var out []notice
	for _, sub := range w.subs {
		result, complete := w.result(sub)
		if !complete || (sub.last != nil && sub.last.same(&result)) {
			continue
		}
		sub.last = &result
		out = append(out, notice{sub, result})
	}
	return out
}

func (w *Watcher) notify(n notice) {
	w.mu.Lock()
	closed := n.sub.closed
	w.mu.Unlock()
	if !closed {
		n.sub.notify(n.result)
	}
}

// result of a subscription, and whether it is complete.
func (w *Watcher) result(sub *subscription) (Result, bool) {
	if sub.err != nil {
		return Result{Problems: []Problem{{Reason: ReasonSelection, Message: sub.err.Error()}}}, true
	}
	if !w.feedsReady(sub) {
		return Result{}, false
	}
	if sub.planned != w.passes { // All has come to be known since the plan was made.
		w.poke()
		return Result{}, false
	}
	var entries []*entry
	for key, o := range w.objects {
		if !w.selects(sub.matcher, o) {
			continue
		}
		e := sub.profile.entries[key]
		switch waits := e == nil || (e.waiting && w.clock.Since(sub.ready) < assetPatience); {
		case waits && sub.last == nil:
			return Result{}, false
		case e != nil:
			entries = append(entries, e)
		case o.since < w.passes: // It was not selected for a moment, just when the plan was made.
			w.poke()
			return Result{}, false
		default: // What came in since the plan was made is in the next result.
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.object.kind, b.object.kind), cmp.Compare(a.object.Namespace, b.object.Namespace),
			cmp.Compare(a.object.Name, b.object.Name))
	})
	r := Result{Jobs: make([]discover.Job, 0, len(entries))}
	for _, e := range entries {
		r.Jobs = append(r.Jobs, e.jobs...)
		r.Problems = append(r.Problems, e.problems...)
	}
	w.feedProblems(sub, entries, &r)
	slices.SortFunc(r.Problems, compareProblems)
	r.Problems = slices.Compact(r.Problems)
	return r, true
}

// feedProblems adds what can't be watched.
func (w *Watcher) feedProblems(sub *subscription, entries []*entry, r *Result) {
	add := func(kind, what, namespace, hint string) {
		if status := w.feeds[feedKey{what, namespace}]; status != nil && status.state == feedForbidden {
			r.Problems = append(r.Problems, Problem{
				Kind: kind, Namespace: namespace, Reason: ReasonForbidden, Message: fmt.Sprintf("%s: %v", hint, status.err),
			})
		}
	}
	for k := range kinds {
		if !sub.matcher.wants(k) {
			continue
		}
		for _, namespace := range w.namespaces {
			add(k.String(), k.plural(), namespace, "there are none of this kind until they can be read")
		}
		if status := w.feeds[feedKey{k.plural(), w.namespaces[0]}]; status.state == feedMissing {
			r.Missing = append(r.Missing, k.resource().GroupResource().String())
		}
	}
	if w.needsNamespaces(sub.matcher) {
		for _, namespace := range w.namespaces {
			add("Namespace", feedNamespaces, namespace, "namespaces are selected by their names alone until their labels can be read")
		}
	}
	for _, e := range entries {
		for _, ref := range e.refs {
			add(ref.kind, ref.kind, ref.namespace, "changes are noticed with a delay")
		}
	}
}

// patienceEnds is when a first result stops waiting, after the given time; the zero time when none waits.
func (w *Watcher) patienceEnds(now time.Time) (at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sub := range w.subs {
		if sub.err != nil || sub.last != nil {
			continue
		}
		if end := sub.ready.Add(assetPatience); !sub.ready.IsZero() && end.After(now) {
			at = earlier(at, end)
		}
		for _, key := range w.depends(sub.matcher) {
			if status := w.feeds[key]; status != nil && status.state == feedForbidden {
				if end := w.rightsEnd(status); end.After(now) {
					at = earlier(at, end)
				}
			}
		}
	}
	return at
}
