package ingest

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// clockSetter sets its host's clock forward while a session's segments are listed, which is the last that ingest asks before it writes one.
type clockSetter struct {
	store.Store
	set func()
}

func (s *clockSetter) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	return s.Store.GetUpTo(ctx, key, most)
}

func (s *clockSetter) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	p, err := s.Store.List(ctx, prefix, after, limit)
	s.set()
	return p, err
}

// TestSegmentsOfV2WhenTheClockIsSet: a segment that ingest makes of V2's rows has the store's time, also if the clock of ingest's host is
// set just before, so that nothing that the store has said is later. Compactors refuse a segment of the future and end its session.
func TestSegmentsOfV2WhenTheClockIsSet(t *testing.T) {
	f := newFixture(t, 0)
	var ahead time.Duration
	setter := &clockSetter{Store: f.store, set: func() { ahead = time.Hour }}
	f.ingests = append(f.ingests, f.newIngest(setter, func() time.Time { return f.clock.Now().Add(ahead) }))
	status, created := f.askV2(agentKey, "POST", "/v2/api/v1/pipe/session/", `{"task_id":"host:pipe","source_type":"fs","client_info":{"source_uri":null}}`)
	if status != 200 {
		t.Fatalf("a session: %d %s", status, created)
	}
	id := strings.Split(created[strings.Index(created, `"session_id":"`)+14:], `"`)[0]
	ahead = 0
	body := `{"session_id":"` + id + `","events":[{"event_type":"insert","rows":[{"file_path":"/a","size":1,"modified_time":1.5}]}],"source_type":"message"}`
	if status, answer := f.askV2(agentKey, "POST", "/v2/api/v1/pipe/ingest/"+id+"/events", body); status != 200 {
		t.Fatalf("events: %d %s", status, answer)
	}
	if ahead == 0 {
		t.Fatal("the clock was not set: the test has to ask differently")
	}
	o, err := f.store.Get(t.Context(), layout.Segment(view, id, 0))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := event.NewReader("segment", bytes.NewReader(o.Body), event.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Unix(0, reader.Header().CreatedAt).Sub(f.clock.Now()); off.Abs() > time.Minute {
		t.Errorf("the segment is %v ahead of the store", off)
	}
}
