package bench_test

import (
	"fmt"
	"strings"
	"testing"
)

// figure is a result with its name, which ends with its unit.
type figure struct {
	name  string
	value float64
}

// figures are the results of one benchmark, in the order in which they came.
type figures []figure

// add sets a figure.
func (f *figures) add(name string, value float64) {
	for i := range *f {
		if (*f)[i].name == name {
			(*f)[i].value = value
			return
		}
	}
	*f = append(*f, figure{name, value})
}

// report has the figures in the benchmark's line, in the place of the time of an iteration.
func (f figures) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	for _, x := range f {
		b.ReportMetric(x.value, x.name)
	}
}

// table has a benchmark in each row.
type table []figures

// String is the table in Markdown, with a column for each figure.
func (t table) String() string {
	var out strings.Builder
	for i, row := range t {
		if i == 0 {
			for _, x := range row {
				fmt.Fprintf(&out, "| %s ", x.name)
			}
			out.WriteString("|\n" + strings.Repeat("|--:", len(row)) + "|\n")
		}
		for _, x := range row {
			fmt.Fprintf(&out, "| %s ", short(x.value))
		}
		out.WriteString("|\n")
	}
	return out.String()
}

// print prints the table, beside what the testing package prints for programs to read.
func (t table) print() {
	if len(t) > 0 {
		fmt.Printf("\n%s\n", t)
	}
}

// short is a number with at most one decimal.
func short(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }
