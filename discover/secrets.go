package discover

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	commonconfig "github.com/prometheus/common/config"
)

// secret is a value that Prometheus prints as a placeholder, and where: keys of mappings and indexes of lists.
//
// Prometheus has a switch to print them in clear, but that is a global variable of the process, read without a lock while anything is
// rendered. So they are looked up beside what is rendered.
type secret struct {
	path  []string
	value string
}

func (s secret) String() string { return strings.Join(s.path, ".") }

// secretsOf finds what may be a credential: all that Prometheus marks with the type config.Secret, URLs with userinfo (a token is often
// a user without a password), and of what it prints in clear the values of http_headers and the endpoint_params and the token_url of
// oauth2. The params of a scrape config are not among them: they are part of the URL of a target, which is shown everywhere.
func secretsOf(v any) []secret {
	var found []secret
	walkSecrets(reflect.ValueOf(v), nil, func(path []string, value string) {
		found = append(found, secret{path: slices.Clone(path), value: value})
	})
	slices.SortFunc(found, func(a, b secret) int { return slices.Compare(a.path, b.path) })
	return found
}

func walkSecrets(v reflect.Value, path []string, found func([]string, string)) {
	if !v.IsValid() {
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[commonconfig.Secret]():
		if s := v.String(); s != "" {
			found(path, s)
		}
		return
	case v.Type() == reflect.TypeFor[commonconfig.URL]():
		u, _ := reflect.TypeAssert[commonconfig.URL](v)
		if u.URL == nil {
			return
		}
		if u.User != nil {
			found(path, u.String())
		}
		return
	case v.Type() == reflect.TypeFor[commonconfig.Header]():
		h, _ := reflect.TypeAssert[commonconfig.Header](v)
		for i, value := range h.Values {
			found(append(path, "values", strconv.Itoa(i)), value)
		}
	case v.Type() == reflect.TypeFor[commonconfig.OAuth2]():
		o, _ := reflect.TypeAssert[commonconfig.OAuth2](v)
		if strings.Contains(o.TokenURL, "@") {
			found(append(path, "token_url"), o.TokenURL)
		}
		for name, value := range o.EndpointParams {
			found(append(path, "endpoint_params", name), value)
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		walkSecrets(v.Elem(), path, found)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walkSecrets(v.Index(i), append(path, strconv.Itoa(i)), found)
		}
	case reflect.Map:
		walkMap(v, path, found)
	case reflect.Struct:
		for i := range v.NumField() {
			walkField(v.Type().Field(i), v.Field(i), path, found)
		}
	default:
	}
}

func walkMap(v reflect.Value, path []string, found func([]string, string)) {
	if v.Type().Key().Kind() != reflect.String {
		return
	}
	for it := v.MapRange(); it.Next(); {
		walkSecrets(it.Value(), append(path, it.Key().String()), found)
	}
}

func walkField(f reflect.StructField, v reflect.Value, path []string, found func([]string, string)) {
	if !f.IsExported() {
		return
	}
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch {
	case name == "-":
	case strings.Contains(options, "inline"):
		walkSecrets(v, path, found)
	case name == "":
		walkSecrets(v, append(path, strings.ToLower(f.Name)), found)
	default:
		walkSecrets(v, append(path, name), found)
	}
}

// put sets the value at path, where there has to be one.
func put(tree any, path []string, value string) error {
	for i, key := range path {
		last := i == len(path)-1
		switch node := tree.(type) {
		case map[string]any:
			if _, ok := node[key]; !ok {
				return fmt.Errorf("nothing is rendered at %q", key)
			}
			if last {
				node[key] = value
				return nil
			}
			tree = node[key]
		case []any:
			n, err := strconv.Atoi(key)
			if err != nil || n < 0 || n >= len(node) {
				return fmt.Errorf("nothing is rendered at %q", key)
			}
			if last {
				node[n] = value
				return nil
			}
			tree = node[n]
		default:
			return fmt.Errorf("nothing is rendered below %q", key)
		}
	}
	return errors.New("empty path")
}

// stringKeys makes what yaml has read into what json can write.
func stringKeys(tree any) any {
	switch v := tree.(type) {
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[fmt.Sprint(k)] = stringKeys(e)
		}
		return out
	case []any:
		for i, e := range v {
			v[i] = stringKeys(e)
		}
	}
	return tree
}

// escapeForYAML writes those characters as \uXXXX that JSON may hold as they are and YAML may not, as the collector reads JSON with a
// parser of YAML. See https://yaml.org/spec/1.2.2/#51-character-set.
func escapeForYAML(doc []byte) []byte {
	plain := true
	for _, r := range string(doc) {
		if forbidden(r) {
			plain = false
			break
		}
	}
	if plain {
		return doc
	}
	out := make([]byte, 0, len(doc)+16)
	for _, r := range string(doc) {
		if forbidden(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func forbidden(r rune) bool {
	switch {
	case r == 0x7f, r >= 0x80 && r <= 0x9f, r == 0xfeff, r == 0xfffe, r == 0xffff, r == 0x2028, r == 0x2029:
		return true
	default:
		return false
	}
}
