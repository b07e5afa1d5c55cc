// Package damage breaks every kind of object in a store in every way, and asks the readers and the check about each: nobody may answer
// wrongly without a word, and the check must find it.
package damage

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/klauspost/compress/zstd"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/check"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
)

const secret = "fustor_secret"

// world is a store with two views of the same history.
type world struct {
	*testing.T
	ctx    context.Context
	dir    string
	st     store.Store
	ledger *session.Ledger
	first  map[string][]byte // objects as they were early in the history
}

// tree is what there is in view a, once all is folded.
func (w *world) tree() []string {
	rows := []evidence.Row{}
	folded, err := w.folded()
	w.must(err)
	w.must(json.Unmarshal([]byte(folded), &rows))
	return present(rows)
}

func present(rows []evidence.Row) (paths []string) {
	for _, r := range rows {
		if !r.Removed {
			paths = append(paths, fmt.Sprint(r.Path(), " ", r.Size))
		}
	}
	return paths
}

// rescan has a new leader scan the tree of view a, and folds that.
func (w *world) rescan(tree []evidence.Row) []string {
	w.Helper()
	state, err := w.ledger.Create(w.ctx, session.Application{View: "a", Task: "again", Agent: "host-3", Source: "fs://host/data", TimeoutSeconds: 3600})
	w.must(err)
	if !state.Leads {
		w.Fatalf("the new session does not lead: %+v", state)
	}
	at := time.Now().UnixNano()
	listing := event.Event{Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: at, Path: "/", Entry: event.Entry{Type: event.Directory, Mode: 0o755}}
	for _, r := range tree {
		if !r.Removed && r.Name != "" {
			listing.Entries = append(listing.Entries, event.Entry{Name: r.Name, Type: r.Type, Size: r.Size, MtimeNs: r.MtimeNs})
		}
	}
	mark := func(kind event.MarkKind) event.Event {
		return event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: at, Path: "/", Mark: event.Mark{Kind: kind}}
	}
	var b bytes.Buffer
	out, err := event.NewWriter(&b, event.Header{View: "a", Session: state.Record.ID, Agent: "host-3", Source: "fs://host/data", Term: state.Term, CreatedAt: 1, Nonce: "n"})
	w.must(err)
	for _, e := range []event.Event{mark(event.SnapshotBegin), listing, mark(event.SnapshotEnd)} {
		w.must(out.Add(&e))
	}
	w.must(out.Close())
	_, err = w.st.Create(w.ctx, layout.Segment("a", state.Record.ID, 0), b.Bytes())
	w.must(err)
	return w.tree()
}

// TestRepair damages each object of a view as a whole (FUSTOR_E2E_LONG=1; otherwise, a ninth of the cases), repairs, has a new leader scan, and compares with the tree.
func TestRepair(t *testing.T) {
	w := newWorld(t, 40)
	all := w.objects()
	folded, err := w.folded()
	w.must(err)
	var tree []evidence.Row
	w.must(json.Unmarshal([]byte(folded), &tree))
	want := present(tree)
	restore := func() {
		w.must(os.RemoveAll(filepath.Join(w.dir, "views")))
		for key, body := range all {
			w.must(os.MkdirAll(filepath.Dir(filepath.Join(w.dir, filepath.FromSlash(key))), 0o755))
			w.put(key, body)
		}
	}
	n, cases, lost := 0, 0, 0
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(key, "views/b/") || key == layout.ViewConfig("b") {
			continue
		}
		for _, h := range w.harms(key, all[key], all, 1)[1:] {
			if n++; unknowable(key, h.how) || os.Getenv("FUSTOR_E2E_LONG") == "" && n%9 != 0 {
				continue
			}
			restore()
			w.put(key, h.body)
			_, actions, err := check.Plan(w.ctx, check.Options{Store: w.st, ReadData: true})
			w.must(err)
			for _, a := range actions {
				if a.Loss != "" {
					lost++
				}
				if err := a.Do(w.ctx); err != nil {
					t.Errorf("%s, %s: %v", key, h.how, err)
				}
			}
			cases++
			for _, f := range w.check(true).Findings {
				if f.Severity == check.Damage && !strings.HasPrefix(f.Mend, "by itself") && !strings.HasPrefix(f.Mend, "`fustor admin version unpin`") && !strings.HasPrefix(f.Mend, "the next merge") {
					t.Errorf("%s, %s: after the repair: %+v", key, h.how, f)
				}
			}
			if t.Failed() {
				t.Fatalf("the repair of %s, %s, was %+v", key, h.how, actions)
			}
			for _, id := range sessionsOf(w) { // their agents begin others
				w.must(w.ledger.End(w.ctx, "a", id, session.ByAdmin))
			}
			w.expire()
			if got := w.rescan(tree); !slices.Equal(got, want) {
				t.Fatalf("%s, %s: the view is\n%v, not\n%v, after %+v", key, h.how, got, want, actions)
			}
		}
	}
	t.Logf("%d repairs, %d steps of which lost something", cases, lost)
}

