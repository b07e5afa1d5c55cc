package ingest

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/internal/session"
)

// metrics are the counters of the pipe side beside those of its requests.
type metrics struct {
	created, renewals, segments, segmentBytes prometheus.Counter
	beats                                     *beats
}

func newMetrics(registry prometheus.Registerer, now func() time.Time) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "fustor_ingest_" + name, Help: help})
	}
	m := &metrics{
		created:      counter("sessions_created_total", "Sessions created."),
		renewals:     counter("lease_renewals_total", "Leases taken or renewed."),
		segments:     counter("segments_total", "Segments stored through this process."),
		segmentBytes: counter("segment_bytes_total", "Bytes of segments stored through this process."),
		beats:        newBeats(now),
	}
	return m, errors.Join(registry.Register(m.created), registry.Register(m.renewals), registry.Register(m.segments), registry.Register(m.segmentBytes), registry.Register(m.beats))
}

// beat counts a heartbeat of a session that lives.
func (m *metrics) beat(s session.State) {
	if s.Renewed {
		m.renewals.Inc()
	}
	m.beats.beat(s.Record.View, s.Record.Agent, s.Leads)
}

const (
	beatsFor  = 24 * time.Hour // how long an agent is shown that is not heard of any more
	mostBeats = 10_000         // of views and agents shown
)

// beats know when this process last heard of each agent. Names of agents come from outside, so their number is bounded. One that ends
// its session says so perhaps to another process; whoever compares takes the newest of both times over all processes.
type beats struct {
	now func() time.Time

	mu     sync.Mutex
	agents map[agentOfView]lastOf
	leads  map[string]time.Time // by view
}

type agentOfView struct{ view, agent string }

// lastOf is when an agent was last heard of.
type lastOf struct{ beat, ended time.Time }

func newBeats(now func() time.Time) *beats {
	return &beats{now: now, agents: map[agentOfView]lastOf{}, leads: map[string]time.Time{}}
}

func (b *beats) beat(view, agent string, leads bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change(view, agent, func(h *lastOf) { h.beat = b.now() })
	if _, known := b.leads[view]; leads && (known || len(b.leads) < mostBeats) {
		b.leads[view] = b.now()
	}
}

// end notes that an agent ended its session by itself.
func (b *beats) end(view, agent string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change(view, agent, func(h *lastOf) { h.ended = b.now() })
}

// change changes what is known of an agent. The lock is held.
func (b *beats) change(view, agent string, f func(*lastOf)) {
	key := agentOfView{view, strings.ToValidUTF8(agent, "\uFFFD")}
	h, known := b.agents[key]
	if !known && len(b.agents) >= mostBeats {
		return
	}
	f(&h)
	b.agents[key] = h
}

var (
	agentBeat = prometheus.NewDesc("fustor_ingest_agent_heartbeat_timestamp_seconds", "When this process last had a heartbeat of the agent; forgotten after a day.",
		[]string{"view", "agent"}, nil)
	agentEnded = prometheus.NewDesc("fustor_ingest_agent_ended_timestamp_seconds", "When the agent last ended a session through this process, as when it is stopped.",
		[]string{"view", "agent"}, nil)
	leaderBeat = prometheus.NewDesc("fustor_ingest_leader_heartbeat_timestamp_seconds", "When this process last had a heartbeat of the view's leader; forgotten after a day.",
		[]string{"view"}, nil)
)

// Describe implements prometheus.Collector.
func (b *beats) Describe(out chan<- *prometheus.Desc) {
	out <- agentBeat
	out <- agentEnded
	out <- leaderBeat
}

// Collect implements prometheus.Collector.
func (b *beats) Collect(out chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := b.now().Add(-beatsFor)
	show := func(d *prometheus.Desc, at time.Time, labels ...string) {
		if at.After(oldest) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(at.UnixNano())/1e9, labels...)
		}
	}
	for key, h := range b.agents {
		if h.beat.Before(oldest) && h.ended.Before(oldest) {
			delete(b.agents, key)
		}
		show(agentBeat, h.beat, key.view, key.agent)
		show(agentEnded, h.ended, key.view, key.agent)
	}
	for view, at := range b.leads {
		if at.Before(oldest) {
			delete(b.leads, view)
		}
		show(leaderBeat, at, view)
	}
}
