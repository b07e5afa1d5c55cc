package years

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/cases"
)

// line is a line of a stream, or an answer: what any of them has that the test reads.
type line struct {
	Change   string  `json:"change"`
	Path     string  `json:"path"`
	Before   *known  `json:"before"`
	After    *known  `json:"after"`
	Version  uint64  `json:"version"`
	Previous *uint64 `json:"previous_version"`
	Complete bool    `json:"complete"`
	Cursor   string  `json:"cursor"`

	Status  int    `json:"status"` // of a problem
	Detail  string `json:"detail"`
	Nearest struct {
		Before *struct{ Version uint64 }
	} `json:"nearest"`

	known          // a node, or a point of a trend
	Entries []line `json:"entries"`
	Exists  bool   `json:"exists"`
	sums
}

type known struct {
	Type    string `json:"type"`
	Size    int64  `json:"size"`
	Mtime   int64  `json:"mtime_ns"`
	UID     uint32 `json:"uid"`
	Subtree *sums  `json:"subtree"`
}

func (k *known) entry() entry { return entry{k.Type, k.Size, k.Mtime, k.UID} }

// answer is what a call gave.
type answer struct {
	call   string
	status int
	header http.Header
	lines  []line
}

// ask asks a server; a number is a number, all else is text.
func ask(server http.Handler, accept, call string, params ...any) answer {
	q := url.Values{}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i].(string), fmt.Sprint(params[i+1]))
	}
	r := httptest.NewRequest(http.MethodGet, "/api/v1/views/"+view+"/"+call+"?"+q.Encode(), nil)
	r.Header.Set("X-API-Key", apiKey)
	r.Header.Set("Accept", accept)
	rec := httptest.NewRecorder()
	func() {
		defer func() {
			if cut := recover(); cut != nil && cut != http.ErrAbortHandler { // a stream that fails ends with a problem, and is cut
				panic(cut)
			}
		}()
		server.ServeHTTP(rec, r)
	}()
	a := answer{call: r.URL.String(), status: rec.Code, header: rec.Header()}
	d := json.NewDecoder(rec.Body)
	for d.More() {
		var l line
		if err := d.Decode(&l); err != nil {
			l = line{Status: 999, Detail: err.Error()}
		}
		if a.lines = append(a.lines, l); l.Status != 0 {
			a.status = l.Status
			break
		}
	}
	return a
}

const (
	whole  = "application/json"
	stream = "application/x-ndjson"
)

// is checks the status.
func (w *world) is(a answer, status int) bool {
	w.Helper()
	if a.status != status {
		detail := ""
		if n := len(a.lines); n > 0 {
			detail = a.lines[n-1].Detail
		}
		w.Fatalf("%s at %s: %d %s, not %d; kept are %v", a.call, w.clock(), a.status, detail, status, numbers(w.kept()))
	}
	return true
}

func numbers(kept []manifest.Published) (all []uint64) {
	for _, k := range kept {
		all = append(all, k.Version)
	}
	return all
}

// rightOrGone checks an answer, or that it is that a version is gone, where that may be: of a reader that was stopped for longer than every
// version is kept, also the one that was current when it began, whose objects are missing now.
func (w *world) rightOrGone(mayGo bool, a answer, check func(answer)) {
	w.Helper()
	if mayGo && (a.status == http.StatusGone || a.status == http.StatusBadGateway) {
		w.seen.goneMeanwhile++
		return
	}
	w.is(a, http.StatusOK)
	check(a)
}

// isTree checks the lines of a whole tree.
func (w *world) isTree(a answer, version uint64) {
	w.Helper()
	if got := a.header.Get("Fustor-Version"); got != strconv.FormatUint(version, 10) {
		w.Fatalf("%s: version %s, not %d", a.call, got, version)
	}
	got := tree{}
	for _, l := range a.lines {
		if l.Path != "" {
			got[l.Path] = l.entry()
		}
	}
	want := maps.Clone(w.then(version).tree)
	for path, e := range got { // trees write types out
		if want[path].Type != "" {
			e.Type = want[path].Type
		}
		got[path] = e
	}
	if !maps.Equal(got, want) {
		w.Fatalf("%s: version %d has\n%v\nand must have\n%v", a.call, version, got, want)
	}
}

