package schedule

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/agent/subtrees"
)

const (
	settle        = 150 * time.Second
	auditInterval = time.Hour
)

var (
	t0       = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mine     = Leadership{Session: "s1", Term: 7}
	earlier  = Leadership{Session: "s1", Term: 6}
	follower = Situation{Leadership: mine, AuditInterval: auditInterval, Room: true}
	leader   = Situation{Leadership: mine, AuditInterval: auditInterval, Room: true, Leads: true}
)

// TestGap: while it lasts, an agent does not say that it watches everything.
func TestGap(t *testing.T) {
	rescan := Task{Kind: Rescan, Leadership: mine, Repairs: true}
	begun := func(t Task) func(*Schedule) { return func(s *Schedule) { s.Begin(t0, t) } }
	for _, c := range []struct {
		name string
		s    Schedule
		in   Situation
		open bool
	}{
		{"a follower begins", fresh(), follower, true},
		{"a follower watches everything", covered(), follower, false},
		{"a leader begins", covered(), leader, true},
		{"a leader has taken its snapshot", led(), leader, false},
		{"another term", led(), with(leader, func(in *Situation) { in.Leadership = earlier }), true},
		{"notices were lost", led((*Schedule).Lost), leader, true},
		{"of a follower", covered((*Schedule).Lost), follower, true},
		{"below some directories", led(func(s *Schedule) { s.LostBelow([]string{"/a"}) }), leader, true},
		{"they are being scanned", led((*Schedule).Lost, begun(rescan)), leader, true},
		{"that failed", led((*Schedule).Lost, failed(rescan)), leader, true},
		{"they were scanned", led((*Schedule).Lost, ran(rescan)), leader, false},
		{"others were lost meanwhile", led((*Schedule).Lost, begun(rescan), (*Schedule).Lost, func(s *Schedule) { s.End(t0, rescan, true) }), leader, true},
		{"directories can be watched again", led((*Schedule).Uncover), leader, true},
		{"they were met", led((*Schedule).Uncover, ran(Task{Kind: Cover, Leadership: mine})), leader, false},
		{"they can be since a scan began", led(begun(Task{Kind: Audit, Leadership: mine, Marked: true}), (*Schedule).Uncover,
			func(s *Schedule) { s.End(t0, Task{Kind: Audit, Leadership: mine, Marked: true}, true) }), leader, true},
		{"what a snapshot left out", led(func(s *Schedule) { s.LeftOut(mine, 0) }), leader, true},
	} {
		if got := c.s.Gap(c.in.Leadership, c.in.Leads); (got != "") != c.open {
			t.Errorf("%s: %q, want a gap: %v", c.name, got, c.open)
		}
	}
}

// with changes a situation.
func with(in Situation, change func(*Situation)) Situation {
	change(&in)
	return in
}

// fresh is the schedule of a new process with a session.
func fresh(then ...func(*Schedule)) Schedule {
	s := New(settle)
	s.SessionBegan(t0, false)
	for _, f := range then {
		f(&s)
	}
	return s
}

// covered is the schedule of a follower that watches everything.
func covered(then ...func(*Schedule)) Schedule {
	return fresh(append([]func(*Schedule){ran(Task{Kind: Cover, Leadership: mine})}, then...)...)
}

// led is the schedule of a leader that has taken its snapshot.
func led(then ...func(*Schedule)) Schedule {
	return fresh(append([]func(*Schedule){ran(Task{Kind: Snapshot, Leadership: mine, Marked: true})}, then...)...)
}

// ran has a task begin and end at t0.
func ran(t Task) func(*Schedule) { return runAt(0, t) }

func runAt(after time.Duration, t Task) func(*Schedule) {
	return func(s *Schedule) { s.Begin(t0.Add(after), t); s.End(t0.Add(after), t, true) }
}

// failed has a task begin at t0 and fail.
func failed(t Task) func(*Schedule) {
	return func(s *Schedule) { s.Begin(t0, t); s.End(t0, t, false) }
}

