package main

import (
	"fmt"
	"io"
	"math"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// mostBytes bounds a request, before and after it is decompressed.
const mostBytes = 32 << 20

// series is a time series of a request of Prometheus remote write 1.0, whose messages are prometheus.WriteRequest and those in it
// (https://prometheus.io/docs/specs/prw/remote_write_spec/).
type series struct {
	labels  map[string]string
	samples []sample
}

// sample is a value at a time in milliseconds since the epoch.
type sample struct {
	at    int64
	value float64
}

// staleMarker is the value, a NaN of its own, of the sample that ends a series.
const staleMarker uint64 = 0x7ff0000000000002

func (s sample) stale() bool { return math.Float64bits(s.value) == staleMarker }

// readWrite reads a request's body.
func readWrite(body io.Reader) ([]series, error) {
	packed, err := io.ReadAll(io.LimitReader(body, mostBytes))
	if err != nil {
		return nil, fmt.Errorf("remote write: %w", err)
	}
	n, err := snappy.DecodedLen(packed)
	if err == nil && n > mostBytes {
		err = snappy.ErrTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("remote write: snappy: %w", err)
	}
	data, err := snappy.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("remote write: snappy: %w", err)
	}
	const timeseries = 1
	var out []series
	err = fields(data, func(number int, v value) error {
		if number != timeseries {
			return nil // metadata
		}
		s, err := readSeries(v.bytes)
		out = append(out, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("remote write: %w", err)
	}
	return out, nil
}

func readSeries(data []byte) (series, error) {
	const labels, samples = 1, 2
	out := series{labels: map[string]string{}}
	err := fields(data, func(number int, v value) error {
		switch number {
		case labels:
			var pair [3]string // by the number of the field: 1 is the name, 2 the value
			err := fields(v.bytes, func(number int, v value) error {
				if number < 3 {
					pair[number] = string(v.bytes)
				}
				return nil
			})
			out.labels[pair[1]] = pair[2]
			return err
		case samples:
			s, err := readSample(v.bytes)
			out.samples = append(out.samples, s)
			return err
		}
		return nil // exemplars, histograms
	})
	return out, err
}

func readSample(data []byte) (sample, error) {
	var out sample
	err := fields(data, func(number int, v value) error {
		switch number {
		case 1:
			out.value = math.Float64frombits(v.number)
		case 2:
			out.at = int64(v.number)
		}
		return nil
	})
	return out, err
}

// value is a field's: bytes, or a number whatever its encoding.
type value struct {
	bytes  []byte
	number uint64
}

// fields calls each for the fields of a message, with their numbers.
func fields(data []byte, each func(int, value) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var v value
		switch kind {
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := each(int(number), v); err != nil {
			return err
		}
	}
	return nil
}
