package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// view is one view under check.
type view struct {
	*checker
	ctx  context.Context
	name string

	objects map[string]store.Item
	now     time.Time // the store's, when they were listed

	head     *manifest.Manifest // nil: there is none, or none that can be read
	headBad  string             // what is wrong with the current version, if anything
	namesBad bool               // only its names of owners are lost
	versions []*manifest.Manifest
	broken   map[string]string // what is wrong with a manifest, or with what it needs: by its key
	layers   map[string]string // likewise of a layer, by id
	partial  map[string]string // versions without a leaf that they need, and why: by the manifest's key
	used     map[string]bool   // layers, leaves and names of some version
	leaves   *manifest.Leaves

	roster    *session.Roster // nil: as head
	rosterBad bool
	records   map[string]string // sessions whose record is damaged or lost, and why
	stuck     map[string]uint64 // sessions of which that segment is missing, though there are later ones
	mends     []Action          // of small objects
}

const byRepair = "--repair: "

// leavesBytes is what a check remembers of the leaves of a large view.
const leavesBytes = 64 << 20

func (v *view) damage(object, problem, effect, mend string) {
	v.find(Finding{Damage, v.name, object, problem, effect, mend})
}

func (v *view) note(object, problem, effect, mend string) {
	v.find(Finding{Note, v.name, object, problem, effect, mend})
}

// check looks at everything that the view has. Head is read before anything that it refers to, and again at the end: what looked wrong
// while a compactor worked is looked at once more.
func (v *view) check() error {
	for try := 0; ; try++ {
		before := len(v.report.Findings)
		objects, size := v.report.Objects, v.report.Bytes
		etag, err := v.headETag()
		if err == nil {
			err = v.once()
		}
		if err != nil || len(v.report.Findings) == before || try == 3 {
			return err
		}
		if now, err := v.headETag(); err != nil || now == etag {
			return err
		}
		v.report.Findings, v.report.Objects, v.report.Bytes = v.report.Findings[:before], objects, size
	}
}

func (v *view) headETag() (string, error) {
	o, err := v.st.Get(v.ctx, layout.Head(v.name))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return o.ETag, err
}