func lost(s *Schedule)    { s.Lost() }
func uncover(s *Schedule) { s.Uncover() }
func lostBelow(dirs ...string) func(*Schedule) {
	return func(s *Schedule) { s.LostBelow(dirs) }
}
func leftOut(s *Schedule) {
	t := Task{Kind: Snapshot, Leadership: mine, Marked: true, Resumes: true}
	s.Begin(t0, t)
	s.LeftOut(mine, 5)
	s.End(t0, t, true)
}

// TestNext has a row for each rule.
func TestNext(t *testing.T) {
	snapshot := Task{Kind: Snapshot, Leadership: mine, Marked: true}
	rescan := Task{Kind: Rescan, Leadership: mine, Repairs: true}
	cover := Task{Kind: Cover, Leadership: mine}
	below := func(repairs bool, dirs ...string) Task {
		return Task{Kind: Subtrees, Leadership: mine, Repairs: repairs, Subtrees: dirs}
	}
	for _, c := range []struct {
		rule  string
		given Schedule
		after time.Duration // from t0 to the question
		in    Situation
		want  Task          // Kind "": nothing is due
		wait  time.Duration // where nothing is due
	}{
		// Whether to scan at all.
		{rule: "without a session, without a root or during a pause nothing is scanned", given: fresh(lost),
			in: with(leader, func(in *Situation) { in.Blocked = true }), wait: Idle},

		// Snapshots.
		{rule: "the first scan of a leader is a snapshot; the first of a process leaves out what an earlier one listed", given: fresh(), in: leader,
			want: Task{Kind: Snapshot, Leadership: mine, Marked: true, Resumes: true}},
		{rule: "a follower that becomes leader takes a snapshot, although everything is covered", given: covered(), in: leader,
			want: Task{Kind: Snapshot, Leadership: mine, Marked: true, Resumes: true}},
		{rule: "a new term wants a new snapshot", given: fresh(ran(Task{Kind: Snapshot, Leadership: earlier, Marked: true})), in: leader, want: snapshot},
		{rule: "a snapshot goes before a rescan and repairs what was lost; then it leaves nothing out", given: fresh(lost), in: leader,
			want: Task{Kind: Snapshot, Leadership: mine, Marked: true, Repairs: true}},
		{rule: "the same for lost subtrees", given: fresh(lostBelow("/a")), in: leader,
			want: Task{Kind: Snapshot, Leadership: mine, Marked: true, Repairs: true}},
		{rule: "a snapshot that failed is taken again", given: fresh(failed(Task{Kind: Snapshot, Leadership: mine, Marked: true, Resumes: true})), in: leader,
			want: Task{Kind: Snapshot, Leadership: mine, Marked: true, Resumes: true}},
		{rule: "one that was to repair still does", given: fresh(lost, failed(Task{Kind: Snapshot, Leadership: mine, Marked: true, Repairs: true})), in: leader,
			want: Task{Kind: Snapshot, Leadership: mine, Marked: true, Repairs: true}},
		{rule: "after a snapshot a leader waits for the audit", given: led(), in: leader, wait: auditInterval},

		// Cover.
		{rule: "a follower covers the tree and lists nothing", given: fresh(), in: follower, want: cover},
		{rule: "what can be watched now is covered", given: led(uncover), in: leader, want: cover},
		{rule: "a cover that failed is done again", given: fresh(failed(cover)), in: follower, want: cover},
		{rule: "a follower that has covered the tree waits", given: covered(), in: follower, wait: Idle},

		// Losses anywhere.
		{rule: "after a loss a leader rescans, with an audit's marks", given: led(lost), in: leader,
			want: Task{Kind: Rescan, Leadership: mine, Marked: true, Repairs: true}},
		{rule: "and a follower without them", given: covered(lost), in: follower, want: rescan},
		{rule: "a rescan goes before cover", given: covered(lost, uncover), in: follower, want: rescan},
		{rule: "a rescan that failed is done again", given: covered(lost, failed(rescan)), in: follower, want: rescan},
		{rule: "a loss during the rescan makes another one due", given: covered(func(s *Schedule) {
			s.Begin(t0, rescan)
			s.Lost()
			s.End(t0, rescan, true)
		}), in: follower, want: rescan},
		{rule: "a rescan that repairs is repeated after a while", given: covered(lost, ran(rescan)), in: follower, wait: settle},
		{rule: "that repetition repairs nothing", given: covered(lost, ran(rescan)), after: settle, in: follower,
			want: Task{Kind: Rescan, Leadership: mine}},
		{rule: "so it is not repeated", given: covered(lost, ran(rescan), runAt(settle, Task{Kind: Rescan, Leadership: mine})), after: settle, in: follower, wait: Idle},
		{rule: "a repetition that failed is done again", given: covered(lost, ran(rescan), failed(Task{Kind: Rescan, Leadership: mine})), after: settle, in: follower,
			want: Task{Kind: Rescan, Leadership: mine}},
		{rule: "cover does not take the repetition away", given: covered(lost, ran(rescan), uncover, ran(cover)), after: settle, in: follower,
			want: Task{Kind: Rescan, Leadership: mine}},
		{rule: "nor does a snapshot that comes too early", given: covered(lost, ran(rescan), runAt(settle-1, snapshot)), after: settle, in: leader,
			want: Task{Kind: Rescan, Leadership: mine, Marked: true}},
		{rule: "one that comes later is the repetition", given: covered(lost, ran(rescan), runAt(settle, snapshot)), after: settle, in: leader, wait: auditInterval},
		{rule: "listings that were dropped with their session are made again", given: covered(func(s *Schedule) { s.SessionBegan(t0, true) }), in: follower, want: rescan},
		{rule: "unless everything is scanned anyway", given: fresh(func(s *Schedule) { s.SessionBegan(t0, true) }), in: follower, want: cover},
		{rule: "after a pause everything is scanned where no watch was", given: fresh((*Schedule).Resumed), in: follower, want: rescan},
		{rule: "and nothing where the watches went on", given: covered((*Schedule).Resumed), in: follower, wait: Idle},

		// Losses below some directories.
		{rule: "after a loss below some directories those are scanned", given: covered(lostBelow("/b"), lostBelow("/a/x", "/b/y")), in: follower,
			want: below(true, "/a/x", "/b")},
		{rule: "without room they wait a little", given: covered(lostBelow("/a")), in: with(follower, func(in *Situation) { in.Room = false }), wait: subtreesRetry},
		{rule: "cover goes before subtrees", given: covered(lostBelow("/a"), uncover), in: follower, want: cover},
		{rule: "and does not take them away", given: covered(lostBelow("/a"), uncover, ran(cover)), in: follower, want: below(true, "/a")},
		{rule: "a rescan takes them in", given: covered(lostBelow("/a"), lost, ran(rescan)), in: follower, wait: settle},
		{rule: "a scan of subtrees that failed is done again", given: covered(lostBelow("/a"), failed(below(true, "/a"))), in: follower, want: below(true, "/a")},
		{rule: "a scan of subtrees is repeated after a while", given: covered(lostBelow("/a"), ran(below(true, "/a"))), in: follower, wait: settle},
		{rule: "that repetition repairs nothing", given: covered(lostBelow("/a"), ran(below(true, "/a"))), after: settle, in: follower, want: below(false, "/a")},
		{rule: "so it is not repeated", given: covered(lostBelow("/a"), ran(below(true, "/a")), runAt(settle, below(false, "/a"))), after: settle, in: follower, wait: Idle},

		{rule: "an audit of changed directories does not take lost subtrees away", given: led(lostBelow("/a"), ran(Task{Kind: Audit, Leadership: mine, Marked: true, ChangedOnly: true})), in: leader,
			want: below(true, "/a")},
		{rule: "nor their repetition", given: led(lostBelow("/a"), ran(below(true, "/a")), runAt(settle, Task{Kind: Audit, Leadership: mine, Marked: true, ChangedOnly: true})), after: settle, in: leader,
			want: below(false, "/a")},
		{rule: "a repetition that failed is done again", given: covered(lostBelow("/a"), ran(below(true, "/a")), failed(below(false, "/a"))), after: settle, in: follower,
			want: below(false, "/a")},

		// Audits.
		{rule: "a leader audits once the interval is over, changed directories and a share of the others", given: led(ran(Task{Kind: Audit, Leadership: mine, Marked: true})), after: auditInterval, in: leader,
			want: Task{Kind: Audit, Leadership: mine, Marked: true, ChangedOnly: true, Share: 1}},
		{rule: "the first audit of a leadership lists everything", given: led(), after: auditInterval, in: leader,
			want: Task{Kind: Audit, Leadership: mine, Marked: true}},
		{rule: "a follower never audits", given: covered(), after: 2 * auditInterval, in: follower, wait: Idle},
		{rule: "nor does a leader of a view without audits", given: led(), after: 2 * auditInterval, in: with(leader, func(in *Situation) { in.AuditInterval = 0 }), wait: Idle},
		{rule: "a changed interval counts from the last scan of the whole tree", given: led(), after: time.Minute, in: with(leader, func(in *Situation) { in.AuditInterval = 3 * time.Minute }),
			wait: 2 * time.Minute},
		{rule: "so that an audit may be due at once", given: led(), after: time.Minute, in: with(leader, func(in *Situation) { in.AuditInterval = time.Second }),
			want: Task{Kind: Audit, Leadership: mine, Marked: true}},
		{rule: "an audit that failed is due at once", given: led(failed(Task{Kind: Audit, Leadership: mine, Marked: true})), after: auditInterval, in: leader,
			want: Task{Kind: Audit, Leadership: mine, Marked: true}},
		{rule: "any scan of the whole tree puts the audit off", given: led(runAt(time.Minute, Task{Kind: Rescan, Leadership: mine, Marked: true})), after: time.Minute, in: leader, wait: auditInterval},

		// Catching up after a snapshot that left directories out.
		{rule: "what a snapshot left out is listed in shares", given: fresh(leftOut), in: leader,
			want: Task{Kind: CatchUp, Leadership: mine, Share: 5}},
		{rule: "share after share, at most half of the time", given: fresh(leftOut, func(s *Schedule) {
			c := Task{Kind: CatchUp, Leadership: mine, Share: 5}
			s.Begin(t0, c)
			s.End(t0.Add(time.Minute), c, true)
		}), after: time.Minute, in: leader, wait: time.Minute},
		{rule: "a share that failed is listed again", given: fresh(leftOut, failed(Task{Kind: CatchUp, Leadership: mine, Share: 5})), in: leader,
			want: Task{Kind: CatchUp, Leadership: mine, Share: 5}},
		{rule: "the shares go around", given: fresh(leftOut, shares(5, 6, 7)), in: leader, want: Task{Kind: CatchUp, Leadership: mine}},
		{rule: "until each was listed", given: fresh(leftOut, shares(5, 6, 7, 0, 1, 2, 3, 4)), in: leader, wait: auditInterval},
		{rule: "then audits may list changed directories alone", given: fresh(leftOut, shares(5, 6, 7, 0, 1, 2, 3, 4)), after: auditInterval, in: leader,
			want: Task{Kind: Audit, Leadership: mine, Marked: true, ChangedOnly: true}},
		{rule: "as they do while a catch-up is on", given: fresh(leftOut), after: auditInterval, in: leader,
			want: Task{Kind: Audit, Leadership: mine, Marked: true, ChangedOnly: true}},
		{rule: "a catch-up ends with its leadership", given: fresh(leftOut, ran(Task{Kind: Snapshot, Leadership: earlier, Marked: true})),
			in: with(leader, func(in *Situation) { in.Leadership = earlier }), wait: auditInterval},
		{rule: "and with a snapshot that leaves nothing out", given: fresh(leftOut, ran(snapshot)), in: leader, wait: auditInterval},
		{rule: "a follower does not catch up", given: fresh(leftOut), in: follower, wait: Idle},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := c.given
			task, wait, ok := s.Next(t0.Add(c.after), c.in)
			if ok != (c.want.Kind != "") || !reflect.DeepEqual(task, c.want) || wait != c.wait {
				t.Errorf("got %+v, wait %v, due %v\nwant %+v, wait %v", task, wait, ok, c.want, c.wait)
			}
		})
	}
}