// diffOf is what differs between two trees.
func diffOf(a, b tree) (lines []line) {
	for _, path := range paths(a, b) {
		before, was := a[path]
		after, is := b[path]
		l := line{Path: path}
		if was {
			l.Before = &known{before.Type, before.Size, before.Mtime, before.UID, nil}
		}
		if is {
			l.After = &known{after.Type, after.Size, after.Mtime, after.UID, nil}
		}
		switch {
		case was && is && before == after:
			continue
		case was && is:
			l.Change = "changed"
		case was:
			l.Change = "removed"
		default:
			l.Change = "added"
		}
		lines = append(lines, l)
	}
	return lines
}

// isDiff checks the lines of a diff.
func (w *world) isDiff(a answer, from, to uint64) {
	w.Helper()
	var got []line
	for _, l := range a.lines {
		if l.Change != "" {
			got = append(got, line{Change: l.Change, Path: l.Path, Before: l.Before, After: l.After})
		}
	}
	want := diffOf(w.then(from).tree, w.then(to).tree)
	if !reflect.DeepEqual(got, want) {
		w.Fatalf("%s: from %d to %d\n%s\nand must be\n%s", a.call, from, to, shown(got), shown(want))
	}
}

func shown(lines []line) string {
	var b bytes.Buffer
	for _, l := range lines {
		text := func(k *known) string {
			if k == nil {
				return "-"
			}
			return fmt.Sprint(k.entry())
		}
		fmt.Fprintf(&b, "%d %s %s %s > %s\n", l.Version, l.Change, l.Path, text(l.Before), text(l.After))
	}
	return b.String()
}

// stateIn is what a log shows of a path in a version.
func (w *world) stateIn(version uint64, path string) *known {
	t := w.then(version).tree
	e, there := t[path]
	if !there {
		return nil
	}
	k := &known{e.Type, e.Size, e.Mtime, e.UID, nil}
	if e.Type == "d" {
		below := t.below(path)
		k.Subtree = &below
	}
	return k
}

// logOf is the log of a path over versions.
func (w *world) logOf(versions []uint64, path string) (lines []line) {
	for i := len(versions) - 1; i >= 0; i-- {
		l := line{Version: versions[i], After: w.stateIn(versions[i], path), Change: "existing"}
		if i > 0 {
			l.Previous, l.Before = &versions[i-1], w.stateIn(versions[i-1], path)
			switch {
			case l.Before == nil:
				l.Change = "added"
			case l.After == nil:
				l.Change = "removed"
			default:
				l.Change = "changed"
			}
		}
		if !reflect.DeepEqual(l.Before, l.After) {
			lines = append(lines, l)
		}
	}
	return lines
}

// isLog checks a log over the newest of some versions; where these may go meanwhile, only that what it says was so.
func (w *world) isLog(a answer, path string, versions []uint64, mayGo bool) {
	w.Helper()
	var got []line
	for _, l := range a.lines[0].Entries {
		got = append(got, line{Version: l.Version, Previous: l.Previous, Change: l.Change, Before: l.Before, After: l.After})
	}
	want := w.logOf(versions, path)
	if mayGo {
		want = nil
		for _, l := range got {
			of := []uint64{l.Version}
			if l.Previous != nil {
				of = []uint64{*l.Previous, l.Version}
			}
			want = append(want, w.logOf(of, path)[0])
		}
	}
	if w.seen.logged += len(got); !reflect.DeepEqual(got, want) {
		w.Fatalf("%s\n%s\nand must be\n%s", a.call, shown(got), shown(want))
	}
}

// isTrend checks the points of a trend; all of the last version of each day, unless they may have gone meanwhile.
func (w *world) isTrend(a answer, path string, kept []manifest.Published, limit int, mayGo bool) {
	w.Helper()
	var days []uint64
	for i, k := range kept {
		if i+1 == len(kept) || k.At.Truncate(24*time.Hour) != kept[i+1].At.Truncate(24*time.Hour) {
			days = append(days, k.Version)
		}
	}
	days = days[max(0, len(days)-limit):]
	var got []uint64
	for _, p := range a.lines[0].Entries {
		got = append(got, p.Version)
		want := sums{}
		e, there := w.then(p.Version).tree[path]
		switch {
		case there && e.Type == "d":
			want = w.then(p.Version).tree.below(path)
		case there:
			want = sums{Files: 1, Bytes: e.Size}
		}
		if p.Exists != there || p.sums != want {
			w.Fatalf("%s: %v %v in version %d, which has %v %v", a.call, p.Exists, p.sums, p.Version, there, want)
		}
	}
	if w.seen.points += len(got); !mayGo && !slices.Equal(got, days) {
		w.Fatalf("%s: of versions %v, not %v", a.call, got, days)
	}
}

