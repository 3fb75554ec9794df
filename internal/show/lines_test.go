package show

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestCompare shows, for random texts, that the edits turn one into the other, in both ways of finding them.
func TestCompare(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		text := func() []string {
			out := make([]string, random.IntN(40))
			for i := range out {
				out[i] = fmt.Sprint(random.IntN(1 + random.IntN(60)))
			}
			return out
		}
		a, b := text(), text()
		for name, f := range map[string]func(a, b []string) []edit{"compare": compare, "patient": patient, "shortest": shortest, "replaced": replaced} {
			var before, after []string
			for _, e := range f(a, b) {
				if e.op != '+' {
					before = append(before, e.line)
				}
				if e.op != '-' {
					after = append(after, e.line)
				}
			}
			if strings.Join(before, " ") != strings.Join(a, " ") || strings.Join(after, " ") != strings.Join(b, " ") {
				t.Fatalf("%s, seed %d: %v and %v became %v and %v", name, seed, a, b, before, after)
			}
		}
	}
}

// TestLong compares texts of the size of a ConfigMap, whose lines are few and far between.
func TestLong(t *testing.T) {
	var a, b strings.Builder
	for i := range 40000 {
		fmt.Fprintf(&a, "line %d\n  same\n", i)
		if i%4000 == 17 {
			b.WriteString("new\n")
		}
		fmt.Fprintf(&b, "line %d\n  same\n", i)
	}
	changed := 0
	for _, h := range hunks(a.String(), b.String()) {
		for _, e := range h.edits {
			if e.op != ' ' {
				changed++
			}
		}
	}
	if changed != 10 {
		t.Errorf("%d lines are changed, want 10", changed)
	}
}

func TestHunks(t *testing.T) {
	numbers := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintln(&b, i)
		}
		return b.String()
	}
	for _, c := range []struct{ name, a, b, want string }{
		{"equal", "a\nb\n", "a\nb\n", ""},
		{"both empty", "", "", ""},
		{"all new", "", "a\nb\n", "@@ -1,0 +1,2 @@\n+a\n+b\n"},
		{"all gone", "a\n", "", "@@ -1,1 +1,0 @@\n-a\n"},
		{"end of the last line", "a\n", "a", "@@ -1,1 +1,2 @@\n a\n+\\ no newline at the end\n"},
		{"at the start", numbers(9), "x\n" + numbers(9), "@@ -1,3 +1,4 @@\n+x\n 0\n 1\n 2\n"},
		{"at the end", numbers(9), numbers(9) + "x\n", "@@ -7,3 +7,4 @@\n 6\n 7\n 8\n+x\n"},
		{
			"close", numbers(9), strings.NewReplacer("1\n", "x\n", "8\n", "y\n").Replace(numbers(9)),
			"@@ -1,9 +1,9 @@\n 0\n-1\n+x\n 2\n 3\n 4\n 5\n 6\n 7\n-8\n+y\n",
		},
		{
			"apart", numbers(10), strings.NewReplacer("1\n", "x\n", "9\n", "y\n").Replace(numbers(10)),
			"@@ -1,5 +1,5 @@\n 0\n-1\n+x\n 2\n 3\n 4\n@@ -7,4 +7,4 @@\n 6\n 7\n 8\n-9\n+y\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := unified(hunks(c.a, c.b)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
