package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/maypok86/otter/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/query/report"
)

// A restricted reader is shown what the kernel would show that user through the root of the view. What is hidden does not exist: the
// engine passes over it before it counts, limits, sorts or sums up anything.
//
// The rows of a version are behind a guard. It gives them to whoever is not restricted (all), and otherwise only together with a gate,
// through which every row must pass. So a question that knows nothing of readers is refused to them, and does not leak.

type readerKey struct{}

// asker is the user as whom a context asks.
type asker struct {
	who permission.Identity
	mu  sync.Mutex
	// newest are the newest versions of views, as of the first question about each: one question has the same rights from end to end.
	newest map[string]*Version
}

// WithReader makes what is asked under the context be answered as a user's file permissions allow.
func WithReader(ctx context.Context, who permission.Identity) context.Context {
	return context.WithValue(ctx, readerKey{}, &asker{who: who, newest: map[string]*Version{}})
}

// Afresh is a context for another question of the same reader, for what goes on for long: today's rights are asked for again.
func Afresh(ctx context.Context) context.Context {
	if who, restricted := ReaderOf(ctx); restricted {
		return WithReader(ctx, who)
	}
	return ctx
}

// ReaderOf is the user as whom a context asks; false: the context asks for everything.
func ReaderOf(ctx context.Context) (who permission.Identity, restricted bool) {
	if a, ok := ctx.Value(readerKey{}).(*asker); ok {
		return a.who, true
	}
	return who, false
}

// newestFor is the newest version of v's view; nil: v is it.
func (a *asker) newestFor(ctx context.Context, v *Version) (*Version, error) {
	view := v.Manifest.View
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.newest[view]
	if now == nil || now.Manifest.Version < v.Manifest.Version {
		var err error
		if now, err = v.newest(ctx, view); err != nil {
			return nil, err
		}
		a.newest[view] = now
	}
	if now.Manifest.Version <= v.Manifest.Version {
		return nil, nil
	}
	return now, nil
}

// ReaderTag tells the readers of contexts apart, in ETags and cursors; empty: the context asks for everything.
func ReaderTag(ctx context.Context) string {
	who, restricted := ReaderOf(ctx)
	if !restricted {
		return ""
	}
	sum := sha256.Sum256([]byte(who.Key()))
	return hex.EncodeToString(sum[:8])
}

// ReaderParts are what two calls must have in common for a cursor of one to serve the other: the parts, and who asks.
func ReaderParts(ctx context.Context, parts []string) []string {
	if tag := ReaderTag(ctx); tag != "" {
		return append([]string{"reader", tag}, parts...)
	}
	return parts
}

// ErrRestricted: the question is not yet answered to a reader who may not see everything.
var ErrRestricted = errors.New("this question is not answered as file permissions allow, only to those who may see everything")

// NotReadableError: the reader may not list the directory.
type NotReadableError struct{ Path string }

func (e *NotReadableError) Error() string {
	return fmt.Sprintf("permission denied: you may not list directory %q", cmp.Or(e.Path, "/"))
}

// all are the rows of a range of the version for a reader who may see everything, who asks for another range next; ErrRestricted for others.
func (v *Version) all(ctx context.Context, of, next keyRange) (*layer.View, error) {
	g, err := v.gate(ctx)
	if err == nil && g != nil {
		err = ErrRestricted
	}
	if err == nil {
		err = v.ReadError(v.rows.ahead(ctx, of, next))
	}
	if err != nil {
		return nil, err
	}
	return v.rows.through(ctx, g, of)
}

// gate decides for one question what its reader may see of a version. A nil gate lets everything through.
type gate struct {
	ctx   context.Context
	v     *Version
	who   permission.Identity
	rules permission.Rules
	known *standings
	// now is the gate of the newest version, if v is an earlier one: what is hidden now is hidden in earlier versions, too.
	now *gate
}

// judge is as whom the reader of a context is judged in a view, and by which rules.
type judge struct {
	who      permission.Identity
	squashed bool // it is root, taken for nobody
	rules    permission.Rules
}

// judge is that of the context's reader; nil: there is none, and everything is shown.
func (v *Version) judge(ctx context.Context) (*judge, error) {
	who, restricted := ReaderOf(ctx)
	if !restricted {
		return nil, nil
	}
	config, err := v.configs.Load(ctx, v.Manifest.View)
	if err != nil {
		return nil, err
	}
	j := &judge{who: who, squashed: config.RootSquash && who.IsRoot(), rules: permission.Rules{TrustModes: config.TrustModes}}
	if j.squashed {
		j.who = who.Squashed()
	}
	return j, nil
}

