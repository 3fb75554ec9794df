package main

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

func bytesField(number protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), data)
}

// encode makes the body of a request, with fields that a sink has to pass over.
func encode(all ...series) string {
	var out []byte
	for _, s := range all {
		var message []byte
		for name, value := range s.labels {
			pair := append(bytesField(1, []byte(name)), bytesField(2, []byte(value))...)
			message = append(message, bytesField(1, pair)...)
		}
		for _, one := range s.samples {
			data := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
			data = protowire.AppendFixed64(data, math.Float64bits(one.value))
			data = protowire.AppendTag(data, 2, protowire.VarintType)
			data = protowire.AppendVarint(data, uint64(one.at))
			message = append(message, bytesField(2, data)...)
		}
		message = append(message, bytesField(3, []byte("exemplar"))...)
		out = append(out, bytesField(1, message)...)
	}
	out = append(out, bytesField(3, []byte("metadata"))...)
	return string(snappy.Encode(nil, out))
}

func labelled(collector string, samples ...sample) series {
	return series{map[string]string{"__name__": counter, "target": "pod:9100", "collector": collector}, samples}
}

func askSink(t *testing.T, server *httptest.Server, query string) answer {
	t.Helper()
	status, body := ask(t, server.Client(), http.MethodGet, server.URL+"/series"+query, "", nil)
	var out answer
	if err := json.Unmarshal([]byte(body), &out); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	return out
}

func TestSinkTellsWhatItWasSent(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(5000)
	server := httptest.NewServer(newSink(counter, func() time.Time { return now }).handler())
	defer server.Close()
	stale := math.Float64frombits(staleMarker)
	first := encode(labelled("a", sample{2000, 2}, sample{1000, 1}), series{map[string]string{"__name__": "up"}, []sample{{1000, 1}}})
	for _, body := range []string{first, first, encode(labelled("b", sample{3000, 3}), labelled("a", sample{3500, stale}))} {
		if status, text := ask(t, server.Client(), http.MethodPost, server.URL+"/api/v1/write", body, nil); status != http.StatusNoContent {
			t.Fatalf("%d %s", status, text)
		}
	}
	a, b := labelled("a").labels, labelled("b").labels
	want := answer{Now: 5000, Started: 5000, Requests: 3, Series: []told{
		{a, [][2]float64{{1000, 1}, {2000, 2}}, []int64{3500}}, {b, [][2]float64{{3000, 3}}, nil},
	}}
	if got := askSink(t, server, ""); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	want.Series[0].Samples = want.Series[0].Samples[1:]
	if got := askSink(t, server, "?since=2000"); !reflect.DeepEqual(got, want) {
		t.Errorf("since 2000: got  %+v\nwant %+v", got, want)
	}
	want.Series = want.Series[1:]
	if got := askSink(t, server, "?since=2001"); !reflect.DeepEqual(got, want) {
		t.Errorf("since 2001: got  %+v\nwant %+v", got, want)
	}
}

func TestSinkRefusesWhatItCantRead(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newSink("", time.Now).handler())
	defer server.Close()
	huge := snappy.Encode(nil, make([]byte, mostBytes+1))
	for name, body := range map[string]string{
		"no snappy":    "\xff\xff\xff\xff\xff\xff",
		"cut off":      string(snappy.Encode(nil, bytesField(1, []byte("\x0a\x05ab")))),
		"no protobuf":  string(snappy.Encode(nil, []byte{0x0f})),
		"far too much": string(huge),
	} {
		status, text := ask(t, server.Client(), http.MethodPost, server.URL+"/api/v1/write", body, nil)
		if status != http.StatusBadRequest || !strings.HasPrefix(text, "remote write: ") {
			t.Errorf("%s: %d %q", name, status, text)
		}
	}
	if status, _ := ask(t, server.Client(), http.MethodGet, server.URL+"/series?since=soon", "", nil); status != http.StatusBadRequest {
		t.Errorf("since=soon: %d", status)
	}
	if got := askSink(t, server, ""); got.Requests != 0 || len(got.Series) != 0 {
		t.Errorf("%+v", got)
	}
}
