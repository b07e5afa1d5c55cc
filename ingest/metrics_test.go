package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestBeatsAreForgotten has agents come, end and be silent for days.
func TestBeatsAreForgotten(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := newBeats(func() time.Time { return now })
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(b)
	series := func() (found map[string]float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found = map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				found[name] = m.GetGauge().GetValue()
			}
		}
		return found
	}
	b.beat("v", "a", true)
	b.beat("v", "bad\xffname", false)
	now = now.Add(time.Minute)
	b.beat("v", "a", true)
	b.end("v", "bad\xffname")
	want := map[string]float64{
		"fustor_ingest_agent_heartbeat_timestamp_seconds a v": 1_000_060, "fustor_ingest_agent_heartbeat_timestamp_seconds bad\uFFFDname v": 1_000_000,
		"fustor_ingest_agent_ended_timestamp_seconds bad\uFFFDname v": 1_000_060, "fustor_ingest_leader_heartbeat_timestamp_seconds v": 1_000_060,
	}
	if got := series(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	now = now.Add(beatsFor + time.Second)
	if got := series(); len(got) != 0 || len(b.agents) != 0 || len(b.leads) != 0 {
		t.Errorf("after a day of silence: %v", got)
	}
	for i := range mostBeats + 100 {
		b.beat("v", fmt.Sprint(i), false)
		b.beat(fmt.Sprint("w", i), "a", true)
	}
	if len(b.agents) > mostBeats || len(b.leads) > mostBeats {
		t.Errorf("%d agents, %d views", len(b.agents), len(b.leads))
	}
}
