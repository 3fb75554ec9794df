package show

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// redactor replaces what is secret. The same secret is always replaced by the same number, so that one sees whether it changes.
type redactor struct {
	off     bool
	numbers map[string]int    // by secret
	known   map[string]string // what is not to be quoted, and the secret that it stands for
	quoted  []string          // the same, longest first, once learning has ended

	expressions
}

func newRedactor(off bool) *redactor {
	return &redactor{off: off, numbers: map[string]int{}, known: map[string]string{}, expressions: newExpressions()}
}

// isKey tells whether name is that of a secret, and not of what only says which Secret it is in.
func (r *redactor) isKey(name string) bool {
	return r.key.MatchString(name) && !r.secretName.MatchString(name)
}

// isVariable is isKey for environment variables.
func (r *redactor) isVariable(name string) bool {
	return r.envKey.MatchString(name) && !r.secretName.MatchString(name)
}

// hide replaces a secret, and remembers it.
func (r *redactor) hide(secret string) string {
	value := strings.TrimSpace(secret)
	if r.off || value == "" || r.placeholder.FindString(value) == value || r.isReference(value) {
		return secret
	}
	n, ok := r.numbers[value]
	if !ok {
		n = len(r.numbers) + 1
		r.numbers[value] = n
	}
	r.know(value)
	return placeholder(n)
}

// know has mention replace the secret wherever it is quoted, and so the secrets in it: that of Bearer abc, of a=b,password=abc, and the
// lines of a key.
func (r *redactor) know(value string) {
	r.knowWord(value, value)
	if q := strconv.Quote(value); q[1:len(q)-1] != value {
		r.knowWord(q[1:len(q)-1], value)
	}
	if _, credentials, ok := strings.Cut(value, " "); ok && r.scheme.MatchString(strings.TrimSuffix(value, credentials)) {
		r.know(credentials)
	}
	for _, re := range r.patterns() {
		for _, m := range re.FindAllStringSubmatch(value, -1) {
			r.knowWord(m[2], m[2])
		}
	}
	const leastLine = 8
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); line != value && len(line) >= leastLine {
			r.knowWord(line, line)
		}
	}
}

// knowWord leaves out what is so short or common that it is also found where it is not meant.
func (r *redactor) knowWord(word, secret string) {
	const least, leastDigits = 6, 8
	if len(word) < least || r.key.FindString(word) == word || strings.Trim(word, "0123456789") == "" && len(word) < leastDigits {
		return
	}
	r.known[word] = secret
}

// knowEncoded is know for values that are in base64.
func (r *redactor) knowEncoded(value string) {
	if data, err := base64.StdEncoding.DecodeString(value); err == nil && !r.off {
		r.know(strings.TrimSpace(string(data)))
	}
}

// learned ends the first reading.
func (r *redactor) learned() {
	r.quoted = slices.SortedFunc(maps.Keys(r.known), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
}

// isReference tells whether s has no secret in it, but only says where it is, such as Bearer ${env:TOKEN}. The default of a reference
// may be a secret, so ${env:TOKEN:-abc} is none.
func (r *redactor) isReference(s string) bool {
	return r.reference.MatchString(s) && r.scheme.MatchString(r.reference.ReplaceAllString(s, ""))
}

// message redacts what is quoted in running text.
func (r *redactor) message(s string) string { return r.mention(r.inline(s)) }

// inline redacts what looks like a secret by what is around it.
func (r *redactor) inline(s string) string {
	if r.off {
		return s
	}
	for _, re := range r.patterns() {
		s = r.second(re, s)
	}
	return s
}

// second hides what the second group of re matches, unless something in it is hidden already.
func (r *redactor) second(re *regexp.Regexp, s string) string {
	matches := re.FindAllStringSubmatchIndex(s, -1)
	for _, m := range slices.Backward(matches) {
		from, to := m[4], m[5]
		value := strings.Trim(s[from:to], `"'`)
		if value == "" || value[0] == '=' || strings.Contains(value, "‹redacted") {
			continue // nothing, the second half of ==, or done
		}
		s = s[:from] + strings.Replace(s[from:to], value, r.hide(value), 1) + s[to:]
	}
	return s
}

// mention replaces known secrets in s. Short ones have to be words of their own.
func (r *redactor) mention(s string) string {
	const anywhere = 12
	for _, secret := range r.quoted {
		if !strings.Contains(s, secret) {
			continue
		}
		s = r.outside(s, func(s string) string {
			var b strings.Builder
			for {
				i := strings.Index(s, secret)
				if i < 0 {
					break
				}
				end := i + len(secret)
				if len(secret) < anywhere && (i > 0 && wordByte(s[i-1]) || end < len(s) && wordByte(s[end])) {
					b.WriteString(s[:end])
				} else {
					b.WriteString(s[:i] + r.hide(r.known[secret]))
				}
				s = s[end:]
			}
			return b.String() + s
		})
	}
	return s
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// outside maps what is not a placeholder.
func (r *redactor) outside(s string, f func(string) string) string {
	var b strings.Builder
	at := 0
	for _, m := range r.placeholder.FindAllStringIndex(s, -1) {
		b.WriteString(f(s[at:m[0]]) + s[m[0]:m[1]])
		at = m[1]
	}
	b.WriteString(f(s[at:]))
	return b.String()
}

// numbering numbers placeholders in the order in which they are printed.
type numbering struct {
	*redactor
	printed map[string]string // by the placeholder of the redactor
}

func newNumbering(r *redactor) *numbering { return &numbering{r, map[string]string{}} }

func (n *numbering) inOrder(text string) string {
	if n.off {
		return text
	}
	return n.placeholder.ReplaceAllStringFunc(text, func(s string) string {
		if n.printed[s] == "" {
			n.printed[s] = placeholder(len(n.printed) + 1)
		}
		return n.printed[s]
	})
}

func placeholder(number int) string { return fmt.Sprintf("‹redacted #%d›", number) }
