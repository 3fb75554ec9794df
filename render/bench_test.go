package render

import (
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/crds"
)

// BenchmarkCollector is the pure part of a pass: decoding a collector and rendering it.
func BenchmarkCollector(b *testing.B) {
	for _, example := range []string{"statefulset", "deployment", "daemonset"} {
		b.Run(example, func(b *testing.B) {
			data, err := os.ReadFile("../examples/" + example + ".yaml")
			if err != nil {
				b.Fatal(err)
			}
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(data, &u.Object); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				c, err := crds.Decode(u)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Collector(c, Options{Image: "example.com/collector:1"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
