package allocate

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"
)

// text draws strings that JSON has to care about.
var text = rapid.OneOf( //nolint:gochecknoglobals // a generator
	rapid.SampledFrom([]string{"", "a", "\"", "\\", "\x00", "\x1f\x7f", "\b\f\n\r\t", "<&>", "\u2028\u2029", "\xff", "a\xc3", "\xed\xa0\x80", "ü", "日本", "🦦", `{"a":"b\n"}`, "\ufffd"}),
	rapid.String(),
	rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
)

func entry(t *rapid.T) Entry {
	m := rapid.MapOfN(rapid.OneOf(rapid.SampledFrom([]string{"__address__", "job", "a", "b"}), text), text, 0, 6).Draw(t, "labels")
	for name, value := range m {
		if value == "" { // the same as no label
			delete(m, name)
		}
	}
	return Entry{
		ID:     rapid.Uint64Range(0, 30).Draw(t, "id"),
		Key:    rapid.Uint64().Draw(t, "key"),
		Place:  Place{rapid.SampledFrom([]string{"", "n1", "n2"}).Draw(t, "node"), rapid.SampledFrom([]string{"", "z"}).Draw(t, "zone")},
		Class:  rapid.Uint8Range(0, 1).Draw(t, "class"),
		Labels: labels.FromMap(m),
	}
}

// similar entries are enough for values to be folded.
func similar(t *rapid.T) []Entry {
	var all []Entry
	for i := range rapid.IntRange(0, 40).Draw(t, "n") {
		values := []string{"__address__", "a:1", "job", "j", "pod", rapid.SampledFrom([]string{"p", "q\xff", "\""}).Draw(t, "pod")}
		if rapid.Bool().Draw(t, "addresses") {
			values[1] = fmt.Sprint("b:", i)
		}
		all = append(all, Entry{ID: uint64(100 + i), Labels: labels.FromStrings(values...)})
	}
	return all
}

func entries(t *rapid.T, name string) []Entry {
	return append(rapid.SliceOf(rapid.Custom(entry)).Draw(t, name), similar(t)...)
}

// first of each ID, by ID: what a block of the entries should hold.
func firsts(in []Entry) []Entry {
	seen := map[uint64]bool{}
	var out []Entry
	for _, e := range in {
		if !seen[e.ID] {
			seen[e.ID] = true
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func check(t *rapid.T, b *Block, want []Entry) {
	if b.Len() != len(want) || len(b.IDs()) != len(want) || len(b.Keys()) != len(want) {
		t.Fatalf("block has %d targets, want %d", b.Len(), len(want))
	}
	for i, e := range want {
		if b.IDs()[i] != e.ID || b.Keys()[i] != e.Key || b.Class(i) != e.Class || b.Place(i) != e.Place {
			t.Fatalf("target %d is %d %d %d %v, want %+v", i, b.IDs()[i], b.Keys()[i], b.Class(i), b.Place(i), e)
		}
		if got := b.Labels(i); !labels.Equal(got, e.Labels) {
			t.Fatalf("labels of target %d are %v, want %v", i, got, e.Labels)
		}
		got := b.AppendJSON([]byte("x"), i)
		if want := "x" + string(groupJSON(t, e.Labels)); string(got) != want {
			t.Fatalf("JSON of target %d is\n%s, want\n%s", i, got, want)
		}
		if b.size(i) != len(got)-1 {
			t.Fatalf("size of target %d is %d, want %d", i, b.size(i), len(got)-1)
		}
	}
}

// groupJSON is what encoding/json makes of a target.
func groupJSON(t *rapid.T, l labels.Labels) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encode := func(v any) {
		if err := encoder.Encode(v); err != nil {
			t.Fatal(err)
		}
		out.Truncate(out.Len() - 1) // the newline
	}
	out.WriteString(`{"targets":`)
	encode([]string{l.Get("__address__")})
	out.WriteString(`,"labels":{`)
	first := true
	l.Range(func(l labels.Label) {
		if !first {
			out.WriteByte(',')
		}
		first = false
		encode(l.Name)
		out.WriteByte(':')
		encode(l.Value)
	})
	out.WriteString(`}}`)
	return out.Bytes()
}

func TestBlockHoldsItsEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := entries(t, "entries")
		check(t, NewBlock(in), firsts(in))
	})
}

func TestEditEqualsNewBlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, add := firsts(entries(t, "before")), entries(t, "add")
		if rapid.Bool().Draw(t, "again") && len(before) > 0 {
			add = append(add, rapid.SampledFrom(before).Draw(t, "same"))
		}
		drop := rapid.SliceOf(rapid.Uint64Range(0, 130)).Draw(t, "drop")
		block := NewBlock(before)
		got := block.Edit(drop, add)

		kept := slices.DeleteFunc(slices.Clone(before), func(e Entry) bool { return slices.Contains(drop, e.ID) })
		want := firsts(append(slices.Clone(add), kept...))
		check(t, got, want)
		check(t, block, before)
		if same := slices.EqualFunc(before, want, equalEntries); same != (got == block) {
			t.Fatalf("content is the same: %v, block is the same: %v", same, got == block)
		}
		if fresh := NewBlock(want); !slices.Equal(fresh.sums, got.sums) || fresh.values.all != got.values.all || !slices.Equal(fresh.narrow, got.narrow) {
			t.Fatal("an edited block is packed in another way than one that is made anew")
		}
	})
}

func equalEntries(a, b Entry) bool {
	return a.ID == b.ID && a.Key == b.Key && a.Class == b.Class && a.Place == b.Place && labels.Equal(a.Labels, b.Labels)
}

// With more than 65,536 values, indexes are wide.
func TestBlockWithManyValues(t *testing.T) {
	in := podEntries(20_000)
	b := NewBlock(in)
	if b.wide == nil {
		t.Fatalf("%d values and narrow indexes", len(b.values.ends))
	}
	for i, e := range firsts(in) {
		if got := b.Labels(i); !labels.Equal(got, e.Labels) {
			t.Fatalf("labels of target %d are %v, want %v", i, got, e.Labels)
		}
	}
}

func TestEmptyBlock(t *testing.T) {
	b := NewBlock(nil)
	if b.Len() != 0 || b.Edit([]uint64{1}, nil) != b {
		t.Fatal("an empty block has content")
	}
	if got := b.Edit(nil, podEntries(2)); got.Len() != 2 || got.Edit(got.IDs(), nil).Len() != 0 {
		t.Fatal("targets of an empty block can't be edited")
	}
}

// podEntries are n targets of pods with 27 labels: 7 of each pod's own, the rest shared in groups of 100 and less.
func podEntries(n int) []Entry { return podEntriesFrom(0, n) }

