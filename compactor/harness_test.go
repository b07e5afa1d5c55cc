package compactor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
)

// tb is what the harness needs of *testing.T and *rapid.T alike.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

const viewName = "v"

// harness is one view in a real store, with sessions that write segments and a compactor.
type harness struct {
	changes time.Duration // how long they are kept as a table
	tb
	ctx      context.Context
	store    store.Store
	c        *Compactor
	sessions []*teller
}

// teller is a session under test: it queues events and sends them as segments.
type teller struct {
	h      *harness
	id     string
	agent  string
	term   uint64
	local  bool
	leads  int64 // until when, ns; 0 does not say
	seq    uint64
	queued []event.Event
	names  []event.OwnerName // of the next segment
}

func newHarness(t tb, dir string, staleness time.Duration, o Options) *harness {
	t.Helper()
	st, err := local.Open(dir)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	h := &harness{tb: t, ctx: context.Background(), store: st}
	config := viewconfig.Default(viewName)
	config.StalenessSeconds = staleness.Seconds()
	if err := viewconfig.Save(h.ctx, st, config); err != nil {
		t.Fatalf("save config: %v", err)
	}
	o.Store = st
	h.c = h.compactor(o)
	return h
}

// keep sets the policy of the view's history, for compactors that have not read its settings yet.
func (h *harness) keep(p history.Policy) {
	h.Helper()
	config := viewconfig.Default(viewName)
	config.StalenessSeconds = 0
	config.KeepWithinSeconds = p.Within.Seconds()
	if p.Within == history.Unlimited {
		config.KeepWithinSeconds = history.Unlimited
	}
	config.IcebergChangesSeconds = h.changes.Seconds()
	config.KeepHourly, config.KeepDaily, config.KeepWeekly, config.KeepMonthly, config.KeepYearly = p.Hourly, p.Daily, p.Weekly, p.Monthly, p.Yearly
	if err := viewconfig.Save(h.ctx, h.store, config); err != nil {
		h.Fatalf("save config: %v", err)
	}
}

func (h *harness) compactor(o Options) *Compactor {
	h.Helper()
	o.Store = h.store
	c, err := New(o)
	if err != nil {
		h.Fatalf("new compactor: %v", err)
	}
	return c
}

// teller is a session that may list directories though another one leads, as by the lease of an earlier build.
func (h *harness) teller(name string) *teller {
	h.Helper()
	s := h.enrol(name)
	o, err := h.store.Get(h.ctx, layout.Lease(viewName))
	if err != nil {
		h.Fatalf("read lease: %v", err)
	}
	plain, err := seal.Open(layout.Lease(viewName), o.Body)
	var lease session.Lease
	if err == nil {
		err = json.Unmarshal(plain, &lease)
	}
	if err != nil {
		h.Fatalf("read lease: %v", err)
	}
	lease.Terms = nil
	h.overwrite(layout.Lease(viewName), lease)
	return s
}

// enrol makes a session, which leads if it is the first.
func (h *harness) enrol(name string) *teller {
	h.Helper()
	state, err := h.c.ledger.Create(h.ctx, session.Application{
		View: viewName, Task: name, Agent: name, Source: "fs://" + name + "/data", TimeoutSeconds: 3600})
	if err != nil {
		h.Fatalf("create session: %v", err)
	}
	s := &teller{h: h, id: state.Record.ID, agent: name, term: state.Term}
	h.sessions = append(h.sessions, s)
	return s
}

// rename makes the session that of another agent.
func (s *teller) rename(agent string) {
	s.h.Helper()
	roster, _, err := session.ReadRoster(s.h.ctx, s.h.store, viewName)
	if err != nil {
		s.h.Fatalf("read roster: %v", err)
	}
	entry := roster.Sessions[s.id]
	entry.Agent, entry.Source = agent, ""
	roster.Sessions[s.id] = entry
	s.h.overwrite(layout.Roster(viewName), roster)
	s.agent = agent
}

// takes gives the session the view's lease in a new term.
func (s *teller) takes(term uint64) {
	s.h.Helper()
	s.h.overwrite(layout.Lease(viewName), session.Lease{Term: term, Session: s.id, TTLSeconds: 3600, Nonce: fmt.Sprint(term)})
	s.term = term
}

func (h *harness) overwrite(key string, value any) {
	h.Helper()
	body, err := json.Marshal(value)
	if err == nil {
		_, err = h.store.Put(h.ctx, key, body)
	}
	if err != nil {
		h.Fatalf("overwrite %s: %v", key, err)
	}
}

func (s *teller) tell(events ...event.Event) { s.queued = append(s.queued, events...) }

