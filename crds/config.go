package crds

// Config is the collector's configuration as the user wrote it.
type Config struct {
	// Text is the configuration as one YAML document; it marks the v1alpha1 dialect.
	Text string
	// Tree is the configuration as a structure: the JSON types of the API machinery (int64 and float64 for numbers).
	Tree map[string]any
	// IsText tells which of the two it is.
	IsText bool
}