// gate is that of the context's reader; nil if the reader may see everything.
func (v *Version) gate(ctx context.Context) (*gate, error) {
	j, err := v.judge(ctx)
	if err != nil || j == nil || j.who.IsRoot() {
		return nil, err
	}
	g := v.gateOf(ctx, j.who, j.rules)
	newest, err := ctx.Value(readerKey{}).(*asker).newestFor(ctx, v)
	if err == nil && newest != nil {
		g.now = newest.gateOf(ctx, j.who, j.rules)
	}
	return g, err
}

// gateOf is a gate by the rights that the version has itself.
func (v *Version) gateOf(ctx context.Context, who permission.Identity, rules permission.Rules) *gate {
	g := &gate{ctx: ctx, v: v, who: who, rules: rules}
	key := fmt.Sprintf("%s\x00%t\x00%s", v.Manifest.Key(), rules.TrustModes, who.Key())
	g.known, _ = v.standings.ComputeIfAbsent(key, func() (*standings, bool) {
		return &standings{of: map[string]standing{}, today: map[string]standing{}}, false
	})
	return g
}

// by is by which rules, and which other version's rights, a gate decides, for caches.
func (g *gate) by() string {
	by := strconv.FormatBool(g.rules.TrustModes)
	if g.now != nil {
		by += g.now.v.Manifest.Key()
	}
	return by
}

// verdict is what a gate lets through of the entries of a directory.
type verdict uint8

const (
	nothing verdict = iota
	names           // names and types
	everything
)

// standing is how a reader stands to a directory, in a form that does not depend on where a question begins.
type standing struct {
	// enter: the reader may search the directory and all directories above it, so that attributes of its entries are shown.
	enter bool
	// listed is the length of the shortest Parent such that a question that begins in that directory finds the names here: it may read
	// and search all directories from there on, and read this one. -1: the names are not shown.
	listed int32
}

// closed is how a reader stands to what is below a directory that may not be searched, and to what is no directory.
var closed = standing{listed: -1}

// and is how a reader stands whom both allow.
func (s standing) and(o standing) standing {
	both := standing{enter: s.enter && o.enter, listed: -1}
	if s.listed >= 0 && o.listed >= 0 {
		both.listed = max(s.listed, o.listed)
	}
	return both
}

// standings are how one reader stands to the directories of one version, by the Parent of their entries.
type standings struct {
	mu    sync.Mutex
	of    map[string]standing
	today map[string]standing        // to the paths of directories of earlier versions
	sums  map[sumKey]evidence.Totals // of what is below
	whole map[sumKey]bool            // gate.wholly
	// opened are the answers of Diff.opened, by the other version, the path and the versions that decide.
	opened map[[3]string][]keyRange
}

// sumKey is a directory, as the Parent of its entries, and by which versions' rights its sum was made.
type sumKey struct{ dir, by string }

const (
	// maxStandings bounds the directories that one reader's standings keep; beyond it, they are all forgotten.
	maxStandings = 1 << 16
	// maxReaders bounds the readers (and versions) whose standings are kept: about 8 MB each, at most.
	maxReaders = 12
)

func newStandings() *otter.Cache[string, *standings] {
	return otter.Must(&otter.Options[string, *standings]{MaximumSize: maxReaders})
}

func (s *standings) get(in map[string]standing, dir string) (standing, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := in[dir]
	return known, ok
}

func (s *standings) set(in map[string]standing, dir string, at standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(in) >= maxStandings {
		clear(in)
	}
	in[strings.Clone(dir)] = at
}

// standing is how the reader stands to the directory whose entries have a Parent: in the version, and in the newest one.
func (g *gate) standing(dir string) (standing, error) {
	at, err := g.own(dir)
	if err != nil || g.now == nil || at == closed {
		return at, err
	}
	now, err := g.now.toPath(dir)
	return at.and(now), err
}

// toPath is how the reader stands to a directory of an earlier version by today's rights. One that is no longer there, or no longer a
// directory, is as open as the one above it.
func (g *gate) toPath(dir string) (standing, error) {
	return g.climb(g.known.today, dir, func(above standing) standing {
		if above.listed < 0 {
			above.listed = int32(len(dir))
		}
		return above
	})
}

// own is how the reader stands to a directory by the rights that the version has itself.
func (g *gate) own(dir string) (standing, error) {
	return g.climb(g.known.of, dir, func(standing) standing { return closed })
}

