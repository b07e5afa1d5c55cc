package session

import (
	"crypto/rand"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

// stood is when all of these tests happen, by the store's clock.
var stood = time.Unix(1_800_000_000, 0)

func ago(d time.Duration) int64 { return stood.Add(-d).UnixNano() }

// aged is an object that was written so long ago.
func aged(d time.Duration) store.Meta {
	return store.Meta{ETag: "x", LastModified: stood.Add(-d), Date: stood}
}

// TestWhatALeaseTells: a lease tells that a session lives which rests, for twice its time-out after the heartbeat, unless somebody has ended it.
func TestWhatALeaseTells(t *testing.T) {
	for _, c := range []struct {
		what  string
		of    string
		f     Following
		rests bool
		want  bool
	}{
		{"a heartbeat just now", "s", Following{At: ago(0)}, true, true},
		{"one as old as may be", "s", Following{At: ago(60 * time.Second)}, true, true},
		{"an older one", "s", Following{At: ago(60*time.Second + 1)}, true, false},
		{"of a session that does not rest", "s", Following{At: ago(0)}, false, false},
		{"of another session", "o", Following{At: ago(0)}, true, false},
		{"of one that is over", "s", Following{At: ago(0), Over: true}, true, false},
	} {
		h := held[Lease]{Lease{Followers: map[string]Following{c.of: c.f}}, aged(0)}
		if got := tells(h, Record{ID: "s", Rests: c.rests, TimeoutSeconds: 30}); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// TestProofsOfLife: a follower's last proof is its record, or what the lease tells of it while it rests.
func TestProofsOfLife(t *testing.T) {
	l := &Ledger{clock: store.NewClock(func() time.Time { return stood })}
	for _, c := range []struct {
		what   string
		record time.Duration
		rests  bool
		of     string
		f      Following
		want   time.Duration
		due    bool
	}{
		{"its record", 7 * time.Second, true, "", Following{}, 7 * time.Second, false},
		{"the lease", 40 * time.Second, true, "s", Following{At: ago(5 * time.Second)}, 5 * time.Second, false},
		{"the lease, of a heartbeat before the record", 7 * time.Second, true, "s", Following{At: ago(9 * time.Second)}, 7 * time.Second, false},
		{"the lease tells of another", 40 * time.Second, true, "o", Following{At: ago(5 * time.Second)}, 40 * time.Second, true},
		{"it does not rest", 40 * time.Second, false, "s", Following{At: ago(5 * time.Second)}, 40 * time.Second, true},
		{"it is over", 40 * time.Second, true, "s", Following{At: ago(5 * time.Second), Over: true}, 40 * time.Second, true},
		{"as old as a proof of one that rests may be", 30 * time.Second, true, "", Following{}, 30 * time.Second, false},
		{"older", 30*time.Second + 1, true, "", Following{}, 30*time.Second + 1, true},
		{"of one that does not rest", 5 * time.Second, false, "", Following{}, 5 * time.Second, false},
		{"older", 5*time.Second + 1, false, "", Following{}, 5*time.Second + 1, true},
		{"a record of an hour", time.Hour, true, "s", Following{At: ago(0)}, 0, false},
		{"a record of more than an hour", time.Hour + 1, true, "s", Following{At: ago(0)}, 0, true},
	} {
		r := held[Record]{Record{ID: "s", Rests: c.rests, TimeoutSeconds: 30}, aged(c.record)}
		h := held[Lease]{Lease{Followers: map[string]Following{c.of: c.f}}, aged(0)}
		if got := l.proven(r, h); got != c.want {
			t.Errorf("%s: proven %v ago, want %v", c.what, got, c.want)
		}
		if got := l.due(r, h); got != c.due {
			t.Errorf("%s: due %v", c.what, got)
		}
	}
}

// TestBusyAgents: what of an agent's status is worth a write of its own.
func TestBusyAgents(t *testing.T) {
	status := func(sent, next uint64, rate float64) *pipeapi.AgentStatus {
		s := &pipeapi.AgentStatus{SentSegments: sent}
		if s.Rates.Events = rate; next > 0 {
			s.CaughtUp = &pipeapi.CaughtUp{At: 1, NextSeq: next}
		}
		return s
	}
	for _, c := range []struct {
		what     string
		was, now *pipeapi.AgentStatus
		want     bool
	}{
		{"it says nothing", status(1, 1, 0), nil, false},
		{"it said nothing before", nil, status(1, 1, 0), true},
		{"as before", status(1, 1, 2), status(1, 1, 3), false},
		{"it sent something", status(1, 1, 0), status(2, 1, 0), true},
		{"it has something to send", status(1, 1, 0), status(1, 0, 0), true},
		{"it has nothing to send any more", status(1, 0, 0), status(1, 1, 0), true},
		{"it is to send as before", status(1, 0, 0), status(1, 0, 0), false},
		{"it is caught up with more", status(1, 1, 0), status(1, 2, 0), true},
		{"its rates came to an end", status(1, 1, 2), status(1, 1, 0), true},
		{"they began", status(1, 1, 0), status(1, 1, 2), false},
	} {
		if got := busy(c.was, c.now); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// TestWhatIsLeftOfALease in seconds; nothing of one that nobody holds.
func TestWhatIsLeftOfALease(t *testing.T) {
	for _, c := range []struct {
		session string
		age     time.Duration
		want    time.Duration
	}{{"s", 0, 30 * time.Second}, {"s", 20 * time.Second, 10 * time.Second}, {"s", 30 * time.Second, 0}, {"s", 31 * time.Second, -1}, {"", 20 * time.Second, -1}} {
		if got := left(held[Lease]{Lease{Session: c.session, TTLSeconds: 30}, aged(c.age)}); got != c.want {
			t.Errorf("a lease of %q, %v old: %v left, want %v", c.session, c.age, got, c.want)
		}
	}
}

// TestNotedFollowers: of each view those are noted whose last heartbeat still proves something, and of views no more than may be remembered.
func TestNotedFollowers(t *testing.T) {
	var f following
	note := func(view, id string, at int64) {
		f.note(Record{ID: id, View: view, Rests: true, TimeoutSeconds: 30}, Following{At: at})
	}
	note("v", "old", ago(60*time.Second+1))
	note("v", "as old as may be", ago(60*time.Second))
	note("v", "twice", ago(3*time.Second))
	note("w", "of another view", ago(0))
	note("v", "twice", ago(0))
	if got := f.noted("v"); !maps.Equal(got, map[string]Following{"as old as may be": {At: ago(60 * time.Second)}, "twice": {At: ago(0)}}) {
		t.Errorf("noted: %v", got)
	}
	for i := len(f.views); i < maxRemembered; i++ {
		f.views[strconv.Itoa(i)] = nil
	}
	note("v", "one more", ago(0))
	if len(f.views) != maxRemembered || len(f.noted("w")) != 1 {
		t.Errorf("as many views as may be remembered: %d are", len(f.views))
	}
	f.views["too many"] = nil
	note("v", "one more", ago(0))
	if len(f.views) != 1 || len(f.noted("v")) != 1 {
		t.Errorf("of more views than may be remembered, %d are", len(f.views))
	}
}

// TestFollowersThatALeaseTellsOf: the last of each that still proves something, but of nobody who leads, and of no more than it has room for.
func TestFollowersThatALeaseTellsOf(t *testing.T) {
	now := stood.UnixNano()
	v := Lease{Session: "leads", TTLSeconds: 30, Followers: map[string]Following{
		"leads": {At: ago(0)}, "too old": {At: ago(60*time.Second + 1)}, "as old as may be": {At: ago(60 * time.Second)},
		"told": {At: ago(9 * time.Second)}, "noted later": {At: ago(9 * time.Second)}, "noted before": {At: ago(5 * time.Second)},
		"noted at the same time": {At: ago(5 * time.Second)}, "over": {At: ago(9 * time.Second), Over: true},
	}}
	noted := map[string]Following{
		"leads": {At: ago(0)}, "noted": {At: ago(1)}, "noted too long ago": {At: ago(61 * time.Second)},
		"noted later": {At: ago(5 * time.Second)}, "noted before": {At: ago(9 * time.Second)},
		"noted at the same time": {At: ago(5 * time.Second), Over: true}, "over": {At: ago(0)},
	}
	want := map[string]Following{
		"as old as may be": {At: ago(60 * time.Second)}, "told": {At: ago(9 * time.Second)}, "noted": {At: ago(1)},
		"noted later": {At: ago(5 * time.Second)}, "noted before": {At: ago(5 * time.Second)},
		"noted at the same time": {At: ago(5 * time.Second)}, "over": {At: ago(9 * time.Second), Over: true},
	}
	if got := v.followers(now, noted); !maps.Equal(got, want) {
		t.Errorf("it tells of %v, want %v", got, want)
	}
	v.Followers = nil
	if got := v.followers(now, map[string]Following{"leads": {At: now}}); got != nil {
		t.Errorf("of nobody: %v", got)
	}
	many := map[string]Following{}
	for i := range maxFollowers + 2 {
		many[fmt.Sprintf("s%03d", i)] = Following{At: ago(time.Duration(i/2) * time.Second / 10)}
	}
	got := slices.Sorted(maps.Keys(v.followers(now, many)))
	if len(got) != maxFollowers || got[len(got)-1] != fmt.Sprintf("s%03d", maxFollowers-1) {
		t.Errorf("of %d it tells of %d, the last is %s", len(many), len(got), got[len(got)-1])
	}
}

// TestOverInALease: the lease tells of the end of a session to whoever rests, and is still whose it was, if anybody's.
func TestOverInALease(t *testing.T) {
	fresh := time.Now().Add(-time.Second).UnixNano()
	for _, c := range []struct {
		what  string
		lease *Lease
		want  Lease
	}{
		{"there is none", nil, Lease{}},
		{"another has it", &Lease{Session: "other", Term: 3, TTLSeconds: 300, Followers: map[string]Following{"third": {At: fresh}}},
			Lease{Session: "other", Term: 3, TTLSeconds: 300, Followers: map[string]Following{"third": {At: fresh}, "s": {Over: true}}}},
		{"another has it and tells of nobody", &Lease{Session: "other", Term: 3, TTLSeconds: 300}, Lease{Session: "other", Term: 3, TTLSeconds: 300, Followers: map[string]Following{"s": {Over: true}}}},
		{"it ran out", &Lease{Session: "other", Term: 3, TTLSeconds: -1, Ended: true}, Lease{Term: 3, TTLSeconds: -1, Followers: map[string]Following{"s": {Over: true}}}},
		{"it has it itself", &Lease{Session: "s", Term: 3, TTLSeconds: 300}, Lease{Session: "s", Term: 3, TTLSeconds: 300}},
		{"it had it itself", &Lease{Session: "s", Term: 3, TTLSeconds: -1}, Lease{Term: 3, TTLSeconds: -1, Followers: map[string]Following{"s": {Over: true}}}},
	} {
		st, err := local.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		clock := store.NewClock(time.Now)
		l, err := NewLedger(clock.Watch(st), clock, rand.Reader)
		if err == nil && c.lease != nil {
			_, err = l.writeLease(t.Context(), "v", *c.lease, store.Meta{})
		}
		if err == nil {
			err = l.over(t.Context(), "v", "s")
		}
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		h, err := read[Lease](t.Context(), st, layout.Lease("v"))
		if err != nil || h.exists() != (c.lease != nil) {
			t.Fatalf("%s: there is a lease: %v, %v", c.what, h.exists(), err)
		}
		got := h.value
		if s, ok := got.Followers["s"]; ok && time.Since(time.Unix(0, s.At)) < time.Minute {
			got.Followers["s"] = Following{Over: s.Over}
		}
		got.Nonce, got.Terms = c.want.Nonce, c.want.Terms
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: it became %+v, want %+v", c.what, got, c.want)
		}
	}
}
