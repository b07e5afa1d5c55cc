package compactor

import (
	"bytes"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
)

// TestAgentSpeaksForItself refuses what a segment says beyond what its session can know, and ends the session. The view then goes on as
// if the segment had not been there.
func TestAgentSpeaksForItself(t *testing.T) {
	now := time.Now().UnixNano()
	put := event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: 5, Path: "/a", Entry: event.Entry{Name: "a", Type: event.File, Size: 9, MtimeNs: 5}}
	at := func(ev event.Event, observed int64) event.Event { ev.ObservedAt = observed; return ev }
	remove := event.Event{Kind: event.Delete, Evidence: event.Realtime, Path: "/f"}
	empty := event.Event{Kind: event.Listing, Evidence: event.Audit, ObservedAt: 1 << 50, Path: "/", Entry: event.Entry{Type: event.Directory, MtimeNs: 1 << 50}}
	for name, c := range map[string]struct {
		header func(*event.Header)
		event  event.Event
		says   string
	}{
		"another agent's name":         {func(h *event.Header) { h.Agent = "honest" }, put, `names agent "honest", but its session is that of "forger"`},
		"another source":               {func(h *event.Header) { h.Source = "fs://honest/data" }, put, `names the source "fs://honest/data"`},
		"a lease until 2262":           {func(h *event.Header) { h.LeaseUntil = math.MaxInt64 }, at(put, now), "led for longer than a lease lasts"},
		"a lease of two hours":         {func(h *event.Header) { h.LeaseUntil = now + int64(2*time.Hour) }, at(put, now), "led for longer than a lease lasts"},
		"a put in 2262":                {nil, at(put, math.MaxInt64), "was observed at 2262"},
		"a put in two minutes":         {nil, at(put, now+int64(2*time.Minute)), "after the segment arrived"},
		"a delete in 2262":             {nil, at(remove, math.MaxInt64), "was observed at 2262"},
		"the last term":                {func(h *event.Header) { h.Term = math.MaxUint64 }, put, "but the view's lease is in term"},
		"the term after this one":      {func(h *event.Header) { h.Term++ }, put, "but the view's lease is in term"},
		"a follower's lease":           {func(h *event.Header) { h.LeaseUntil = now + int64(time.Minute) }, at(empty, now), "which its session never was"},
		"a scan that a follower ended": {nil, event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: now, Path: "/", Mark: event.Mark{Kind: event.SnapshotEnd}}, "which its session never was"},
		"a term before all sessions":   {func(h *event.Header) { h.Term, h.LeaseUntil = 0, now }, at(empty, now), "which its session never was"},
		"(honest) a moment ahead":      {nil, at(put, now+int64(20*time.Second)), ""},
		"(honest) a lease an hour":     {func(h *event.Header) { h.LeaseUntil = now + int64(time.Hour) }, at(put, now), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			h := newHarness(t, t.TempDir(), 0, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			w := newWorld()
			honest, forger := h.enrol("honest"), h.enrol("forger")
			w.put("/f", event.Entry{Type: event.File, MtimeNs: w.tick()})
			honest.tell(w.listEvent("/", event.Snapshot))
			honest.send()
			h.once()

			var b bytes.Buffer
			header := event.Header{View: viewName, Session: forger.id, Agent: "forger", Source: "fs://forger/data", Term: forger.term, CreatedAt: 1, Nonce: "n", Local: true}
			if c.header != nil {
				c.header(&header)
			}
			writer, err := event.NewWriter(&b, header)
			if err == nil {
				err = writer.Add(&c.event)
			}
			if err == nil {
				err = writer.Close()
			}
			if err == nil {
				_, err = h.store.Create(h.ctx, layout.Segment(viewName, forger.id, 0), b.Bytes())
			}
			if err != nil {
				t.Fatal(err)
			}
			h.once()
			if broken := h.head().Sessions[forger.id].Broken; broken != (c.says != "") {
				t.Errorf("the session is broken: %v", broken)
			}
			if c.says == "" {
				return
			}
			if !bytes.Contains(log.Bytes(), []byte(c.says)) && !bytes.Contains(log.Bytes(), bytes.ReplaceAll([]byte(c.says), []byte(`"`), []byte(`\"`))) {
				t.Errorf("the log does not say %q:\n%s", c.says, log.String())
			}
			w.put("/f", event.Entry{Type: event.File, Size: 3, MtimeNs: w.tick()})
			w.put("/a", event.Entry{Type: event.File, Size: 1, MtimeNs: w.tick()})
			honest.tell(w.putEvent("/f"), w.putEvent("/a"), w.putEvent("/"))
			honest.send()
			h.once()
			compare(h, w)
			for path, row := range h.present() {
				if row.Agent == "forger" {
					t.Errorf("%s says that agent forger saw it", path)
				}
			}
		})
	}
}
