package allocate

import (
	"unicode/utf8"
)

// AppendJSON appends target i as one group of Prometheus' HTTP service discovery, {"targets":["ADDRESS"],"labels":{…}}, with labels sorted
// by name and __address__ and those of service discovery among them.
func (b *Block) AppendJSON(dst []byte, i int) []byte {
	s, row := b.shapeOf(i), b.start(i)
	if b.narrow != nil {
		cells := b.narrow[row : row+s.width]
		for _, step := range s.program {
			dst = append(dst, b.parts.at(step.part)...)
			if step.slot != noValue {
				dst = append(dst, b.values.at(uint32(cells[step.slot]))...)
			}
		}
		return dst
	}
	cells := b.wide[row : row+s.width]
	for _, step := range s.program {
		dst = append(dst, b.parts.at(step.part)...)
		if step.slot != noValue {
			dst = append(dst, b.values.at(cells[step.slot])...)
		}
	}
	return dst
}

// size of what AppendJSON appends.
func (b *Block) size(i int) int {
	s, row := b.shapeOf(i), b.start(i)
	n := 0
	for _, step := range s.program {
		n += len(b.parts.at(step.part))
		if step.slot != noValue {
			n += len(b.values.at(b.cell(row + step.slot)))
		}
	}
	return n
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends s as the inside of a JSON string, the way encoding/json writes it without escaping for HTML: bytes that are no
// UTF-8 become U+FFFD, and U+2028 and U+2029 are escaped.
func appendEscaped(dst []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[from:i]...)
			dst = appendControl(dst, c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[from:i]...), `\ufffd`...)
			from = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, s[from:i]...), `\u202`...)
			dst = append(dst, hexDigits[r&0xf])
			from = i + size
		}
		i += size
	}
	return append(dst, s[from:]...)
}

func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}