func (v *view) once() error {
	*v = view{checker: v.checker, leaves: manifest.NewLeaves(leavesBytes, 0), ctx: v.ctx, name: v.name, objects: map[string]store.Item{}, broken: map[string]string{}, layers: map[string]string{}, partial: map[string]string{},
		used: map[string]bool{}, records: map[string]string{}, stuck: map[string]uint64{}}
	forest, err := v.settings()
	if err != nil || forest {
		return err
	}
	m, _, err := v.leaves.Load(v.ctx, v.st, v.name)
	if errors.Is(err, manifest.ErrFormat) {
		if root, _, _ := manifest.LoadRoot(v.ctx, v.st, v.name); root != nil { // it is a leaf that cannot be read
			v.partial[root.Key()], m, err = err.Error(), root, nil
		}
	}
	switch {
	case err == nil:
		v.head = m
	case errors.Is(err, manifest.ErrNoHead):
	case errors.Is(err, manifest.ErrFormat):
		v.headBad = err.Error()
	default:
		return err
	}
	for _, step := range []func() error{v.list, v.history, v.readLayers, v.wholeness, v.sessions, v.small, v.segments, v.back, v.totals, v.table, v.orphans} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// settings checks the view's settings, and says whether it is a forest.
func (v *view) settings() (forest bool, err error) {
	key := layout.ViewConfig(v.name)
	o, err := v.st.Get(v.ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	config, err := viewconfig.Decode(key, v.name, o.Body)
	if err == nil {
		return config.IsForest(), nil
	}
	v.damage(key, err.Error(), "nothing is folded and no agent begins a session; readers have the last version", byRepair+"the default settings; then set yours again with `fustor admin view configure`")
	v.mends = append(v.mends, Action{What: "remove " + key, Loss: "the view's settings: the defaults hold", do: func(ctx context.Context) error { return v.st.Delete(ctx, key) }})
	return false, nil
}

func (v *view) list() error {
	return store.Each(v.ctx, v.st, layout.View(v.name), func(i store.Item, age time.Duration) error {
		v.count(i)
		v.objects[i.Key] = i
		v.now = i.LastModified.Add(age)
		return nil
	})
}

// under are the view's keys below a prefix, in order.
func (v *view) under(prefix string) (keys []string) {
	for _, key := range sorted(v.objects) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// history reads every manifest, and notes what the versions need.
func (v *view) history() error {
	keys := v.under(layout.Manifests(v.name))
	all := make([]*manifest.Manifest, len(keys))
	bad := make([]error, len(keys))
	partial := make([]error, len(keys))
	err := parallel(v.ctx, keys, func(ctx context.Context, i int, key string) error {
		m, err := v.leaves.LoadKey(ctx, v.st, v.name, key)
		if errors.Is(err, manifest.ErrFormat) {
			if root, _ := manifest.LoadKeyRoot(ctx, v.st, v.name, key); root != nil {
				m, partial[i], err = root, err, nil
			}
		}
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil && !errors.Is(err, manifest.ErrFormat) {
			return err
		}
		all[i], bad[i] = m, err
		return nil
	})
	if err != nil {
		return err
	}
	for i, key := range keys {
		if bad[i] != nil {
			v.broken[key] = bad[i].Error()
		} else if all[i] != nil {
			v.versions = append(v.versions, all[i])
			if partial[i] != nil {
				v.partial[key] = partial[i].Error()
			}
		}
	}
	if v.head != nil && !slices.ContainsFunc(v.versions, func(m *manifest.Manifest) bool { return m.Key() == v.head.Key() }) {
		if v.broken[v.head.Key()] == "" {
			v.broken[v.head.Key()] = "it is missing"
		}
		v.versions = append(v.versions, v.head)
	}
	slices.SortStableFunc(v.versions, func(a, b *manifest.Manifest) int { return int(min(1, max(-1, int64(a.Version-b.Version)))) })
	return nil
}

// readLayers reads what the versions need: each layer's index, with ReadData the whole of it, and the names of owners.
func (v *view) readLayers() error {
	infos := map[string]layer.Info{}
	names := map[string]bool{}
	for _, m := range v.versions {
		for _, info := range slices.Concat(m.Base, m.Deltas) {
			infos[info.ID] = info
			v.used[layout.Layer(v.name, info.ID)], v.used[layout.LayerIndex(v.name, info.ID)] = true, true
		}
		for i := range m.Leaves {
			v.used[layout.Leaf(v.name, m.Leaves[i].ID)] = true
		}
		if m.Names != "" {
			names[m.Names] = true
			v.used[layout.Names(v.name, m.Names)] = true
		}
	}
	ids := sorted(infos)
	found := make([]error, len(ids))
	search := make([]bool, len(ids))
	cache := layer.NewCache(1 << 20)
	err := parallel(v.ctx, ids, func(ctx context.Context, i int, id string) (err error) {
		info := infos[id]
		key := layout.Layer(v.name, id)
		item, there := v.objects[key]
		switch {
		case !there:
			found[i] = &layer.FormatError{Object: key, Reason: "the object is missing"}
			return nil
		case item.Size != info.Bytes:
			found[i] = &layer.FormatError{Object: key, Reason: fmt.Sprintf("it has %d bytes, not %d", item.Size, info.Bytes)}
			return nil
		}
		if v.o.ReadData {
			search[i], err = layer.New(v.st, v.name, info, cache).Verify(ctx)
		} else {
			_, err = layer.Open(ctx, v.st, v.name, info, cache)
		}
		var format *layer.FormatError
		if errors.As(err, &format) {
			found[i], err = err, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, id := range ids {
		switch {
		case found[i] == nil:
		case search[i]:
			v.damage(layout.Layer(v.name, id), found[i].Error(), "none for Fustor's answers: searches read more of this layer; other engines may fail on the file",
				"the next merge of this layer writes it anew")
		default:
			v.layers[id] = found[i].Error()
		}
	}
	for _, id := range sorted(names) {
		_, err := manifest.ReadNames(v.ctx, v.st, v.name, id)
		if errors.Is(err, manifest.ErrFormat) || errors.Is(err, store.ErrNotFound) {
			v.layers[id] = err.Error()
		} else if err != nil {
			return err
		}
	}
	return nil
}

// lacks is what is wrong with what a version needs; empty: nothing.
func (v *view) lacks(m *manifest.Manifest) string {
	if why := v.partial[m.Key()]; why != "" {
		return why
	}
	for _, info := range slices.Concat(m.Base, m.Deltas) {
		if why := v.layers[info.ID]; why != "" {
			return why
		}
	}
	for i := 1; i < len(m.Base); i++ {
		if m.Base[i-1].Last.Compare(m.Base[i].First) >= 0 {
			return fmt.Sprintf("its base partitions %s and %s are out of order", m.Base[i-1].ID, m.Base[i].ID)
		}
	}
	if latest := v.now.Add(time.Minute).UnixNano(); m.ObservedAt > latest || m.Term > 1<<62 {
		return fmt.Sprintf("it has observations of the future, or a term that no lease had: observed at %s, term %d", time.Unix(0, m.ObservedAt).UTC().Format(time.RFC3339), m.Term)
	}
	return ""
}

// wholeness says which versions are damaged.
func (v *view) wholeness() error {
	if v.head != nil {
		v.headBad = v.lacks(v.head)
		if why := v.layers[v.head.Names]; v.head.Names != "" && why != "" {
			v.namesBad = true
			v.damage(layout.Names(v.name, v.head.Names), why, "questions by the names of owners fail, and owners are shown by their numbers", byRepair+"forget them; the agents tell them again with their next sessions")
		}
	}
	mend := byRepair + "go back to the newest whole version, and have the agents scan again"
	if v.headBad != "" {
		effect := "questions that need it fail, and name the object"
		v.damage(layout.Head(v.name), v.headBad, effect, mend)
	}
	for _, m := range v.versions {
		if why := v.lacks(m); why != "" && (v.head == nil || m.Version != v.head.Version) {
			v.broken[m.Key()] = why
		}
	}
	for _, key := range sorted(v.broken) {
		if m := v.head; m != nil && m.Key() == key && v.headBad == "" {
			v.damage(key, v.broken[key], "the current version is whole, but it will be missing from the history", byRepair+"write it again")
			v.mends = append(v.mends, Action{What: "write " + key + " again", do: func(ctx context.Context) error {
				body, err := m.Encode()
				if err == nil {
					_, err = v.st.Put(ctx, key, body)
				}
				return err
			}})
			continue
		}
		if m := v.head; m != nil && m.Key() == key {
			continue
		}
		v.damage(key, v.broken[key], "this version of the history cannot be read; the current one is not affected", byRepair+"remove it from the history")
		v.mends = append(v.mends, Action{What: "remove " + key, Loss: "one version of the history", do: func(ctx context.Context) error { return v.st.Delete(ctx, key) }})
	}
	return nil
}

// sessions checks roster, lease and records.
func (v *view) sessions() error {
	r, meta, err := session.ReadRoster(v.ctx, v.st, v.name)
	switch {
	case errors.Is(err, session.ErrDamaged):
		v.rosterBad = true
		v.damage(layout.Roster(v.name), err.Error(), "nothing is folded and no agent begins a session; readers have the last version", byRepair+"make it anew of the session records")
	case err != nil:
		return err
	case meta.ETag != "":
		v.roster = &r
	}
	if o, err := v.st.Get(v.ctx, layout.Lease(v.name)); err == nil {
		plain, err := seal.Open(layout.Lease(v.name), o.Body)
		if err == nil {
			err = json.Unmarshal(plain, &session.Lease{})
		}
		if err != nil {
			v.damage(layout.Lease(v.name), err.Error(), "nobody leads for 45 seconds", "by itself: the next leader writes it anew, with a term above all that were given")
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	} else if v.head != nil && v.head.Epoch != "" && v.roster != nil && v.living() {
		v.damage(layout.Lease(v.name), "it is missing", "nobody leads", "by itself: the next leader writes it anew, with a term above all that were given")
	}
	if v.roster == nil {
		return nil
	}
	for _, id := range sorted(v.roster.Sessions) {
		entry := v.roster.Sessions[id]
		if entry.Ended || entry.Epoch != v.roster.Epoch {
			continue
		}
		record, err := session.Read(v.ctx, v.st, v.name, id)
		switch {
		case errors.Is(err, session.ErrDamaged):
			v.records[id] = err.Error()
		case err != nil:
			return err
		case record.ID == "":
			v.records[id] = "it is missing"
		case record.ID != id || record.View != v.name:
			v.records[id] = fmt.Sprintf("it is that of session %s of view %s", record.ID, record.View)
		}
	}
	for _, id := range sorted(v.records) {
		v.damage(layout.Session(v.name, id), v.records[id], "the session's agent cannot go on, and the view's sessions cannot be listed", byRepair+"end the session; its agent begins another one")
	}
	return nil
}

// living reports whether the roster has a session that is not marked as over.
func (v *view) living() bool {
	for _, e := range v.roster.Sessions {
		if !e.Ended && e.Epoch == v.roster.Epoch {
			return true
		}
	}
	return false
}

// small checks pins, scans and audits that were asked for.
func (v *view) small() error {
	remove := func(key, why, effect, loss string) {
		v.damage(key, why, effect, byRepair+"remove it")
		v.mends = append(v.mends, Action{What: "remove " + key, Loss: loss, do: func(ctx context.Context) error { return v.st.Delete(ctx, key) }})
	}
	pins, _, err := history.ReadPins(v.ctx, v.st, v.name)
	if errors.Is(err, history.ErrPins) {
		remove(layout.Pins(v.name), err.Error(), "retention removes nothing, and versions cannot be named by their pins", "the names of pinned versions, and what keeps them")
	} else if err != nil {
		return err
	}
	for _, name := range sorted(pins) {
		if !slices.ContainsFunc(v.versions, func(m *manifest.Manifest) bool { return m.Version == pins[name].Version }) && (v.head == nil || pins[name].Version != v.head.Version) {
			v.damage(layout.Pins(v.name), fmt.Sprintf("version %d, pinned as %q, is missing", pins[name].Version, name), "the pin leads nowhere", "`fustor admin version unpin`")
		}
	}
	for _, key := range v.under(layout.AllCommands(v.name)) {
		if err := job.Check(v.ctx, v.st, key); errors.Is(err, job.ErrDamaged) {
			remove(key, err.Error(), "the view's scans cannot be listed, and agents are given none", "the scan that was asked for; ask again")
		} else if err != nil && !errors.Is(err, job.ErrNotFound) {
			return err
		}
	}
	for _, key := range v.under(layout.AllStaging(v.name)) {
		if !strings.HasSuffix(key, "/audit.json") {
			continue
		}
		o, err := v.st.Get(v.ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if plain, err := seal.Open(key, o.Body); err != nil || !json.Valid(plain) {
			remove(key, "it cannot be read", "the audit of a V2 agent does not end", "that audit; the agent's next one begins anew")
		}
	}
	return nil
}

// segments looks for those that wait to be folded, and with ReadData into them.
func (v *view) segments() error {
	if v.roster == nil || v.head == nil || v.roster.Epoch != v.head.Epoch {
		return nil
	}
	for _, id := range sorted(v.roster.Sessions) {
		progress := v.head.Sessions[id]
		if v.roster.Sessions[id].Epoch != v.roster.Epoch || progress.Broken {
			continue
		}
		next := progress.Next
		for _, key := range v.under(layout.Segments(v.name, id)) {
			_, _, seq, ok := layout.SplitSegment(key)
			if !ok || seq < next {
				continue
			}
			if seq > next {
				v.stuck[id] = next
				v.damage(layout.Segment(v.name, id, next), "it is missing, though there are later ones", "what the session has sent since is never folded", byRepair+"end the session; its agent begins another one and scans again")
				break
			}
			if v.o.ReadData {
				if why, err := v.readSegment(key, id, seq); err != nil {
					return err
				} else if why != "" {
					v.damage(key, why, "what it and later segments of the session say is not folded", "by itself: the compactor ends the session, and its agent scans again")
					break
				}
			}
			next++
		}
	}
	return nil
}

func (v *view) readSegment(key, id string, seq uint64) (why string, err error) {
	o, err := v.st.GetUpTo(v.ctx, key, event.MaxStoredBytes)
	var large *store.TooLargeError
	switch {
	case errors.Is(err, store.ErrNotFound): // folded and removed meanwhile
		return "", nil
	case errors.As(err, &large):
		return err.Error(), nil
	case err != nil:
		return "", err
	}
	r, err := event.NewReader(key, strings.NewReader(string(o.Body)), event.Limits{})
	if err != nil {
		return err.Error(), nil
	}
	if h := r.Header(); h.View != v.name || h.Session != id || h.Seq != seq {
		return fmt.Sprintf("it is segment %d of session %s of view %s", h.Seq, h.Session, h.View), nil
	}
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return "", nil
		} else if err != nil {
			return err.Error(), nil
		}
	}
}

// back looks for what is older than other objects prove (internal/manifest, back.go), or gone.
func (v *view) back() error {
	last := v.last()
	newest := v.newest()
	mend := byRepair + "go on from the newest whole version"
	switch {
	case v.head == nil && v.headBad == "" && last > 0 && (last > 1 || newest == nil || v.now.Sub(v.objects[newest.Key()].LastModified) > time.Hour) &&
		(newest == nil || v.roster == nil || v.roster.Epoch == newest.Epoch):
		v.headBad = fmt.Sprintf("it is missing, but there is version %d", last)
		v.damage(layout.Head(v.name), v.headBad, "the view cannot be read, and nothing is folded", mend)
	case v.head != nil && last > v.head.Version+1:
		why := fmt.Sprintf("it is version %d, but there is version %d", v.head.Version, last)
		if v.headBad == "" {
			v.damage(layout.Head(v.name), why, "readers have an old version, and nothing is folded", mend)
		}
		v.headBad = why
	}
	of := newest
	if v.head != nil {
		of = v.head
	}
	if of == nil || of.Epoch == "" || v.rosterBad {
		return nil
	}
	effect, mend := "nothing is folded, and no agent begins a session; readers have the last version", byRepair+"make it anew of the session records"
	switch r := v.roster; {
	case r == nil:
		v.rosterBad = true
		v.damage(layout.Roster(v.name), fmt.Sprintf("it is missing, but there is version %d", of.Version), effect, mend)
	case r.Epoch != of.Epoch && of.EpochNumber > 0 && r.EpochNumber <= of.EpochNumber:
		v.rosterBad = true
		v.damage(layout.Roster(v.name), fmt.Sprintf("it is of the view's epoch %d, but version %d of epoch %d", r.EpochNumber, of.Version, of.EpochNumber), effect, mend)
	case r.Epoch == of.Epoch:
		for _, key := range v.under(layout.View(v.name) + "sessions/") {
			id := strings.TrimSuffix(key[strings.LastIndexByte(key, '/')+1:], ".json")
			if _, listed := r.Sessions[id]; listed || !layout.ValidID(id) {
				continue
			}
			record, err := session.Read(v.ctx, v.st, v.name, id)
			if errors.Is(err, session.ErrDamaged) {
				v.note(key, err.Error(), "none: no roster names it", "none is needed")
				continue
			}
			if err != nil {
				return err
			}
			if !record.Ended && record.Epoch == r.Epoch && v.now.Sub(v.objects[key].LastModified) > time.Minute { // a new one is entered last
				v.rosterBad = true
				v.damage(layout.Roster(v.name), fmt.Sprintf("it lacks session %s, which lives", id), "what the session sends is not folded", mend)
				break
			}
		}
	}
	return nil
}

// last is the highest number of a version that ever was, by the names of manifests.
func (v *view) last() (last uint64) {
	for _, key := range v.under(layout.Manifests(v.name)) {
		var n uint64
		if _, err := fmt.Sscanf(strings.TrimPrefix(key, layout.Manifests(v.name)), "%020d-", &n); err == nil {
			last = max(last, n)
		}
	}
	if v.head != nil {
		last = max(last, v.head.Version)
	}
	return last
}

// newest is the newest version that can be read.
func (v *view) newest() *manifest.Manifest {
	if len(v.versions) == 0 {
		return nil
	}
	return v.versions[len(v.versions)-1]
}

// totals adds up the current version with ReadData, and holds the sums of every directory against it, and whether they may serve everybody
// who may list it.
func (v *view) totals() error {
	if !v.o.ReadData || v.head == nil || v.headBad != "" || len(v.head.Base)+len(v.head.Deltas) == 0 {
		return nil
	}
	opened, err := layer.OpenView(v.st, v.name, v.head.Base, v.head.Deltas, layer.NewCache(16<<20))
	if err != nil {
		return err
	}
	sums, said := map[string]evidence.Totals{}, map[string]evidence.Totals{}
	rights, open := map[string]permission.Directory{}, map[string]bool{}
	latest := v.now.Add(time.Minute).UnixNano()
	c := opened.Cursor(v.ctx)
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			return err
		}
		if r.ObservedAt > latest && v.headBad == "" {
			v.headBad = fmt.Sprintf("%s was observed at %s, which is to come", r.Path(), time.Unix(0, r.ObservedAt).UTC().Format(time.RFC3339))
			v.damage(layout.Head(v.name), v.headBad, "nothing that is observed until then counts for the path", byRepair+"go back to the newest whole version, and have the agents scan again")
		}
		if r.Removed {
			continue
		}
		at := strings.TrimSuffix(r.Parent, "/")
		if r.Type == event.Directory {
			at = strings.TrimSuffix(r.Path(), "/")
			said[at], open[at] = r.Sub, r.Open
			rights[at] = permission.Directory{UID: r.UID, GID: r.GID, Mode: r.Mode, ACL: event.ACL(strings.Clone(string(r.ACL)))}
		}
		at = strings.Clone(at)
		if sum, ok := sums[at]; ok {
			sums[at] = sum.Plus(r.Own())
		} else {
			sums[at] = r.Own()
		}
	}
	if err := c.Err(); err != nil {
		return err
	}
	paths := sorted(sums)
	slices.SortFunc(paths, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	for _, path := range paths {
		if path == "" {
			continue
		}
		up := path[:strings.LastIndexByte(path, '/')]
		if sum, ok := sums[up]; ok {
			sums[up] = sum.Plus(sums[path])
		} else {
			sums[up] = sums[path]
		}
	}
	for _, path := range sorted(said) {
		if said[path] != sums[path] {
			v.headBad = fmt.Sprintf("the totals of %s/ are %+v, but its rows add up to %+v", path, said[path], sums[path])
			v.damage(layout.Head(v.name), v.headBad, "`du` and reports of sums are wrong", byRepair+"go back to the newest whole version, and have the agents scan again")
			return nil
		}
	}
	for _, path := range sorted(said) {
		up := path[:max(0, strings.LastIndexByte(path, '/'))]
		if path != "" && open[up] && !(open[path] && permission.Covers(rights[path], rights[up])) {
			v.headBad = fmt.Sprintf("%s/ is said to be open to all who may list it, and %s keeps others out", up, path)
			v.damage(layout.Head(v.name), v.headBad, "`du` and reports of sums tell those who may not see it what is in there", byRepair+"go back to the newest whole version, and have the agents scan again")
			return nil
		}
	}
	if root, ok := said[""]; ok && root != v.head.Totals {
		v.headBad = fmt.Sprintf("its totals are %+v, those of the root are %+v", v.head.Totals, root)
		v.damage(layout.Head(v.name), v.headBad, "the view's totals are wrong", byRepair+"go back to the newest whole version, and have the agents scan again")
	}
	return nil
}

// old is the age from which on an object that nobody needs is worth a note: no job that made it still runs, and retention has had its time.
const old = 3 * time.Hour

// table checks what makes the view a table of Iceberg, and its changes another, and notes what no snapshot needs.
func (v *view) table() error {
	sizes := map[string]int64{}
	for key, i := range v.objects {
		sizes[key] = i.Size
	}
	needed, broken := map[string]bool{}, false
	for _, t := range []struct{ table, name, comes, loss string }{
		{layout.Iceberg(v.name), "table", "is published anew with the next change, or by `fustor admin publish`",
			"the table's snapshots of earlier versions, until those that are kept are published anew"},
		{layout.IcebergChanges(v.name), "table of changes", "begins anew with the next publication", "the changes so far, for SQL; `fustor diff` has those between versions that are kept"},
	} {
		found, needs, err := iceberg.Check(v.ctx, v.st, v.name, t.table, sizes)
		if err != nil {
			return err
		}
		maps.Copy(needed, needs)
		for _, d := range found {
			v.damage(d.Object, d.Problem, "SQL engines cannot read the view's "+t.name+", or some of its snapshots; Fustor's own readers do not need it",
				byRepair+"take the table back; it "+t.comes)
		}
		if len(found) > 0 {
			broken = true
			v.mends = append(v.mends, Action{What: "take back the " + t.name + " of view " + v.name, Loss: t.loss,
				do: func(ctx context.Context) error { return iceberg.Withdraw(ctx, v.st, t.table) }})
		}
	}
	if broken {
		return nil
	}
	n, bytes, example := 0, int64(0), ""
	for _, key := range v.under(layout.Iceberg(v.name)) {
		if i := v.objects[key]; !needed[key] && v.now.Sub(i.LastModified) > old {
			n, bytes, example = n+1, bytes+i.Size, key
		}
	}
	if n > 0 {
		v.note(example, fmt.Sprintf("%d objects of %d bytes, such as this one, are of no snapshot of the view's table", n, bytes), "none: they only take room", "retention removes them (`fustor admin retain`)")
	}
	return nil
}

// orphans notes what nobody needs.
func (v *view) orphans() error {
	n, bytes, example := 0, int64(0), ""
	for _, key := range v.under(layout.Layers(v.name)) {
		if i := v.objects[key]; !v.used[key] && v.now.Sub(i.LastModified) > old {
			n, bytes, example = n+1, bytes+i.Size, key
		}
	}
	if n > 0 {
		v.note(example, fmt.Sprintf("%d objects of %d bytes, such as this one, belong to no version", n, bytes), "none: they only take room", "retention removes them (`fustor admin retain`)")
	}
	return nil
}