// climb is how the reader stands to a directory: by its rights, and by those of every directory above. gone is how the reader stands to
// one that is not there, given the standing to the one above it. What it finds is kept in known.
func (g *gate) climb(known map[string]standing, dir string, gone func(above standing) standing) (standing, error) {
	if at, ok := g.known.get(known, dir); ok {
		return at, nil
	}
	above := standing{enter: true, listed: -1}
	if dir != "/" {
		var err error
		if above, err = g.climb(known, parentOf(dir), gone); err != nil {
			return closed, err
		}
	}
	// Below what may not be searched nothing is looked up, so that what is there does not tell by the time that it takes.
	at := closed
	if above.enter {
		row, found, err := g.access(dir)
		if err != nil {
			return closed, err
		}
		if found && row.Type == event.Directory {
			at = g.below(above, dir, &row)
		} else {
			at = gone(above)
		}
	}
	g.known.set(known, dir, at)
	return at, nil
}

// parentOf is the Parent of the entries of the directory above, given that of the entries of a directory that is not the root.
func parentOf(dir string) string { return dir[:strings.LastIndexByte(dir[:len(dir)-1], '/')+1] }

// below is how the reader stands to a directory that may be reached, given how it stands to the one above.
func (g *gate) below(above standing, dir string, row *evidence.Row) standing {
	rights := g.rules.Rights(g.who, directoryOf(row))
	at := standing{enter: rights.Has(permission.Search), listed: -1}
	if rights.Has(permission.Read) {
		at.listed = int32(len(dir))
		if dir != "/" && above.listed >= 0 { // above.enter holds
			at.listed = above.listed
		}
	}
	return at
}

func directoryOf(row *evidence.Row) permission.Directory {
	return permission.Directory{UID: row.UID, GID: row.GID, Mode: row.Mode, ACL: row.ACL}
}

// access reads what decides on the rights to the directory whose entries have a Parent.
func (g *gate) access(dir string) (row evidence.Row, found bool, err error) {
	k := layer.KeyOf(strings.TrimSuffix(dir, "/"))
	if dir == "/" {
		k = layer.KeyOf("/")
	}
	view, err := g.v.rows.through(g.ctx, g, one(k))
	if err != nil {
		return row, false, g.v.ReadError(err)
	}
	c := view.Cursor(g.ctx).Until(keyAfter(k))
	if !c.Seek(k) {
		return row, false, g.v.ReadError(c.Err())
	}
	b, i, _ := c.Span()
	if err := b.LoadKeys(); err != nil {
		return row, false, g.v.ReadError(err)
	}
	err = b.Access(i, &row)
	return row, err == nil && !row.Removed, g.v.ReadError(err)
}

// note takes in a directory that a pass over rows meets, so that it need not be looked up.
func (g *gate) note(row *evidence.Row) error {
	if g == nil || row.Type != event.Directory {
		return nil
	}
	above := standing{enter: true, listed: -1}
	if row.Parent != "" {
		var err error
		if above, err = g.own(row.Parent); err != nil {
			return err
		}
	}
	at, dir := closed, row.ChildParent()
	if above.enter {
		at = g.below(above, dir, row)
	}
	g.known.set(g.known.of, dir, at)
	return nil
}

// entries is what the gate lets through of the entries with a Parent, for a question that begins at the directory start, itself given as
// the Parent of its entries.
func (g *gate) entries(start, parent string) (verdict, error) {
	if g == nil {
		return everything, nil
	}
	at, err := g.standing(parent)
	switch {
	case err != nil:
		return nothing, err
	case at.listed < 0 || int(at.listed) > len(start):
		return nothing, nil
	case at.enter:
		return everything, nil
	}
	return names, nil
}

// knows reports whether the attributes of an entry with a Parent are shown to who names its path.
func (g *gate) knows(parent string) (bool, error) {
	if g == nil || parent == "" { // the root: what is above it is not known here
		return true, nil
	}
	at, err := g.standing(parent)
	return at.enter, err
}

// mayList is a NotReadableError if the reader may not list the directory whose entries have a Parent.
func (v *Version) mayList(ctx context.Context, parent string) error {
	g, err := v.gate(ctx)
	if err != nil {
		return err
	}
	let, err := g.entries(parent, parent)
	if err == nil && let == nothing {
		err = &NotReadableError{strings.TrimSuffix(parent, "/")}
	}
	return err
}

// MayScan is an error unless the reader may ask for a scan of a path: NoPathError where the reader sees no such path, NotReadableError where
// the reader may not list it.
func (v *Version) MayScan(ctx context.Context, path string) error {
	row, err := v.Lookup(ctx, path)
	if err == nil && row.Type == event.Directory {
		err = v.mayList(ctx, row.ChildParent())
	}
	return err
}

