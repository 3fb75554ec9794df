// Package manifest reads and writes Kubernetes objects as YAML.
package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Object is an object and where it was found, such as "gateway.yaml, document 2".
type Object struct {
	*unstructured.Unstructured
	Source string
}

// Read reads all objects of the source: a file, "-" for stdin, or a directory, whose .yaml, .yml and .json files are read in
// the order of their paths. Lists are taken apart. Empty documents are skipped; a repeated key is an error.
func Read(source string, stdin io.Reader) ([]Object, error) {
	if source == "-" {
		return parse("stdin", stdin)
	}
	info, err := os.Stat(source)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	if !info.IsDir() {
		return readFile(source)
	}
	var out []Object
	root := source + string(filepath.Separator) // so that a link to a directory is followed
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			return err
		}
		objects, err := readFile(path)
		out = append(out, objects...)
		return err
	})
	return out, err
}

func readFile(path string) ([]Object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	return parse(path, f)
}

// Parse reads all objects of a YAML stream; name is what errors call it.
func Parse(name string, data []byte) ([]Object, error) { return parse(name, bytes.NewReader(data)) }

func parse(name string, r io.Reader) ([]Object, error) {
	var out []Object
	docs := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		source := fmt.Sprintf("%s, document %d", name, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		objects, err := decode(doc, source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		out = append(out, objects...)
	}
}

var errUntyped = errors.New("not a Kubernetes object: apiVersion or kind is missing")

func decode(doc []byte, source string) ([]Object, error) {
	data, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return nil, errors.New("not YAML: " + oneLine(err))
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil, nil
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &u.Object); err != nil { // numbers become int64 or float64, as from the API server
		return nil, errors.New("not a Kubernetes object: want a mapping with apiVersion and kind")
	}
	if u.GetKind() == "" || u.GetAPIVersion() == "" {
		return nil, errUntyped
	}
	items, ok := u.Object["items"].([]any)
	if !ok {
		return []Object{{u, source}}, nil
	}
	out := make([]Object, len(items))
	for i, item := range items {
		object, _ := item.(map[string]any)
		out[i] = Object{&unstructured.Unstructured{Object: object}, source}
		if out[i].GetKind() == "" || out[i].GetAPIVersion() == "" {
			return nil, fmt.Errorf("item %d of the list: %w", i+1, errUntyped)
		}
	}
	return out, nil
}

// oneLine is the library's message without its own name and line breaks.
func oneLine(err error) string {
	s := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "yaml: "), "unmarshal errors:")
	return strings.Join(strings.Fields(s), " ")
}

// Write prints objects as a YAML stream.
func Write(w io.Writer, objects []*unstructured.Unstructured) error {
	for _, u := range objects {
		data, err := yaml.Marshal(u.Object)
		if err != nil {
			return fmt.Errorf("%s %s: print: %w", u.GetKind(), u.GetName(), err)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", data); err != nil {
			return err
		}
	}
	return nil
}