func podEntriesFrom(from, n int) []Entry {
	out := make([]Entry, n)
	for k := range out {
		i := from + k
		group, node := i/100, fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", i%3, i%16, i%7)
		ip := fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		pod := fmt.Sprintf("checkout-%d-7d9f8b6c%02d-%05x", group, group%100, i*2654435761%(1<<20))
		out[k] = Entry{
			ID: uint64(i) * 0x9e3779b97f4a7c15, Key: uint64(i) * 0xd6e8feb86659fd93, Place: Place{Node: node, Zone: "eu-central-1" + string("abc"[i%3])},
			Labels: labels.FromStrings(
				"__address__", ip+":9090", "__meta_kubernetes_namespace", fmt.Sprint("team-", group%20),
				"__meta_kubernetes_endpointslice_name", fmt.Sprintf("checkout-%d-x2k4f", group),
				"__meta_kubernetes_endpointslice_port", "9090", "__meta_kubernetes_endpointslice_port_name", "metrics",
				"__meta_kubernetes_endpointslice_port_protocol", "TCP", "__meta_kubernetes_endpointslice_address_type", "IPv4",
				"__meta_kubernetes_endpointslice_endpoint_conditions_ready", "true", "__meta_kubernetes_endpointslice_address_target_kind", "Pod",
				"__meta_kubernetes_endpointslice_address_target_name", pod, "__meta_kubernetes_pod_name", pod,
				"__meta_kubernetes_pod_ip", ip, "__meta_kubernetes_pod_host_ip", fmt.Sprintf("10.0.%d.%d", i%16, i%7),
				"__meta_kubernetes_pod_node_name", node, "__meta_kubernetes_pod_phase", "Running", "__meta_kubernetes_pod_ready", "true",
				"__meta_kubernetes_pod_uid", fmt.Sprintf("%08x-7a1b-4c55-9d3e-%012x", i*2654435761%(1<<32), i), "__meta_kubernetes_pod_controller_kind", "ReplicaSet",
				"__meta_kubernetes_pod_controller_name", fmt.Sprintf("checkout-%d-7d9f8b6c%02d", group, group%100),
				"__meta_kubernetes_pod_container_name", "app", "__meta_kubernetes_pod_container_port_number", "9090",
				"__meta_kubernetes_pod_label_app_kubernetes_io_name", fmt.Sprint("checkout-", group),
				"__meta_kubernetes_pod_label_pod_template_hash", fmt.Sprintf("7d9f8b6c%02d", group%100),
				"__meta_kubernetes_pod_annotation_checksum_config", fmt.Sprintf("%064x", group), "__meta_kubernetes_service_name", fmt.Sprint("checkout-", group),
				"__meta_kubernetes_service_label_team", fmt.Sprint("team-", group%20), "__meta_kubernetes_pod_container_image", "registry.example.com/checkout:1.27.3",
			),
		}
	}
	return out
}

func BenchmarkNewBlock(b *testing.B) {
	in := podEntries(1000)
	cpu := cpuTime(b)
	for b.Loop() {
		NewBlock(in)
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N)/1000, "cpu-ns/target")
}

func BenchmarkEditBlock(b *testing.B) {
	block, add := NewBlock(podEntries(1000)), podEntriesFrom(1000, 1)
	drop := []uint64{block.IDs()[500]}
	cpu := cpuTime(b)
	for b.Loop() {
		block.Edit(drop, add)
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N)/1000, "cpu-ns/target")
}

// cpuTime is what the process has used, in nanoseconds: on a machine that others use too, it says more than the clock.
func cpuTime(t testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkBlockBytes says what a target of 27 labels holds, in blocks of different sizes.
func BenchmarkBlockBytes(b *testing.B) {
	for _, size := range []int{20, 100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("block=%d", size), func(b *testing.B) {
			const total = 100_000
			for b.Loop() {
				before := heap()
				blocks := make([]*Block, total/size)
				for i := range blocks {
					blocks[i] = NewBlock(podEntriesFrom(i*size, size))
				}
				b.ReportMetric(float64(heap()-before)/total, "B/target")
				b.ReportMetric(float64(len(blocks[0].AppendJSON(nil, 0))), "JSON-B/target")
				runtime.KeepAlive(blocks)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkAppendJSON(b *testing.B) {
	for _, size := range []int{20, 1000, 100_000} {
		b.Run(fmt.Sprintf("block=%d", size), func(b *testing.B) {
			block := NewBlock(podEntries(size))
			out := make([]byte, 0, 64<<10)
			i, cpu := 0, cpuTime(b)
			for b.Loop() {
				out = block.AppendJSON(out[:0], i*7919%size)
				i++
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
			b.SetBytes(int64(len(out)))
		})
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a\"b", "\xff\xfe", "\u2028", strings.Repeat("é", 3), "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := string(appendQuoted(nil, s)) + "\n"; got != want.String() {
			t.Fatalf("%q is escaped as %s, want %s", s, got, want.String())
		}
	})
}