// conceal takes out of a row what the reader may not see of it. Totals count what is hidden, too.
func (g *gate) conceal(row *evidence.Row, v verdict) {
	if g == nil {
		return
	}
	if v == names {
		*row = evidence.Row{Parent: row.Parent, Name: row.Name, Type: row.Type, Hidden: evidence.HiddenAttributes}
	}
	if row.Type == event.Directory {
		row.Sub, row.Hidden = evidence.Totals{LatestMtimeNs: evidence.NoMtime}, row.Hidden|evidence.HiddenTotals
	}
}

// maxSums bounds the directories whose sums a reader's standings keep.
const maxSums = 1 << 10

// Sum sets what is below a directory, as far as its reader may see it: the sum of what find shows from there on. What Lookup hides of a
// row is then there. Where everything below is open to all who may list the directory, that is what its row has; otherwise the entries of
// those directories are read that are not. The sum is kept for the same reader and version.
func (v *Version) Sum(ctx context.Context, dir *evidence.Row) error {
	if dir.Hidden != evidence.HiddenTotals {
		return nil
	}
	g, err := v.gate(ctx)
	if err != nil {
		return err
	}
	start := dir.ChildParent()
	sum, known := g.known.sum(sumKey{start, g.by()})
	if !known {
		sum = dir.Own()
		let, err := g.entries(start, start)
		if err != nil {
			return err
		}
		if let == everything {
			if sum, err = v.sumAt(ctx, g, dir); err != nil {
				return v.ReadError(err)
			}
		}
		g.known.setSum(sumKey{start, g.by()}, sum)
	}
	dir.Sub, dir.Hidden = sum, 0
	return nil
}

// sumAt is the sum of a directory that the reader may list, and of what is below it.
func (v *Version) sumAt(ctx context.Context, g *gate, dir *evidence.Row) (sum evidence.Totals, err error) {
	start := dir.ChildParent()
	stored := evidence.Row{}
	if _, err := v.get(ctx, g, layer.Key{Parent: dir.Parent, Name: dir.Name}, &stored); err != nil {
		return sum, err
	}
	costOf(ctx).rows.Add(1)
	if open, err := g.open(&stored); err != nil {
		return sum, err
	} else if open {
		return stored.Sub, nil
	}
	view, err := v.rows.through(ctx, g, below(start))
	if err != nil {
		return sum, err
	}
	inside, err := report.Scope{View: view, Root: dir}.AdmittedTotals(ctx, g.admission(start))
	return dir.Own().Plus(inside), err
}

// admission says what the reader sees of what is in a directory, for a sum of what is below the directory start, itself given as the
// Parent of its entries: the stored totals serve where everything is open.
func (g *gate) admission(start string) report.Admit {
	return func(d *evidence.Row) (report.Admission, error) {
		costOf(g.ctx).rows.Add(1)
		if err := g.note(d); err != nil {
			return report.Nothing, err
		}
		let, err := g.entries(start, d.ChildParent())
		if err != nil || let != everything {
			return report.Nothing, err
		}
		if open, err := g.open(d); err != nil || !open {
			return report.Within, err
		}
		return report.Stored, nil
	}
}

// side is the scope of a sum of what the reader sees below a directory of the version, which need not be there. Without a gate, all counts.
func (v *Version) side(ctx context.Context, g *gate, root *evidence.Row) (report.Side, error) {
	start := root.ChildParent()
	view, err := v.rows.through(ctx, g, below(start))
	side := report.Side{Scope: report.Scope{View: view, Root: root}, Of: report.Stored}
	if g == nil || err != nil {
		return side, v.ReadError(err)
	}
	side.Admit = g.admission(start)
	let, err := g.entries(start, start)
	switch {
	case err != nil:
		return side, err
	case let != everything:
		side.Of = report.Nothing
		return side, nil
	}
	if whole, err := g.wholly(start); err != nil || !whole {
		side.Of = report.Within
		return side, err
	}
	return side, nil
}

// open reports whether the reader, who may list a directory of the version, may list all directories below: by the rights of the version,
// and by today's. What is gone today is as open as the directory above it.
func (g *gate) open(dir *evidence.Row) (bool, error) {
	switch {
	case dir.Sub.Directories == 1: // there is none below
		return true, nil
	case !dir.Open || g.now == nil:
		return dir.Open, nil
	}
	var today evidence.Row
	found, err := g.now.v.get(g.ctx, g.now, layer.Key{Parent: dir.Parent, Name: dir.Name}, &today)
	return !found || today.Removed || today.Type != event.Directory || today.Open, g.v.ReadError(err)
}