func sessionsOf(w *world) []string {
	roster, _, err := session.ReadRoster(w.ctx, w.st, "a")
	w.must(err)
	return slices.Sorted(maps.Keys(roster.Sessions))
}

// expire lets the lease run out, if a damaged one holds the view's.
func (w *world) expire() {
	file := filepath.Join(w.dir, filepath.FromSlash(layout.Lease("a")))
	if _, err := os.Stat(file); err == nil {
		old := time.Now().Add(-2 * time.Hour)
		w.must(os.Chtimes(file, old, old))
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) compactor() *compactor.Compactor {
	w.Helper()
	c, err := compactor.New(compactor.Options{Store: w.st, MaxDeltas: 1, PartitionRows: 15, InlinePartitions: 1, Workers: 2, WorkerClaims: 2})
	w.must(err)
	return c
}

func newWorld(t *testing.T, files int) *world {
	t.Helper()
	w := &world{T: t, ctx: t.Context(), dir: t.TempDir()}
	var err error
	w.st, err = local.Open(w.dir)
	w.must(err)
	clock := store.NewClock(time.Now)
	w.ledger, err = session.NewLedger(clock.Watch(w.st), clock, rand.Reader)
	w.must(err)
	w.must(access.Register(w.ctx, w.st, secret, access.Record{Name: "k", Roles: []access.Role{access.Query}, Views: access.AllViews, CreatedAt: 1}))
	w.must(access.Register(w.ctx, w.st, secret+"2", access.Record{Name: "l", Roles: []access.Role{access.Admin}, Views: access.AllViews, CreatedAt: 1}))
	for _, view := range []string{"a", "b"} {
		w.must(viewconfig.Save(w.ctx, w.st, viewconfig.Default(view)))
		w.fill(view, files)
	}
	return w
}

// fill gives a view a leader and a follower, five versions, some segments that are not folded, a scan and a pin.
func (w *world) fill(view string, files int) {
	w.Helper()
	c := w.compactor()
	var ids []string
	seqs := map[string]uint64{}
	for _, agent := range []string{"host-1", "host-2"} {
		state, err := w.ledger.Create(w.ctx, session.Application{View: view, Task: agent, Agent: agent, Source: "fs://host/data", TimeoutSeconds: 3600})
		w.must(err)
		ids = append(ids, state.Record.ID)
	}
	send := func(i int, events ...event.Event) {
		w.Helper()
		var b bytes.Buffer
		out, err := event.NewWriter(&b, event.Header{View: view, Session: ids[i], Agent: fmt.Sprintf("host-%d", i+1), Source: "fs://host/data",
			Seq: seqs[ids[i]], Term: 1, CreatedAt: 1, Nonce: "n"})
		w.must(err)
		for j := range events {
			w.must(out.Add(&events[j]))
		}
		w.must(out.AddNames([]event.OwnerName{{ID: 1000, Name: fmt.Sprint("alice-", view), ResolvedAt: 1}}))
		w.must(out.Close())
		_, err = w.st.Create(w.ctx, layout.Segment(view, ids[i], seqs[ids[i]]), b.Bytes())
		w.must(err)
		seqs[ids[i]]++
	}
	fold := func() {
		w.Helper()
		_, err := c.Fold(w.ctx, view)
		w.must(err)
	}
	const at = 1_700_000_000_000_000_000
	listing := event.Event{Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: at, Path: "/", Entry: event.Entry{Name: "", Type: event.Directory, Mode: 0o755, MtimeNs: at}}
	for i := range files {
		listing.Entries = append(listing.Entries, event.Entry{Name: fmt.Sprintf("file-%s-%06d", view, i), Type: event.File, Size: int64(i), MtimeNs: at - int64(i)*1e9, UID: 1000})
	}
	mark := func(kind event.MarkKind) event.Event {
		return event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: at, Path: "/", Mark: event.Mark{Kind: kind}}
	}
	send(0, mark(event.SnapshotBegin), listing, mark(event.SnapshotEnd))
	fold()
	if view == "a" {
		w.first = w.objects()
	}
	for i := range 4 {
		for s := range ids {
			name := fmt.Sprintf("new-%s-%d-%d", view, s, i)
			send(s, event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at + int64(i+1)*1e9, Path: "/" + name, Atomic: true,
				Entry: event.Entry{Name: name, Type: event.File, Size: 7, MtimeNs: at}})
		}
		if i < 3 {
			fold()
		}
		if i == 0 { // into leaves; the deltas of later folds stay
			for merged := true; merged; {
				var err error
				merged, err = c.Merge(w.ctx, view)
				w.must(err)
			}
		}
	}
	_, err := w.st.Create(w.ctx, layout.MergeClaim(view, "deltas"), []byte(`{"format":1,"nonce":"n"}`)) // of a compactor that died
	w.must(err)
	_, err = job.Ask(w.ctx, w.st, job.Job{View: view, Session: ids[0], Path: []byte("/x")}, at, rand.Reader)
	w.must(err)
	m, _, err := manifest.Load(w.ctx, w.st, view)
	w.must(err)
	if files >= 40 && len(m.Leaves) < 2 || len(m.Deltas) == 0 {
		w.Fatalf("view %s is too simple: %d leaves, %d deltas", view, len(m.Leaves), len(m.Deltas))
	}
	w.must(history.ChangePins(w.ctx, w.st, view, func() (string, error) { return rand.Text(), nil }, func(p history.Pins) error {
		p["kept"] = history.Pin{Version: m.Version - 1, At: 1, PinnedAt: 1}
		return nil
	}))
}

