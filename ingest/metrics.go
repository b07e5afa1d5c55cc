package ingest

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/session"
)

// metrics are the counters of the pipe side beside those of its requests.
type metrics struct {
	created, renewals, segments, segmentBytes prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "fustor_ingest_" + name, Help: help})
	}
	m := &metrics{
		created:      counter("sessions_created_total", "Sessions created."),
		renewals:     counter("lease_renewals_total", "Leases taken or renewed."),
		segments:     counter("segments_total", "Segments stored through this process."),
		segmentBytes: counter("segment_bytes_total", "Bytes of segments stored through this process."),
	}
	return m, errors.Join(registry.Register(m.created), registry.Register(m.renewals), registry.Register(m.segments), registry.Register(m.segmentBytes))
}

func (m *metrics) lead(s session.State) {
	if s.Renewed {
		m.renewals.Inc()
	}
}