func (s *standings) sum(dir sumKey) (evidence.Totals, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.sums[dir]
	return t, ok
}

func (s *standings) setSum(dir sumKey, t evidence.Totals) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil || len(s.sums) >= maxSums {
		s.sums = map[sumKey]evidence.Totals{}
	}
	s.sums[sumKey{strings.Clone(dir.dir), dir.by}] = t
}

// wholly reports whether everything below the directory start, itself given as the Parent of its entries, is let through for a question
// that begins there: the reader may list it, and it is open. Then no other directory has to be asked about.
func (g *gate) wholly(start string) (bool, error) {
	if g == nil {
		return true, nil
	}
	key := sumKey{start, g.by()}
	g.known.mu.Lock()
	whole, known := g.known.whole[key]
	g.known.mu.Unlock()
	if known {
		return whole, nil
	}
	let, err := g.entries(start, start)
	if err == nil && let == everything {
		row, k := evidence.Row{}, layer.KeyOf("/")
		if start != "/" {
			k = layer.KeyOf(strings.TrimSuffix(start, "/"))
		}
		var found bool
		if found, err = g.v.get(g.ctx, g, k, &row); err == nil && found {
			whole, err = g.open(&row)
		}
	}
	if err != nil {
		return false, g.v.ReadError(err)
	}
	g.known.mu.Lock()
	defer g.known.mu.Unlock()
	if g.known.whole == nil || len(g.known.whole) >= maxSums {
		g.known.whole = map[sumKey]bool{}
	}
	g.known.whole[sumKey{strings.Clone(start), key.by}] = whole
	return whole, nil
}

// noteAll takes in the directories among the rows from to to-1 of a block, which a pass over everything below start meets.
func (g *gate) noteAll(start string, b *layer.Block, from, to int) error {
	if whole, err := g.wholly(start); err != nil || whole {
		return err
	}
	if err := b.LoadKeys(); err != nil {
		return err
	}
	if b.Group().Types&(1<<event.Directory) == 0 {
		return nil
	}
	types, err := b.Numbers(layer.ColumnType)
	if err != nil {
		return err
	}
	var row evidence.Row
	for i := from; i < to; {
		end := min(to, b.ParentEnd(i))
		let, err := g.entries(start, b.Parent(i))
		if err != nil {
			return err
		}
		for ; let == everything && i < end; i++ {
			if event.Type(types.At(i)) != event.Directory {
				continue
			}
			if err := b.Access(i, &row); err != nil {
				return err
			}
			if row.Removed {
				continue
			}
			if err := g.note(&row); err != nil {
				return err
			}
		}
		i = end
	}
	return nil
}

// mayBeEmpty reports whether the reader may know that a row is an empty directory, if that is what a search asks for.
func (g *gate) mayBeEmpty(a *Attributes, row *evidence.Row) (bool, error) {
	if g == nil || !a.Empty || row.Type != event.Directory {
		return true, nil
	}
	at, err := g.standing(row.ChildParent())
	return at.listed >= 0, err
}

// keep keeps those rows of a block, in order, that the gate lets through for a question that begins at start. byAttributes: the question
// asks for attributes, so that names alone are no hits. empty: it asks for empty directories, which only those know who may list them.
func (g *gate) keep(start string, byAttributes, empty bool, b *layer.Block, rows []uint32) ([]uint32, error) {
	if len(rows) == 0 {
		return rows, nil
	}
	if whole, err := g.wholly(start); err != nil || whole {
		return rows, err
	}
	if err := b.LoadKeys(); err != nil {
		return nil, err
	}
	var types *layer.Numbers
	if empty {
		var err error
		if types, err = b.Numbers(layer.ColumnType); err != nil {
			return nil, err
		}
	}
	kept := rows[:0]
	end, let := 0, nothing
	for _, i := range rows {
		if int(i) >= end {
			end = b.ParentEnd(int(i))
			var err error
			if let, err = g.entries(start, b.Parent(int(i))); err != nil {
				return nil, err
			}
		}
		switch {
		case let == nothing || let == names && byAttributes:
			continue
		case empty && event.Type(types.At(int(i))) == event.Directory:
			dir := b.Parent(int(i)) + b.Name(int(i)) + "/"
			if at, err := g.standing(dir); err != nil {
				return nil, err
			} else if at.listed < 0 {
				continue
			}
		}
		kept = append(kept, i)
	}
	return kept, nil
}