// read asks a random question about the past, over some store, and says how its answer is checked. What the test knows is read when it is
// asked; with mayGo versions go before it is answered.
func (w *world) read(mayGo bool) (func(http.Handler) answer, func(answer)) {
	kept := w.kept()
	of := numbers(kept)
	last := of[len(of)-1]
	some := func() uint64 {
		if n := len(of); mayGo { // those that go first
			return of[max(0, n-4)+w.random.IntN(min(3, n))]
		}
		return of[w.random.IntN(len(of))]
	}
	path := w.somePath()
	switch w.random.IntN(5) {
	case 0:
		v := some()
		return func(s http.Handler) answer { return ask(s, stream, "tree", "path", "/", "version", v) },
			func(a answer) { w.rightOrGone(mayGo, a, func(a answer) { w.isTree(a, v) }) }
	case 1: // a time
		at := kept[0].At.Add(time.Duration(w.random.Int64N(int64(w.clock().Sub(kept[0].At)) + 1))).Add(-time.Hour * time.Duration(w.random.IntN(2)*w.random.IntN(100)))
		var want uint64
		for _, k := range kept {
			if !k.At.After(at) {
				want = k.Version
			}
		}
		return func(s http.Handler) answer {
				return ask(s, stream, "tree", "path", "/", "as_of", at.Format(time.RFC3339Nano))
			}, func(a answer) {
				if want == 0 {
					w.is(a, http.StatusGone)
					w.seen.refused++
					return
				}
				if mayGo && a.status == http.StatusOK { // that version, or the one before that was left
					v, err := strconv.ParseUint(a.header.Get("Fustor-Version"), 10, 64)
					w.must(err)
					if v > want {
						w.Fatalf("%s: version %d, not %d or an earlier one", a.call, v, want)
					}
					w.isTree(a, v)
					return
				}
				w.seen.asOf++
				w.rightOrGone(mayGo, a, func(a answer) { w.isTree(a, want) })
			}
	case 2:
		from, to := some(), some()
		return func(s http.Handler) answer { return ask(s, stream, "diff", "from", from, "to", to) }, func(a answer) {
			w.seen.diffs++
			w.rightOrGone(mayGo, a, func(a answer) { w.isDiff(a, from, to) })
		}
	case 3:
		looked := of[max(0, len(of)-1000):]
		none := len(w.logOf(looked, path)) == 0 && w.stateIn(last, path) == nil
		return func(s http.Handler) answer { return ask(s, whole, "log", "path", path, "limit", 1000) }, func(a answer) {
			if none && a.status != http.StatusBadGateway || mayGo && a.status == http.StatusNotFound {
				w.is(a, http.StatusNotFound)
				return
			}
			w.rightOrGone(mayGo, a, func(a answer) { w.isLog(a, path, looked, mayGo) })
		}
	}
	const limit = 1000
	return func(s http.Handler) answer { return ask(s, whole, "reports/trend", "path", path, "limit", limit) }, func(a answer) {
		if a.status == http.StatusNotFound {
			for i, k := range kept {
				lastOfDay := i+1 == len(kept) || k.At.Truncate(24*time.Hour) != kept[i+1].At.Truncate(24*time.Hour)
				if !mayGo && lastOfDay && w.stateIn(k.Version, path) != nil {
					w.Fatalf("%s: 404, but version %d has it", a.call, k.Version)
				}
			}
			return
		}
		w.rightOrGone(mayGo, a, func(a answer) { w.isTrend(a, path, kept, limit, mayGo) })
	}
}

// follower follows the feed of the view, and keeps its tree by what that tells.
type follower struct {
	after string
	at    uint64 // the last version that was told whole
	tree  tree
	last  line // the last change
}