// shares has these shares be caught up with.
func shares(shares ...uint64) func(*Schedule) {
	return func(s *Schedule) {
		for _, n := range shares {
			ran(Task{Kind: CatchUp, Leadership: mine, Share: n})(s)
		}
	}
}

// loss is a loss of notices below a directory, and what was done about it since.
type loss struct {
	dir      string
	repaired time.Time // when a complete scan that began after the loss had listed it all; zero: not yet
	settled  bool      // another one has, settleAfter later
}

// history is a schedule at work.
type history struct {
	s      Schedule
	now    time.Time
	in     Situation
	losses []*loss
}

// step runs the next task, or waits for it. during is called while it runs.
func (h *history) step(complete bool, during func()) Task {
	task, wait, ok := h.s.Next(h.now, h.in)
	if !ok {
		h.now = h.now.Add(wait)
		return task
	}
	h.s.Begin(h.now, task)
	before := len(h.losses)
	during()
	h.now = h.now.Add(time.Second)
	h.s.End(h.now, task, complete)
	if !complete || !task.Lists() || task.ChangedOnly || task.Resumes || task.Kind == CatchUp {
		return task
	}
	for _, l := range h.losses[:before] {
		listed := task.Whole()
		for _, dir := range task.Subtrees {
			listed = listed || subtrees.Contains(dir, l.dir)
		}
		switch {
		case !listed:
		case l.repaired.IsZero():
			l.repaired = h.now
		case h.now.Sub(l.repaired) >= settle:
			l.settled = true
		}
	}
	return task
}

