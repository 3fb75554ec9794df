// Package file reads targetallocator.yaml, the configuration file of the OpenTelemetry Operator's target allocator
// (github.com/open-telemetry/opentelemetry-operator, cmd/otel-allocator/config), with its environment variables and flags.
//
// A field that is not known is a warning, and a value that is not understood an error that names the field and what it may be. Beyond the
// original there is allocation_strategy_config, with the rules of allocation that the original has no fields for.
package file