// send makes one segment of what is queued.
func (s *teller) send() {
	s.h.Helper()
	if len(s.queued) == 0 {
		return
	}
	var b bytes.Buffer
	w, err := event.NewWriter(&b, event.Header{View: viewName, Session: s.id, Agent: s.agent, Source: "fs://" + s.agent + "/data",
		Seq: s.seq, Term: s.term, CreatedAt: 1, Nonce: fmt.Sprint(s.id, s.seq), Local: s.local, LeaseUntil: s.leads, SkewKnown: s.leads != 0})
	if err != nil {
		s.h.Fatalf("new segment: %v", err)
	}
	for i := range s.queued {
		if err := w.Add(&s.queued[i]); err != nil {
			s.h.Fatalf("add %+v: %v", s.queued[i], err)
		}
	}
	if err := w.AddNames(s.names); err != nil {
		s.h.Fatalf("add names: %v", err)
	}
	if err := w.Close(); err != nil {
		s.h.Fatalf("close segment: %v", err)
	}
	if _, err := s.h.store.Create(s.h.ctx, layout.Segment(viewName, s.id, s.seq), b.Bytes()); err != nil {
		s.h.Fatalf("write segment: %v", err)
	}
	s.seq++
	s.queued, s.names = nil, nil
}

func (h *harness) fold() int {
	h.Helper()
	n, err := h.c.Fold(h.ctx, viewName)
	if err != nil {
		h.Fatalf("%v", err)
	}
	return n
}

func (h *harness) merge() bool {
	h.Helper()
	merged, err := h.c.Merge(h.ctx, viewName)
	if err != nil {
		h.Fatalf("%v", err)
	}
	return merged
}

// toBase merges all deltas into the base, ripe or not.
func (h *harness) toBase() {
	h.Helper()
	for len(h.head().Deltas) > 0 {
		head := h.head()
		p := plan{deltas: head.Deltas}
		spans, err := h.c.spans(h.ctx, head.Manifest)
		if err != nil {
			h.Fatalf("%v", err)
		}
		for i := range spans {
			if len(stretches(head.Manifest, spans[i].from, spans[i].to)) > 0 {
				p = plan{span: &spans[i]}
				break
			}
		}
		if err := h.c.step(h.ctx, head, p, time.Now().Add(time.Hour)); err != nil {
			h.Fatalf("%v", err)
		}
	}
}

func (h *harness) once() {
	h.Helper()
	if _, err := h.c.Once(h.ctx, viewName); err != nil {
		h.Fatalf("%v", err)
	}
}

func (h *harness) head() version {
	h.Helper()
	m, err := h.c.current(h.ctx, viewName)
	if err != nil {
		h.Fatalf("%v", err)
	}
	return m
}

// rows reads the whole view with a cache of its own, tombstones included.
func (h *harness) rows() map[string]evidence.Row {
	h.Helper()
	m := h.head()
	v, err := layer.OpenView(h.store, viewName, m.Base, m.Deltas, layer.NewCache(8<<20))
	if err != nil {
		h.Fatalf("%v", err)
	}
	rows := map[string]evidence.Row{}
	c := v.Cursor(h.ctx)
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			h.Fatalf("%v", err)
		}
		r.Parent, r.Name = strings.Clone(r.Parent), strings.Clone(r.Name)
		rows[r.Path()] = r
	}
	if c.Err() != nil {
		h.Fatalf("%v", c.Err())
	}
	return rows
}

// present reads the view without tombstones, and checks that every directory's totals are the sums over its rows and
// that every row's parent is a directory.
func (h *harness) present() map[string]evidence.Row {
	h.Helper()
	rows := h.rows()
	maps.DeleteFunc(rows, func(_ string, r evidence.Row) bool { return r.Removed })
	sums := map[string]evidence.Totals{}
	for path, r := range rows {
		for p := path; ; p = up(p) {
			if parent, ok := rows[p]; !ok || p != path && parent.Type != event.Directory {
				h.Fatalf("%s has no directory %s above it", path, p)
			}
			if sum, ok := sums[p]; ok {
				sums[p] = sum.Plus(r.Own())
			} else {
				sums[p] = r.Own()
			}
			if p == "/" {
				break
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(rows)) {
		if r := rows[path]; r.Type == event.Directory && r.Sub != sums[path] {
			h.Fatalf("totals of %s are %+v, the sums over its rows are %+v", path, r.Sub, sums[path])
		}
	}
	open := map[string]bool{} // of directories, whether they are
	for _, path := range slices.Backward(slices.SortedFunc(maps.Keys(rows), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "/"), strings.Count(b, "/")), cmp.Compare(len(a), len(b)))
	})) {
		r := rows[path]
		if r.Type != event.Directory {
			continue
		}
		if _, closed := open[path]; !closed {
			open[path] = true
		}
		if r.Open != open[path] {
			h.Fatalf("%s is said to be open: %v, but by its rows: %v", path, r.Open, open[path])
		}
		if above := rows[up(path)]; path != "/" && !(open[path] && permission.Covers(rightsOf(&r, true), rightsOf(&above, true))) {
			open[up(path)] = false
		}
	}
	if _, ok := rows["/"]; !ok {
		sums["/"] = evidence.Totals{LatestMtimeNs: h.head().Totals.LatestMtimeNs} // a view that never had anything says 0
	}
	if h.head().Totals != sums["/"] {
		h.Fatalf("totals of the manifest are %+v, the sums over all rows are %+v", h.head().Totals, sums["/"])
	}
	return rows
}

func up(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// epoch begins an epoch of the view: the first session of a view without one would begin it, and empty the view.
func (h *harness) epoch() string {
	h.Helper()
	epoch, err := h.c.ledger.NewEpoch(h.ctx, viewName)
	if err != nil {
		h.Fatalf("begin an epoch: %v", err)
	}
	return epoch
}
