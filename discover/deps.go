package discover

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/assets"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/client/informers/externalversions"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
)
