//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/lambdatest"
)

const ours = "fustor-data" // the bucket's name in messages

// compactionTest is a compactor's function on a directory, as the events see it.
type compactionTest struct {
	t *testing.T
	*compaction
	st  store.Store
	log bytes.Buffer
	seq map[string]uint64
}

func newCompaction(t *testing.T, prefix string) *compactionTest {
	t.Helper()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := compactor.New(compactor.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	x := &compactionTest{t: t, st: st, seq: map[string]uint64{}}
	x.compaction = &compaction{compactor: c, store: st, fit: true, bucket: ours, prefix: prefix, log: newLogger(&x.log)}
	return x
}

// segment writes the next segment of a session of a view and returns its key in the bucket.
func (x *compactionTest) segment(view, id string) string {
	x.t.Helper()
	seq := x.seq[view+id]
	x.seq[view+id]++
	if seq == 0 {
		roster, err := json.Marshal(session.Roster{Sessions: map[string]session.RosterEntry{id: {Agent: "a"}}})
		if err != nil {
			x.t.Fatal(err)
		}
		if _, err := x.st.Put(x.t.Context(), layout.Roster(view), roster); err != nil {
			x.t.Fatal(err)
		}
	}
	body := segmentOf(x.t, view, id, seq, fmt.Sprintf("file-%d", seq))
	if _, err := x.st.Create(x.t.Context(), layout.Segment(view, id, seq), body); err != nil {
		x.t.Fatal(err)
	}
	return strings.TrimPrefix(x.prefix+"/"+layout.Segment(view, id, seq), "/")
}

// folded is how many segments of a view are in its current version.
func (x *compactionTest) folded(view string) uint64 {
	x.t.Helper()
	m, _, err := manifest.Load(x.t.Context(), x.st, view)
	if err == manifest.ErrNoHead {
		return 0
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return m.Counted.Segments
}

// deliver invokes the function with messages of these bodies, m0, m1 and so on, and returns those that are to come again.
func (x *compactionTest) deliver(ctx context.Context, bodies ...string) []string {
	x.t.Helper()
	batch := make([]lambdatest.Message, len(bodies))
	for i, b := range bodies {
		batch[i] = lambdatest.Message{ID: fmt.Sprintf("m%d", i), Body: b}
	}
	payload, err := lambdatest.SQSEvent(batch)
	if err != nil {
		x.t.Fatal(err)
	}
	out, err := x.handle(ctx, payload)
	if err != nil {
		x.t.Fatal(err)
	}
	text, err := json.Marshal(out)
	if err != nil {
		x.t.Fatal(err)
	}
	var answer struct {
		Failures *[]struct {
			ID string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	// A null here would be "all failed" to Lambda.
	if err := json.Unmarshal(text, &answer); err != nil || answer.Failures == nil {
		x.t.Fatalf("answer %s, %v", text, err)
	}
	ids := []string{}
	for _, f := range *answer.Failures {
		ids = append(ids, f.ID)
	}
	slices.Sort(ids)
	return ids
}

// TestMessages: what S3 sends through SQS folds the views that it is about; what is not understood comes again, and what
// is about something else does nothing.
func TestMessages(t *testing.T) {
	for _, prefix := range []string{"", "team a/füstor"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			x := newCompaction(t, prefix)
			one, two, other := x.segment("one", "s1"), x.segment("one", "s1"), x.segment("two", "s@2:x")
			created := lambdatest.S3Created(ours, one)
			again := x.deliver(t.Context(),
				lambdatest.S3Test(ours), created, created, // doubled
				lambdatest.S3Created(ours, two),
				"no JSON", `{"Records":[]}`, `{"Records":[{"eventSource":"aws:sns"}]}`, `[]`, // m4 to m7
				lambdatest.S3Created(ours, strings.Replace(one, "segments", "layers", 1)),
				lambdatest.S3Created(ours, "elsewhere/"+other),
				lambdatest.S3Created("another-bucket", other),
				strings.Replace(lambdatest.S3Created(ours, other), "ObjectCreated:Put", "ObjectRemoved:Delete", 1),
				lambdatest.S3Created(ours, strings.Replace(other, "two", "TWO", 1)),
			)
			if want := []string{"m4", "m5", "m6", "m7"}; !slices.Equal(again, want) {
				t.Errorf("to come again: %v, want %v", again, want)
			}
			if a, b := x.folded("one"), x.folded("two"); a != 2 || b != 0 {
				t.Errorf("folded %d of view one and %d of view two", a, b)
			}
			if n := strings.Count(x.log.String(), "unknown message"); n != 4 {
				t.Errorf("%d messages are said not to be understood:\n%s", n, x.log.String())
			}
			if again := x.deliver(t.Context(), lambdatest.S3Created(ours, other), created); len(again) != 0 || x.folded("two") != 1 || x.folded("one") != 2 {
				t.Errorf("late and doubled: %v again, folded %d and %d", again, x.folded("two"), x.folded("one"))
			}
		})
	}
}

// TestOneViewFails: its messages come again, those of others do not, and the schedule says which view failed.
func TestOneViewFails(t *testing.T) {
	x := newCompaction(t, "")
	good, bad := x.segment("good", "s1"), x.segment("bad", "s1")
	if _, err := x.st.Put(t.Context(), layout.Head("bad"), []byte("no manifest")); err != nil {
		t.Fatal(err)
	}
	again := x.deliver(t.Context(), lambdatest.S3Created(ours, bad), lambdatest.S3Created(ours, good), lambdatest.S3Created(ours, bad))
	if want := []string{"m0", "m2"}; !slices.Equal(again, want) || x.folded("good") != 1 {
		t.Errorf("to come again: %v, want %v; folded %d", again, want, x.folded("good"))
	}
	x.segment("good", "s1")
	_, err := x.handle(t.Context(), lambdatest.ScheduledEvent())
	if err == nil || !strings.Contains(err.Error(), "views failed: bad") || x.folded("good") != 2 {
		t.Errorf("the schedule: %v; folded %d", err, x.folded("good"))
	}
	if !strings.Contains(x.log.String(), `"view":"bad"`) {
		t.Errorf("the log does not say why: %s", x.log.String())
	}
}

// TestScheduleHeals: segments of which every message was lost are folded by the next tick.
func TestScheduleHeals(t *testing.T) {
	x := newCompaction(t, "")
	for _, view := range []string{"one", "two", "three"} {
		for range 3 {
			x.segment(view, "s1")
		}
	}
	for range 2 {
		if _, err := x.handle(t.Context(), lambdatest.ScheduledEvent()); err != nil {
			t.Fatal(err)
		}
		for _, view := range []string{"one", "two", "three"} {
			if n := x.folded(view); n != 3 {
				t.Errorf("view %s: %d folded", view, n)
			}
		}
	}
}

// TestNoTime: an invocation whose time is over begins nothing, and its messages come again.
func TestNoTime(t *testing.T) {
	x := newCompaction(t, "")
	key := x.segment("one", "s1")
	ctx, cancel := context.WithTimeout(t.Context(), commitMargin+500*time.Millisecond)
	defer cancel()
	if again := x.deliver(ctx, lambdatest.S3Created(ours, key)); !slices.Equal(again, []string{"m0"}) || x.folded("one") != 0 {
		t.Errorf("to come again: %v; folded %d", again, x.folded("one"))
	}
	if again := x.deliver(t.Context(), lambdatest.S3Created(ours, key)); len(again) != 0 || x.folded("one") != 1 {
		t.Errorf("the next time, to come again: %v; folded %d", again, x.folded("one"))
	}
}

// TestAWSExamples: events as AWS's documentation has them are understood.
func TestAWSExamples(t *testing.T) {
	x := newCompaction(t, "")
	views, err := x.viewsOf(lambdatest.S3Created(ours, "views/my-view_1/segments/01J@a:b/00000000000000000007.zst"))
	if err != nil || !slices.Equal(views, []string{"my-view_1"}) {
		t.Errorf("views %v, %v", views, err)
	}
	views, err = x.viewsOf(lambdatest.S3Created(ours, layout.MoreMerges("my-view_1")))
	if err != nil || !slices.Equal(views, []string{"my-view_1"}) {
		t.Errorf("of a call for others to merge: views %v, %v", views, err)
	}
	for _, key := range []string{layout.MergeClaim("my-view_1", "base"), "views/../merging/more", "merging/more", "other/my-view_1/merging/more"} {
		if views, err = x.viewsOf(lambdatest.S3Created(ours, key)); err != nil || len(views) != 0 {
			t.Errorf("of %s: views %v, %v", key, views, err)
		}
	}
	if _, err := x.handle(t.Context(), json.RawMessage(`{"hello":"world"}`)); err == nil || !strings.Contains(err.Error(), "neither an SQS message") {
		t.Errorf("an event of something else: %v", err)
	}
	const scheduler = `{"version":"0","id":"d87d8e32","detail-type":"Scheduled Event","source":"aws.scheduler","account":"123456789012",` +
		`"time":"2022-11-23T21:19:10Z","region":"us-east-1","resources":["arn:aws:scheduler:us-east-1:123456789012:schedule/default/tick"],"detail":"{}"}`
	if _, err := x.handle(t.Context(), json.RawMessage(scheduler)); err != nil {
		t.Errorf("a tick of EventBridge Scheduler: %v", err)
	}
}

// TestUnfitStore: a compactor does nothing on a store that ignores conditions, and says which rule it breaks.
func TestUnfitStore(t *testing.T) {
	x := newCompaction(t, "")
	key := x.segment("one", "s1")
	x.fit, x.compaction.store = false, careless{x.st}
	_, err := x.handle(t.Context(), lambdatest.ScheduledEvent())
	if !errors.Is(err, doctor.ErrUnfit) || x.folded("one") != 0 {
		t.Errorf("the schedule: %v; folded %d", err, x.folded("one"))
	}
	payload, _ := lambdatest.SQSEvent([]lambdatest.Message{{ID: "m0", Body: lambdatest.S3Created(ours, key)}})
	if _, err := x.handle(t.Context(), payload); !errors.Is(err, doctor.ErrUnfit) {
		t.Errorf("messages: %v", err) // an error has the whole batch come again
	}
}

// careless is a store that takes every write.
type careless struct{ store.Store }

func (s careless) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.Put(ctx, key, body)
}

func (s careless) String() string { return "careless" }
