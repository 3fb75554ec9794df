package discover

import "github.com/prometheus/prometheus/config"

// Job is one scrape configuration, wherever it is from.
type Job struct {
	// Config is parsed and valid, with defaults. Its JobName is unique in a pool.
	Config *config.ScrapeConfig
	// Served is the configuration as a collector reads it, one JSON object, with its secrets in clear.
	Served []byte
	// Hash of all that matters: a job whose hash has not changed is left alone.
	Hash uint64
	// Source says where it is from: "serviceMonitor/NAMESPACE/NAME", "receivers.prometheus/NAME" or the path of a file.
	Source string
	// Weight of each of its targets; 0 stands for 1.
	Weight uint32
	// Secret is true when Served holds the value of a secret.
	Secret bool
}
