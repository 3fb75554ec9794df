package render

import "strings"

// An endpoint is what a component listens on unless its configuration says otherwise. The defaults are the incumbent's
// (its internal/components), so that the same configuration opens the same ports.
type endpoint struct {
	protocol    string // key under protocols; empty where a component has a single endpoint
	port        int32  // 0 when there is no default
	udp         bool
	appProtocol string
}

const (
	anyAddress   = "0.0.0.0"
	metricsPort  = 8888
	healthPort   = 13133
	appGRPC      = "grpc"
	appHTTP      = "http"
	typeHealth   = "healthcheck"
	typeKubelet  = "kubeletstats"
	typeProm     = "prometheus"
	typeJaegerUI = "jaegerquery"
)

// componentType is the type in a component's ID ("otlp/internal" is an otlp). Collectors have begun to spell types with
// underscores that they spelt without ("k8s_attributes", "k8sattributes"): here both are the latter.
func componentType(id string) string {
	t, _, _ := strings.Cut(id, "/")
	return strings.ReplaceAll(t, "_", "")
}

// receiverEndpoints are the endpoints of a type of receiver; known is false for types that are not listed.
func receiverEndpoints(componentType string) (endpoints []endpoint, known bool) {
	single := func(port int32) ([]endpoint, bool) { return []endpoint{{port: port}}, true }
	switch componentType {
	case "otlp":
		return []endpoint{
			{protocol: "grpc", port: 4317, appProtocol: appGRPC},
			{protocol: "http", port: 4318, appProtocol: appHTTP},
		}, true
	case "skywalking":
		return []endpoint{
			{protocol: "grpc", port: 11800, appProtocol: appGRPC},
			{protocol: "http", port: 12800, appProtocol: appHTTP},
		}, true
	case "jaeger":
		return []endpoint{
			{protocol: "grpc", port: 14250, appProtocol: appGRPC},
			{protocol: "thrift_http", port: 14268, appProtocol: appHTTP},
			{protocol: "thrift_compact", port: 6831, udp: true},
			{protocol: "thrift_binary", port: 6832, udp: true},
		}, true
	case "loki":
		return []endpoint{
			{protocol: "grpc", port: 9095, appProtocol: appGRPC},
			{protocol: "http", port: 3100, appProtocol: appHTTP},
		}, true
	case "awsxray":
		return []endpoint{{port: 2000, udp: true}}, true
	case "statsd":
		return []endpoint{{port: 8125, udp: true}}, true
	case "zipkin":
		return []endpoint{{port: 9411, appProtocol: appHTTP}}, true
	case "carbon", "wavefront":
		return single(2003)
	case "collectd":
		return single(8081)
	case "fluentforward":
		return single(8006)
	case "influxdb":
		return single(8086)
	case "sapm":
		return single(7276)
	case "signalfx":
		return single(9943)
	case "splunkhec":
		return single(8088)
	case "tcplog":
		return single(0)
	case "udplog":
		return []endpoint{{udp: true}}, true
	}
	return nil, isScraper(componentType)
}

// isScraper tells whether a type of receiver fetches what it receives: its endpoint, if it has one, is somebody else's.
func isScraper(componentType string) bool {
	switch componentType {
	case "sshcheck", "cloudfoundry", "vcenter", "oracledb", "snmp", "googlecloudpubsub", "chrony", "jmx", "podmanstats",
		"pulsar", "dockerstats", "aerospike", "zookeeper", "prometheussimple", "saphana", "riak", "redis", "rabbitmq",
		"purefa", "purefb", "postgresql", "nsxt", "nginx", "mysql", "memcached", "httpcheck", "haproxy", "flinkmetrics",
		"couchdb", "filelog", "apache", "elasticsearch", "expvar", "kafka", "kafkametrics", "mongodb", "sqlserver",
		"hostmetrics", typeKubelet, "k8scluster", "k8sevents", "k8sobjects", "journald":
		return true
	}
	return false
}
