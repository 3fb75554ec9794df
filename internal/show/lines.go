package show

import (
	"fmt"
	"slices"
	"strings"
)

// around is how many lines are shown before and after a change.
const around = 3

// edit is a line that both texts have (' '), only the first ('-'), or only the second ('+').
type edit struct {
	op   byte
	line string
}

// hunk is a run of edits that are close to each other. The numbers of its first lines count from 1.
type hunk struct {
	old, new int
	edits    []edit
}

// header is that of a unified diff.
func (h hunk) header() string {
	var olds, news int
	for _, e := range h.edits {
		if e.op != '+' {
			olds++
		}
		if e.op != '-' {
			news++
		}
	}
	return fmt.Sprintf("@@ -%d,%d +%d,%d @@", h.old, olds, h.new, news)
}

// unified is the text of a unified diff, without the names of files.
func unified(hs []hunk) string {
	var b strings.Builder
	for _, h := range hs {
		b.WriteString(h.header() + "\n")
		for _, e := range h.edits {
			b.WriteByte(e.op)
			b.WriteString(e.line + "\n")
		}
	}
	return b.String()
}

// hunks compares two texts line by line. There are none when they are equal.
func hunks(a, b string) []hunk {
	aLines, bLines := textLines(a), textLines(b)
	const marker = `\ no newline at the end`
	switch aEnds, bEnds := strings.HasSuffix(a, "\n"), strings.HasSuffix(b, "\n"); {
	case a == "" || b == "" || aEnds == bEnds:
	case bEnds:
		aLines = append(aLines, marker)
	default:
		bLines = append(bLines, marker)
	}
	edits := compare(aLines, bLines)
	shown := make([]bool, len(edits))
	for i, e := range edits {
		if e.op != ' ' {
			for j := max(0, i-around); j <= min(len(edits)-1, i+around); j++ {
				shown[j] = true
			}
		}
	}
	var out []hunk
	oldLine, newLine := 1, 1
	for i, e := range edits {
		if shown[i] {
			if i == 0 || !shown[i-1] {
				out = append(out, hunk{old: oldLine, new: newLine})
			}
			h := &out[len(out)-1]
			h.edits = append(h.edits, e)
		}
		if e.op != '+' {
			oldLine++
		}
		if e.op != '-' {
			newLine++
		}
	}
	return out
}

func textLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// maxCells bounds the table of a comparison, to 16 MB.
const maxCells = 1 << 22

// compare finds the edits that make b of a: as few as there are while that is cheap, and those between lines that both texts have
// once when they are long (the patience diff of Bram Cohen).
func compare(a, b []string) []edit {
	var before, after []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		before = append(before, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		after = append(after, edit{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	slices.Reverse(after)
	var middle []edit
	if (len(a)+1)*(len(b)+1) <= maxCells {
		middle = shortest(a, b)
	} else {
		middle = patient(a, b)
	}
	return slices.Concat(before, middle, after)
}

// shortest is the textbook's longest common subsequence.
func shortest(a, b []string) []edit {
	width := len(b) + 1
	common := make([]int32, (len(a)+1)*width) // of a[i:] and b[j:]
	for i := range slices.Backward(a) {
		for j := range slices.Backward(b) {
			if a[i] == b[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	var out []edit
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i++
			j++
		case j == len(b) || i < len(a) && common[(i+1)*width+j] >= common[i*width+j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}

// patient compares what is between the lines that both texts have exactly once, in the same order.
func patient(a, b []string) []edit {
	pairs := anchors(a, b)
	if len(pairs) == 0 {
		return replaced(a, b)
	}
	var out []edit
	i, j := 0, 0
	for _, p := range pairs {
		out = append(out, compare(a[i:p.a], b[j:p.b])...)
		out = append(out, edit{' ', a[p.a]})
		i, j = p.a+1, p.b+1
	}
	return append(out, compare(a[i:], b[j:])...)
}

func replaced(a, b []string) []edit {
	out := make([]edit, 0, len(a)+len(b))
	for _, line := range a {
		out = append(out, edit{'-', line})
	}
	for _, line := range b {
		out = append(out, edit{'+', line})
	}
	return out
}

type anchor struct {
	a, b     int // indexes of the same line
	previous int // of the anchor before it in the longest run that ends with it
}

// anchors is the longest run of lines that are in both texts once, and in the same order.
func anchors(a, b []string) []anchor {
	inA, inB := once(a), once(b)
	var found []anchor
	for i, line := range a {
		if _, ok := inA[line]; !ok {
			continue
		}
		if j, ok := inB[line]; ok {
			found = append(found, anchor{i, j, -1})
		}
	}
	var ends []int // ends[n] is the anchor with the least b that ends a run of n+1
	for k := range found {
		n, _ := slices.BinarySearchFunc(ends, found[k].b, func(e, b int) int { return found[e].b - b })
		if n > 0 {
			found[k].previous = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, k)
		} else {
			ends[n] = k
		}
	}
	if len(ends) == 0 {
		return nil
	}
	var out []anchor
	for k := ends[len(ends)-1]; k >= 0; k = found[k].previous {
		out = append(out, found[k])
	}
	slices.Reverse(out)
	return out
}

// once are the lines that are there once, with their indexes.
func once(lines []string) map[string]int {
	out, count := map[string]int{}, map[string]int{}
	for i, line := range lines {
		count[line]++
		if out[line] = i; count[line] > 1 {
			delete(out, line)
		}
	}
	return out
}
