package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/store"
)

// Metrics count the requests of one part of Fustor. All methods work on nil.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    prometheus.Counter
	inFlight prometheus.Gauge
}

// NewMetrics registers request metrics; part ("ingest", "query") keeps several parts of one process apart.
func NewMetrics(registry prometheus.Registerer, part string) (*Metrics, error) {
	labels := prometheus.Labels{"part": part}
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fustor_http_requests_total",
			Help: "HTTP requests answered.", ConstLabels: labels}, []string{"method", "route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "fustor_http_request_seconds",
			Help: "Time from a request's head to the end of its answer; long polls and feeds, which wait for news, are left out.", ConstLabels: labels,
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"route"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "fustor_http_response_bytes_total",
			Help: "Bytes of answers' bodies.", ConstLabels: labels}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fustor_http_requests_in_flight",
			Help: "HTTP requests being answered.", ConstLabels: labels}),
	}
	err := errors.Join(registry.Register(m.requests), registry.Register(m.seconds), registry.Register(m.bytes), registry.Register(m.inFlight))
	return m, err
}

func (m *Metrics) begin() {
	if m != nil {
		m.inFlight.Inc()
	}
}

func (m *Metrics) end(r *http.Request, answer *recorder, took time.Duration) {
	if m == nil {
		return
	}
	m.inFlight.Dec()
	m.bytes.Add(float64(answer.bytes))
	route := routeOf(r)
	m.requests.WithLabelValues(methodName(r.Method), route, strconv.Itoa(answer.code())).Inc()
	if !answer.waits {
		m.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
}

// routeOf is the route's pattern, so that the number of series does not grow with what clients ask.
func routeOf(r *http.Request) string {
	_, route, found := strings.Cut(r.Pattern, " ")
	if !found {
		route = r.Pattern
	}
	route = strings.TrimSuffix(route, "{$}")
	if route == "" {
		return "none"
	}
	if len(route) > 1 {
		route = strings.TrimSuffix(route, "/")
	}
	return route
}

// RegisterStoreCounts shows what a part has asked of the store, by kind of request, as stores bill it.
func RegisterStoreCounts(registry prometheus.Registerer, part string, counted *store.Counted) error {
	return registry.Register(storeCounts{counted, part})
}

type storeCounts struct {
	counted *store.Counted
	part    string
}

// Describe implements prometheus.Collector; the parts' series differ only in their labels.
func (s storeCounts) Describe(out chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(s, out)
}

// Collect implements prometheus.Collector.
func (s storeCounts) Collect(out chan<- prometheus.Metric) {
	c := s.counted.Counts()
	labels := prometheus.Labels{"part": s.part}
	requests := prometheus.NewDesc("fustor_store_requests_total", "Requests to the object store.", []string{"kind"}, labels)
	for kind, n := range map[string]uint64{"get": c.Get, "put": c.Put, "list": c.List, "delete": c.Delete} {
		out <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(n), kind)
	}
	bytes := prometheus.NewDesc("fustor_store_bytes_total", "Bytes of objects, to and from the object store.", []string{"direction"}, labels)
	out <- prometheus.MustNewConstMetric(bytes, prometheus.CounterValue, float64(c.BytesIn), "read")
	out <- prometheus.MustNewConstMetric(bytes, prometheus.CounterValue, float64(c.BytesOut), "written")
}
