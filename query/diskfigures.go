package query

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/diskcache"
)

// diskFigures are metrics of the cache on disk; a server without one shows nothing but zeros.
type diskFigures struct{ disk *diskcache.Cache }

var (
	diskBytes  = prometheus.NewDesc("fustor_query_disk_cache_bytes", "Bytes that the cache on disk holds.", nil, nil)
	diskHits   = prometheus.NewDesc("fustor_query_disk_cache_hits_total", "Parts of layers that the cache on disk had when they were asked for.", nil, nil)
	diskMisses = prometheus.NewDesc("fustor_query_disk_cache_misses_total", "Parts of layers that it lacked, and that were read from the store.", nil, nil)
)

// Describe implements prometheus.Collector.
func (d diskFigures) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, out) }

// Collect implements prometheus.Collector.
func (d diskFigures) Collect(out chan<- prometheus.Metric) {
	f := d.disk.Figures()
	out <- prometheus.MustNewConstMetric(diskBytes, prometheus.GaugeValue, float64(f.Bytes))
	out <- prometheus.MustNewConstMetric(diskHits, prometheus.CounterValue, float64(f.Hits))
	out <- prometheus.MustNewConstMetric(diskMisses, prometheus.CounterValue, float64(f.Misses))
}