func (w *world) objects() map[string][]byte {
	w.Helper()
	all := map[string][]byte{}
	var keys []string
	for _, prefix := range []string{"views/", "config/"} {
		for after := ""; ; {
			page, err := w.st.List(w.ctx, prefix, after, 0)
			w.must(err)
			for _, i := range page.Items {
				keys = append(keys, i.Key)
				after = i.Key
			}
			if !page.More || len(page.Items) == 0 {
				break
			}
		}
	}
	for _, key := range keys {
		o, err := w.st.Get(w.ctx, key)
		w.must(err)
		all[key] = o.Body
	}
	return all
}

// kind of an object, by its key.
func kind(key string) string {
	p := strings.Split(key, "/")
	switch {
	case p[0] == "config":
		return p[1]
	case len(p) == 2:
		return "bell"
	case len(p) == 3:
		return strings.TrimSuffix(p[2], ".json")
	case p[2] == "layers":
		return "layer" + path.Ext(key)
	}
	return p[2]
}

// answers are what readers say about view a: by question, an answer or, where one fails, nothing.
func (w *world) answers() map[string]string {
	says := map[string]string{}
	say := func(question string, v any, err error) {
		if err == nil {
			b, _ := json.Marshal(v)
			says[question] = string(b)
		}
	}
	config, err := viewconfig.NewLoader(w.st, nil).Load(w.ctx, "a")
	say("settings", config, err)
	keys, err := access.New(access.Options{Store: w.st})
	w.must(err)
	record, err := keys.Authenticate(w.ctx, secret)
	say("key", record, err)
	sessions, err := session.List(w.ctx, w.st, "a")
	for i := range sessions.Sessions {
		sessions.Sessions[i].LastActivity = 0
	}
	sessions.Term = 0 // a damaged lease gives none, and says that nobody leads
	if err == nil && sessions.Leader != "" {
		say("sessions", sessions, err)
	}
	jobs, err := job.List(w.ctx, w.st, "a")
	say("jobs", jobs, err)
	pins, _, err := history.ReadPins(w.ctx, w.st, "a")
	say("pins", pins, err)
	m, _, err := manifest.Load(w.ctx, w.st, "a")
	if err != nil {
		return says
	}
	say("head", m, nil)
	if list, _, err := manifest.List(w.ctx, w.st, "a", 0, 0, nil); err == nil {
		for _, p := range list {
			old, err := manifest.NewLeaves(0, 0).LoadKey(w.ctx, w.st, "a", p.Key)
			say(p.Key, old, err)
		}
	}
	if names, err := manifest.ReadNames(w.ctx, w.st, "a", m.Names); err == nil {
		say("names", names.Name(false, "fs://host/data", 1000), nil)
	}
	rows, err := w.rows(m)
	say("rows", rows, err)
	found, err := w.search(m)
	say("search", found, err)
	return says
}

func (w *world) rows(m *manifest.Manifest) (rows []evidence.Row, err error) {
	v, err := layer.OpenView(w.st, m.View, m.Base, m.Deltas, layer.NewCache(8<<20))
	if err != nil {
		return nil, err
	}
	c := v.Cursor(w.ctx)
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			return nil, err
		}
		r.Parent, r.Name = strings.Clone(r.Parent), strings.Clone(r.Name)
		rows = append(rows, r)
	}
	return rows, c.Err()
}

