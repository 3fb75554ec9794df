// Package crds is what the rest of the program and the world agree on: the Go types of the API, the decoding of an
// OpenTelemetryCollector as the API server holds it, every name, label and annotation that is ever written, and the
// manifests that install it all. It is a leaf: it imports no client and none of the other packages.
package crds