// poll asks for what is new, and takes a part of the answer, as if the client were killed then.
func (f *follower) poll(w *world, s http.Handler, mayGo bool) {
	w.Helper()
	params := []any{"after", f.after}
	if w.random.IntN(2) == 0 {
		params = append(params, "limit", 1+w.random.IntN(3))
	}
	a := ask(s, stream, "changes", params...)
	f.take(w, a, mayGo)
}

func (f *follower) take(w *world, a answer, mayGo bool) {
	w.Helper()
	lines := a.lines
	if n := len(lines); n > 0 && w.random.IntN(3) == 0 {
		lines = lines[:w.random.IntN(n)+1]
	}
	for i, l := range lines {
		switch {
		case l.Status == http.StatusGone:
			if i == 0 && !mayGo && slices.Contains(numbers(w.kept()), f.at) {
				// The cursor may stand in the middle of a version that went.
				if f.last.Version <= f.at {
					w.Fatalf("%s: 410 %s, but version %d is kept", a.call, l.Detail, f.at)
				}
			}
			f.catchUp(w, l)
			return
		case mayGo && l.Status == http.StatusBadGateway:
			return
		case l.Status != 0:
			w.Fatalf("%s: %d %s", a.call, l.Status, l.Detail)
		case l.Change != "":
			f.apply(w, a, l)
			f.after = l.Cursor
		case l.Complete:
			if l.Version < f.at {
				w.Fatalf("%s: version %d after %d", a.call, l.Version, f.at)
			}
			if want := w.then(l.Version).tree; !maps.Equal(f.tree, want) {
				w.Fatalf("%s: the feed made of version %d\n%v\nand it has\n%v", a.call, l.Version, f.tree, want)
			}
			f.at, f.after = l.Version, l.Cursor
		}
	}
	if len(lines) < len(a.lines) {
		w.seen.resumed++
	}
}

// apply applies a change, which must be one, and in order.
func (f *follower) apply(w *world, a answer, l line) {
	w.Helper()
	w.seen.changes++
	was, there := f.tree[l.Path]
	if there != (l.Before != nil) || there && was != l.Before.entry() {
		w.Fatalf("%s: %s, but the feed had %v (%v) before", a.call, shown([]line{l}), was, there)
	}
	if l.Version <= f.at || l.Version < f.last.Version || l.Version == f.last.Version && inOrder(f.last.Path, l.Path) >= 0 {
		w.Fatalf("%s: %s after %s of version %d", a.call, shown([]line{l}), shown([]line{f.last}), f.at)
	}
	f.last = l
	if delete(f.tree, l.Path); l.After != nil {
		f.tree[l.Path] = l.After.entry()
	}
}

// catchUp does what 410 asks for: the tree of the nearest version before, the diff from there, and the feed goes on after that.
func (f *follower) catchUp(w *world, l line) {
	w.Helper()
	w.seen.behind++
	of := numbers(w.kept())
	from := of[0]
	if b := l.Nearest.Before; b != nil && slices.Contains(of, b.Version) {
		from = b.Version
	}
	s := w.server(w.store)
	w.isTree(ask(s, stream, "tree", "path", "/", "version", from), from)
	to := of[len(of)-1]
	d := ask(s, stream, "diff", "from", from, "to", to)
	w.is(d, http.StatusOK)
	w.isDiff(d, from, to)
	f.tree, f.at, f.after, f.last = maps.Clone(w.then(from).tree), from, strconv.FormatUint(from, 10), line{}
}

// stopReader stops a reader at some request while versions go: as the settings have it, or all.
func (w *world) stopReader(meanwhile func()) {
	if w.random.IntN(2) == 0 {
		c := viewconfig.Default(view)
		c.StalenessSeconds, c.IcebergIntervalSeconds = 0, 0
		c.KeepWithinSeconds, c.KeepHourly, c.KeepDaily, c.KeepWeekly, c.KeepMonthly, c.KeepYearly = 0, 0, 0, 0, 0, 0
		w.must(viewconfig.Save(w.Context(), w.store, c))
		defer w.keep()
		meanwhile = func() {
			w.change(w.two[1])
			w.pass(3 * time.Hour)
			_, err := w.compactor(w.store).Retain(w.Context(), view)
			w.must(err)
		}
	}
	if w.random.IntN(2) == 0 {
		f := w.followers[w.random.IntN(len(w.followers))]
		after := f.after
		var a answer
		w.stop(false, func(st store.Store) error {
			a = ask(w.server(st), stream, "changes", "after", after)
			return nil
		}, meanwhile)
		if f.after == after { // it was not followed meanwhile
			f.take(w, a, true)
		}
		return
	}
	question, check := w.read(true)
	var a answer
	w.stop(false, func(st store.Store) error {
		a = question(w.server(st))
		return nil
	}, meanwhile)
	check(a)
}