// search asks the search indexes for a name; a damaged one leaves all row groups.
func (w *world) search(m *manifest.Manifest) (names []string, err error) {
	cache := layer.NewCache(8 << 20)
	var n layer.Needle
	n.Add("-000007", false, true)
	for _, info := range slices.Concat(m.Base, m.Deltas) {
		l := layer.New(w.st, m.View, info, cache)
		set, err := l.MayHave(w.ctx, &n)
		var format *layer.FormatError
		if err != nil && !errors.As(err, &format) {
			return nil, err
		}
		groups, err := l.Groups(w.ctx)
		if err != nil {
			return nil, err
		}
		for g := range groups {
			if set != nil && !set.Has(g) {
				continue
			}
			b, err := l.Block(w.ctx, g)
			if err != nil {
				return nil, err
			}
			for i := range b.Len() {
				if strings.HasSuffix(b.Name(i), "-000007") {
					names = append(names, b.Name(i))
				}
			}
		}
	}
	return names, nil
}

// harm is one way to damage an object.
type harm struct {
	how  string
	body []byte // nil: it is deleted
}

// harms are the ways to damage an object: every byte of a small one is flipped in turn, and some bytes of a large one.
func (w *world) harms(key string, good []byte, all map[string][]byte, flips int) (list []harm) {
	step := max(1, len(good)/flips)
	for i := 0; i < len(good); i += step {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		list = append(list, harm{fmt.Sprintf("a bit of byte %d flipped", i), bad})
	}
	list = append(list, harm{"deleted", nil}, harm{"emptied", []byte{}}, harm{"cut by a byte", good[:max(0, len(good)-1)]}, harm{"cut in half", good[:len(good)/2]},
		harm{"as zeros", make([]byte, len(good))})
	alike := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(other string) bool {
		return kind(other) != kind(key) || bytes.Equal(all[other], good)
	})
	step = 1
	if os.Getenv("FUSTOR_E2E_LONG") == "" {
		step = max(1, len(alike)/4)
	}
	for i := 0; i < len(alike); i += step {
		list = append(list, harm{"as " + alike[i], all[alike[i]]})
	}
	if early := w.first[key]; early != nil && !bytes.Equal(early, good) {
		list = append(list, harm{"as it was before", early})
	}
	return list
}

// unknowable says whether nothing in the store can tell that an object was deleted, or was another one once: what people set and asked
// for leaves no other trace.
func unknowable(key, how string) bool {
	switch kind(key) {
	case "views", "keys", "pins", "commands":
		return how == "deleted" || how == "as it was before"
	case "sessions", "lease":
		return how == "as it was before"
	case "bell", "merging":
		return true // only its changes count, and nobody reads it
	case "manifests":
		return how == "deleted" // a version of the history that is not current and not pinned: it may have been thinned out
	case "segments":
		return how == "deleted" // the last one that is not folded: it might never have been sent
	}
	return false
}

type counts struct{ cases, silent, missed, unknowable, stale, harmless int }

