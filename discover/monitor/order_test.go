package monitor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

// world is what there is, and what has happened to it since somebody looked.
type world struct {
	objects map[string]*object
	secrets shelf
	team    map[string]string
	news    map[string]func(*player) // by what it is about
}

// happen lets one thing happen. To what has something happened already, nothing more does before the news is out.
func (w *world) happen(t *rapid.T, step int) {
	draw := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
	ns, n := fmt.Sprint("ns", draw(2, "namespace")), draw(3, "which")
	about := []string{"monitor " + ns, "secret " + ns, "namespace " + ns}[draw(3, "what")]
	if !strings.HasPrefix(about, "namespace") {
		about += fmt.Sprint(n)
	}
	if w.news[about] != nil {
		return
	}
	there := draw(3, "there") > 0
	switch {
	case strings.HasPrefix(about, "monitor"):
		was := w.objects[about]
		delete(w.objects, about)
		if !there {
			if was == nil {
				return
			}
			w.news[about] = func(p *player) { p.w.objectChanged(was, nil) }
			return
		}
		endpoint := withPassword(fmt.Sprint("s", draw(3, "secret")))
		endpoint["port"] = fmt.Sprint("p", step)
		is := newObject(serviceMonitor, service(ns, fmt.Sprint("m", n), endpoint))
		w.objects[about] = is
		w.news[about] = func(p *player) { p.w.objectChanged(was, is) }
	case strings.HasPrefix(about, "secret"):
		name, version := fmt.Sprint("s", n), ""
		delete(w.secrets, ns+"/"+name)
		if there {
			version = fmt.Sprint("v", step)
			w.secrets[ns+"/"+name] = map[string]string{"user": "u", "password": version}
		}
		w.news[about] = func(p *player) { p.w.assets.seen(assetKey{kindSecret, ns, name}, version) }
	default:
		value := fmt.Sprint("t", draw(2, "team"))
		w.team[ns] = value
		w.news[about] = func(p *player) { p.w.labels[ns] = labels.Set{"team": value} }
	}
}

// TestOrderOfEventsDoesNotMatter tells the same news to two Watchers, one in the opposite order and looking at it at other times.
// In the end both must say the same, and the same as a third that has seen nothing but the end.
func TestOrderOfEventsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{map[string]*object{}, shelf{}, map[string]string{}, map[string]func(*player){}}
		first, second := newPlayer(t, w.secrets), newPlayer(t, w.secrets)
		for step := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			for range rapid.IntRange(1, 4).Draw(rt, "at once") {
				w.happen(rt, step)
			}
			order := slices.Sorted(maps.Keys(w.news))
			for _, about := range order {
				w.news[about](first)
			}
			for _, about := range slices.Backward(order) {
				w.news[about](second)
			}
			clear(w.news)
			if rapid.Bool().Draw(rt, "first looks") {
				first.look()
			}
			if rapid.Bool().Draw(rt, "second looks") {
				second.look()
			}
		}
		third := newPlayer(t, w.secrets)
		for ns, value := range w.team {
			third.w.labels[ns] = labels.Set{"team": value}
		}
		for _, o := range w.objects {
			third.w.objectChanged(nil, o)
		}
		a, b, c := first.look(), second.look(), third.look()
		if !a.same(&c) || !b.same(&c) {
			rt.Fatalf("results differ:\n%v %v\n%v %v\nwant\n%v %v", names(a), a.Problems, names(b), b.Problems, names(c), c.Problems)
		}
	})
}

// player is a Watcher that selects ServiceMonitors in namespaces of team t0.
type player struct {
	t    testing.TB
	w    *Watcher
	last Result
}

func newPlayer(t testing.TB, secrets shelf) *player {
	w := New(Options{})
	w.assets.fetch = secrets.fetch
	for k := range kinds {
		w.feeds[feedKey{k.plural(), ""}] = &feedStatus{state: feedSynced}
	}
	w.feeds[feedKey{feedNamespaces, ""}] = &feedStatus{state: feedSynced}
	w.Subscribe(Selection{ServiceMonitors: Selector{
		Objects: &metav1.LabelSelector{}, Namespaces: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "t0"}},
	}}, nil)
	return &player{t: t, w: w}
}

// fetch gives what is on the shelf, at a version that is its password.
func (s shelf) fetch(ctx context.Context, key assetKey) (any, string, error) {
	o, err := s.get(ctx, key)
	return o, s[key.namespace+"/"+key.name]["password"], err
}

// look gives the result that the subscription would have now.
func (p *player) look() Result {
	notices, _ := p.w.refresh(p.t.Context())
	for _, n := range notices {
		p.last = n.result
	}
	return p.last
}