// TestTwoYears: whatever happens to a view in two years, and whatever is kept of it, every answer about the past is what was.
func TestTwoYears(t *testing.T) {
	var all counts
	years := min(2, cases.Of(2)) // one with the race detector
	for seed := range uint64(cases.Of(3)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := begin(t, seed)
			w.live(years)
			all.add(w.seen)
		})
	}
	t.Logf("%+v", all)
	if years == 2 && (all.changes == 0 || all.resumed == 0 || all.behind == 0 || all.diffs == 0 || all.logged == 0 || all.points == 0 || all.asOf == 0 || all.stopped == 0 ||
		all.refused == 0 || all.goneMeanwhile == 0) {
		t.Errorf("a part of this test did nothing: %+v", all)
	}
}

func (c *counts) add(d counts) {
	c.changes, c.resumed, c.behind, c.diffs = c.changes+d.changes, c.resumed+d.resumed, c.behind+d.behind, c.diffs+d.diffs
	c.logged, c.points, c.asOf, c.refused = c.logged+d.logged, c.points+d.points, c.asOf+d.asOf, c.refused+d.refused
	c.stopped, c.goneMeanwhile = c.stopped+d.stopped, c.goneMeanwhile+d.goneMeanwhile
}

// live lets the years pass.
func (w *world) live(years int) {
	reader := w.server(w.store) // has versions open that went since
	head := w.head()
	for range 2 {
		w.followers = append(w.followers, &follower{after: strconv.FormatUint(head.Version, 10), at: head.Version, tree: maps.Clone(w.then(head.Version).tree)})
	}
	for end := w.clock().AddDate(years, 0, 0); w.clock().Before(end); {
		w.step()
		switch w.random.IntN(4) {
		case 0:
			w.stopCompactor(w.steps)
		case 1:
			w.stopReader(w.steps)
		}
		server := reader
		if w.random.IntN(2) == 0 {
			server = w.server(w.store)
		}
		if w.random.IntN(3) > 0 {
			question, check := w.read(false)
			check(question(server))
			continue
		}
		f := w.followers[w.random.IntN(len(w.followers))]
		f.poll(w, server, false)
	}
	for _, f := range w.followers { // to the end
		for f.at < w.head().Version {
			f.poll(w, reader, false)
		}
	}
	for _, v := range numbers(w.kept()) {
		w.isTree(ask(reader, stream, "tree", "path", "/", "version", v), v)
	}
}

// step lets some time pass, and changes the view, or removes what is not kept, or sets what is.
func (w *world) step() {
	w.pass([]time.Duration{time.Second, 7 * time.Minute, 5 * time.Hour, 26 * time.Hour, 9 * 24 * time.Hour, 40 * 24 * time.Hour}[w.random.IntN(6)])
	n := w.random.IntN(2)
	switch w.random.IntN(8) {
	case 0, 1:
		_, err := w.two[n].Retain(w.Context(), view)
		w.must(err)
	case 2:
		if w.random.IntN(2) == 0 {
			w.keep()
		}
		w.two[n] = w.compactor(w.store) // restarted
	default:
		for range 1 + w.random.IntN(3) {
			w.change(w.two[n])
			w.pass(time.Duration(w.random.IntN(1200)) * time.Second)
		}
	}
}

// steps are what happens while somebody is stopped.
func (w *world) steps() {
	for range w.random.IntN(3) {
		w.step()
	}
	if w.random.IntN(2) == 0 {
		w.change(w.two[0])
		w.pass(3 * time.Hour)
		_, err := w.compactor(w.store).Retain(w.Context(), view)
		w.must(err)
	}
}