// TestEveryDamageIsNamed damages every kind of object of a view in every way. FUSTOR_E2E_LONG=1 flips a bit in each byte of
// each object of up to 2 KiB, and in a thousand bytes of the others; otherwise in eight, each object is replaced by some
// of its kind instead of by all, and folded segments are left out.
func TestEveryDamageIsNamed(t *testing.T) {
	flips, files, long := 8, 40, os.Getenv("FUSTOR_E2E_LONG") != ""
	if long {
		flips = 1024
	}
	w := newWorld(t, files)
	all := w.objects()
	want := w.answers()
	for _, question := range []string{"settings", "key", "sessions", "jobs", "pins", "head", "names", "rows", "search"} {
		if want[question] == "" || want[question] == "null" {
			t.Fatalf("there is no answer to %q to begin with: %v", question, want)
		}
	}
	if r := w.check(true); r.Damaged() > 0 {
		t.Fatalf("the check finds damage in a sound store: %+v", r.Findings)
	}
	folded, err := w.folded()
	w.must(err)
	for key := range w.objects() {
		if _, there := all[key]; !there {
			w.put(key, nil)
		}
	}
	for key, body := range all {
		w.put(key, body)
	}
	by := map[string]*counts{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(key, "views/b/") || key == layout.ViewConfig("b") || kind(key) == "doctor.json" || key == layout.ViewsBell {
			continue
		}
		if !long && needless(w, key) {
			continue
		}
		n := by[kind(key)]
		if n == nil {
			n = &counts{}
			by[kind(key)] = n
		}
		for _, h := range w.harms(key, all[key], all, flips) {
			w.put(key, h.body)
			n.cases++
			wrong := w.wrong(want, kind(key) == "sessions" && h.body == nil)
			views := []string{"a"}
			if kind(key) == "keys" {
				views = nil
			}
			data := strings.HasPrefix(kind(key), "layer") || kind(key) == "segments"
			found := w.check(data, views...).Damaged() > 0
			if wrong == "" && !strings.HasPrefix(h.how, "a bit") && strings.HasPrefix(key, "views/a/") && kind(key) != "segments" {
				wrong = w.foldsWrongly(folded)
			}
			switch {
			case unknowable(key, h.how):
				n.unknowable++
			case wrong != "" && h.how == "as it was before" && found:
				n.stale++ // a reader that has just begun cannot know better without a LIST; the compactor and the check do
			case wrong != "":
				n.silent++
				t.Errorf("%s, %s: %s", key, h.how, wrong)
			}
			if !found && (kind(key) == "segments" || kind(key) == "manifests") && sameFrame(all[key], h.body) {
				n.harmless++ // a bit that means nothing to Zstandard: all that is read is as it was
			} else if !found && !unknowable(key, h.how) && !needless(w, key) {
				n.missed++
				t.Errorf("%s, %s: the check finds nothing", key, h.how)
			}
			w.put(key, all[key])
		}
	}
	total := counts{}
	for _, k := range slices.Sorted(maps.Keys(by)) {
		t.Logf("%-14s %+v", k, *by[k])
		total.cases += by[k].cases
		total.unknowable += by[k].unknowable
		total.stale += by[k].stale
	}
	t.Logf("%d cases, of which the store cannot tell %d, and a reader alone %d", total.cases, total.unknowable, total.stale)
}

// sameFrame reports whether two objects are Zstandard frames with checksums that hold the same.
func sameFrame(a, b []byte) bool {
	z, err := zstd.NewReader(nil)
	if err != nil {
		return false
	}
	defer z.Close()
	x, err := z.DecodeAll(a, nil)
	y, other := z.DecodeAll(b, nil)
	return err == nil && other == nil && bytes.Equal(x, y)
}

// needless reports whether nobody will read an object again: a segment that is folded, until retention removes it.
func needless(w *world, key string) bool {
	_, id, seq, ok := layout.SplitSegment(key)
	if !ok {
		return false
	}
	m, _, err := manifest.Load(w.ctx, w.st, "a")
	return err == nil && seq < m.Sessions[id].Next
}

func (w *world) check(data bool, views ...string) check.Report {
	w.Helper()
	r, err := check.Run(w.ctx, check.Options{Store: w.st, ReadData: data, Views: views})
	w.must(err)
	return r
}

func (w *world) put(key string, body []byte) {
	w.Helper()
	file := filepath.Join(w.dir, filepath.FromSlash(key)) // as a disk would change it
	if body == nil {
		w.must(os.Remove(file))
		return
	}
	w.must(os.WriteFile(file, body, 0o600))
}

// wrong is the first question that is answered, and not as it should be. A session without a record is over, and right not to be listed.
func (w *world) wrong(want map[string]string, over bool) string {
	got := w.answers()
	if over {
		delete(got, "sessions")
	}
	for _, question := range slices.Sorted(maps.Keys(want)) {
		if answer, answered := got[question]; answered && answer != want[question] {
			return fmt.Sprintf("%s: %.300s, not %.300s", question, answer, want[question])
		}
	}
	return ""
}

// foldsWrongly reports what is wrong with what a new compactor makes of the damaged store, if it does not say so itself. The store is as
// before afterwards.
func (w *world) foldsWrongly(want string) string {
	w.Helper()
	damaged := w.objects()
	got, err := w.folded()
	for key := range w.objects() {
		if _, there := damaged[key]; !there {
			w.put(key, nil)
		}
	}
	for key, body := range damaged {
		w.put(key, body)
	}
	if err == nil && got != want {
		return fmt.Sprintf("a fold makes of it %.300s", got)
	}
	return ""
}

// folded is what view a has once all is folded.
func (w *world) folded() (string, error) {
	c := w.compactor()
	for {
		n, err := c.Fold(w.ctx, "a")
		if err != nil {
			return "", err
		}
		if n == 0 {
			break
		}
	}
	m, _, err := manifest.Load(w.ctx, w.st, "a")
	if err != nil {
		return "", err
	}
	rows, err := w.rows(m)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(rows)
	return string(b), err
}