// TestLossesAreRepaired: whatever is lost is scanned by a task that begins afterwards and lists all of it, and once more
// after a while, however many scans fail meanwhile, roles change, or room is missing.
func TestLossesAreRepaired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{s: New(settle), now: t0, in: leader}
		h.s.SessionBegan(h.now, false)
		lose := func() {
			dir := rapid.SampledFrom([]string{"/", "/a", "/a/b", "/c"}).Draw(t, "lost")
			h.losses = append(h.losses, &loss{dir: dir})
			if dir == "/" {
				h.s.Lost()
			} else {
				h.s.LostBelow([]string{dir})
			}
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0:
				lose()
			case 1:
				h.in.Leads = !h.in.Leads
				h.in.Term++
			case 2:
				h.in.Room = !h.in.Room
			case 3:
				h.s.Uncover()
			case 4:
				h.now = h.now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "seconds")) * time.Second)
			default:
				h.step(rapid.Bool().Draw(t, "complete"), func() {
					if rapid.IntRange(0, 3).Draw(t, "during") == 0 {
						lose()
					}
				})
			}
		}
		h.in.Room = true
		for range 30 {
			h.step(true, func() {})
		}
		for _, l := range h.losses {
			if l.repaired.IsZero() || !l.settled {
				t.Fatalf("a loss below %s: %+v", l.dir, l)
			}
		}
	})
}

// TestNextIsAsked: asking changes nothing, and either a task is due or there is a time to wait; followers announce nothing.
func TestNextIsAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{s: New(settle), now: t0, in: leader}
		h.s.SessionBegan(h.now, false)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			h.in.Leads = rapid.Bool().Draw(t, "leads")
			if rapid.Bool().Draw(t, "lost") {
				h.s.LostBelow([]string{"/a"})
			}
			before := h.s
			first, wait, ok := h.s.Next(h.now, h.in)
			again, _, _ := h.s.Next(h.now, h.in)
			if !reflect.DeepEqual(before, h.s) || !reflect.DeepEqual(first, again) || ok == (wait > 0) {
				t.Fatalf("%+v, then %+v; wait %v", first, again, wait)
			}
			if !h.in.Leads && (first.Marked || first.Kind == Snapshot || first.Kind == Audit || first.Kind == CatchUp) {
				t.Fatalf("a follower: %+v", first)
			}
			h.step(rapid.Bool().Draw(t, "complete"), func() {})
		}
	})
}
