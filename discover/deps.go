package discover

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/assets"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/client/informers/externalversions"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	_ "github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
	_ "github.com/prometheus/prometheus/scrape"
)
