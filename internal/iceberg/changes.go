package iceberg

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// The table of changes of a view is its journal: of each version that is published after the table began, a row for each path that
// differs from the version published before, as `fustor diff` has them (evidence.FieldsOf). Rows are appended; a version's rows are in
// the order of their keys. So that many publications do not leave many small files, runs of small files are put together, each row at
// most some times; files whose changes are older than they are kept go.

// changesFile is a data file of a table of changes.
type changesFile struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Rows  int64  `json:"rows"`
	Level int    `json:"level,omitempty"` // how often its rows were put together with others
	// First and Last are when the versions of its changes were published, ms since 1970.
	First int64 `json:"first_ms"`
	Last  int64 `json:"last_ms"`
}

const (
	// togetherFiles is how many files of a level that follow each other become one.
	togetherFiles = 12
	// changesFileBytes ends a file of changes. Several that are put together have no more.
	changesFileBytes = 16 << 20
	// supersededFor is for how long a snapshot of a table of changes is kept after the next one came: readers may be at it.
	supersededFor = time.Hour
)

// ChangesPublished is what a publication of changes did.
type ChangesPublished struct {
	Version   uint64 // whose changes are the newest of the table
	Snapshots int    // new ones
	Rows      int64  // of changes, new ones
	Files     int    // of the table
}

// PublishChanges appends the changes of versions to the table of a view's changes: of each that is newer than the table, those since the
// one before, beginning with the version that the table had last. A table that is new begins with the newest of versions, without rows.
// If the version that the table had last is not kept any more, the next one's changes are not known, and since_version of the rows after
// it shows that. Changes whose version was published earlier than keep ago are removed; 0: none are.
func (p *Publisher) PublishChanges(ctx context.Context, view string, versions []*manifest.Manifest, keep time.Duration) (ChangesPublished, error) {
	for try := 1; ; try++ {
		done, err := p.publishChanges(ctx, view, versions, keep)
		if err == nil || !errors.Is(err, store.ErrLost) || try == tries {
			if err != nil {
				err = fmt.Errorf("publish the changes of view %s as a table: %w", view, err)
			}
			return done, err
		}
	}
}

func (p *Publisher) publishChanges(ctx context.Context, view string, versions []*manifest.Manifest, keep time.Duration) (done ChangesPublished, err error) {
	prefix := layout.IcebergChanges(view)
	t, err := p.table(ctx, prefix, func(uuid, location string) (Metadata, error) { return newChangesMetadata(uuid, location, view) })
	if err != nil {
		return done, err
	}
	versions = slices.SortedFunc(slices.Values(versions), func(a, b *manifest.Manifest) int { return cmp.Compare(a.Version, b.Version) })
	versions = slices.DeleteFunc(versions, func(m *manifest.Manifest) bool { return m.Version <= t.state.Version })
	if t.state.Version == 0 && len(versions) > 1 {
		versions = versions[len(versions)-1:]
	}
	if done.Version, done.Files = t.state.Version, len(t.state.Files); len(versions) == 0 {
		return done, nil
	}
	b := &changesBuilder{builder: builder{Publisher: p, ctx: ctx, view: view, table: prefix}, t: t}
	if err := b.tidy(keep); err != nil {
		return done, err
	}
	for _, m := range versions {
		rows, err := b.version(m)
		if err != nil {
			return done, err
		}
		done.Rows += rows
	}
	done.Version, done.Snapshots, done.Files = t.state.Version, b.snapshots, len(t.state.Files)
	gone := p.Now()/1e6 - supersededFor.Milliseconds()
	all := slices.Clone(t.Metadata.Snapshots)
	t.drop(func(s Snapshot) bool {
		i := slices.IndexFunc(all, func(o Snapshot) bool { return o.ID == s.ID })
		return i+1 < len(all) && all[i+1].TimestampMs < gone
	})
	t.setRefs(nil)
	return done, p.commit(ctx, t, prefix)
}

// changesBuilder makes snapshots of a table of changes.
type changesBuilder struct {
	builder
	t         *Table
	snapshots int // made
}

// tidy removes files whose changes are too old, and puts small files together.
func (b *changesBuilder) tidy(keep time.Duration) error {
	files, fresh := slices.Clone(b.t.state.Files), map[string]entry{}
	most, gone, joined := int64(0), false, false
	if keep > 0 {
		old := b.Now()/1e6 - keep.Milliseconds()
		if kept := slices.DeleteFunc(files, func(f changesFile) bool { return f.Last < old }); len(kept) < len(b.t.state.Files) {
			files, gone = kept, true
		}
		most = keep.Milliseconds() / 8 // so that changes go not much later than they should
	}
	b.begin()
	for {
		run := together(files, most)
		if run == nil {
			break
		}
		one, e, err := b.join(run, fresh)
		if err != nil {
			return err
		}
		fresh[one.Name], joined = e, true
		files = append(files[:len(files)-len(run)], one)
	}
	operation := "overwrite"
	switch {
	case !gone && !joined:
		return nil
	case !gone:
		operation = "replace"
	case !joined:
		operation = "delete"
	}
	return b.add(files, fresh, operation, b.t.state.Version, b.t.state.Manifest)
}

// together are the last files, if there are so many of a level that they should become one; most is the time between the first and the last
// change of a file at most, ms; 0: it does not count.
func together(files []changesFile, most int64) []changesFile {
	if len(files) == 0 {
		return nil
	}
	level, bytes, n := files[len(files)-1].Level, int64(0), 0
	for _, f := range slices.Backward(files) {
		if f.Level != level || bytes+f.Bytes > changesFileBytes || most > 0 && files[len(files)-1].Last-f.First > most {
			break
		}
		bytes += f.Bytes
		n++
	}
	if n < togetherFiles {
		return nil
	}
	return files[len(files)-n:]
}

// join puts files together. The first of those that it makes itself are in fresh.
func (b *changesBuilder) join(files []changesFile, fresh map[string]entry) (changesFile, entry, error) {
	w := newChangesWriter()
	for _, f := range files {
		delete(fresh, f.Name)
		o, err := b.Store.Get(b.ctx, layout.IcebergObject(b.table, f.Name))
		if err != nil {
			return changesFile{}, entry{}, fmt.Errorf("read a file of changes: %w", err)
		}
		if err := w.copy(o.Body); err != nil {
			return changesFile{}, entry{}, fmt.Errorf("%s: %w: %w", f.Name, ErrDamaged, err)
		}
	}
	one, e, err := b.file(w)
	one.Level = files[0].Level + 1
	return one, e, err
}

// version appends the changes of a version.
func (b *changesBuilder) version(m *manifest.Manifest) (rows int64, err error) {
	state := &b.t.state
	files, fresh := slices.Clone(state.Files), map[string]entry{}
	b.begin()
	w := newChangesWriter()
	end := func() error {
		f, e, err := b.file(w)
		files, fresh[f.Name] = append(files, f), e
		w.reset()
		return err
	}
	var before *manifest.Manifest
	if state.Version != 0 {
		before, err = b.Leaves.LoadKey(b.ctx, b.Store, b.view, state.Manifest)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
	}
	if before != nil {
		err := b.changes(before, m, func(c *evidence.Change) error {
			rows++
			if err := w.add(c, before, m); err != nil || w.out.Len() < changesFileBytes {
				return err
			}
			return end()
		})
		if err != nil {
			return 0, err
		}
		if w.rows > 0 {
			if err := end(); err != nil {
				return 0, err
			}
		}
	}
	return rows, b.add(files, fresh, "append", m.Version, m.Key())
}

// changes emits what differs between two versions, in key order.
func (b *changesBuilder) changes(before, after *manifest.Manifest, emit func(c *evidence.Change) error) error {
	var views [2]*layer.View
	for i, m := range [2]*manifest.Manifest{before, after} {
		var err error
		if views[i], err = layer.OpenView(b.Store, b.view, m.Base, m.Deltas, b.Cache); err != nil {
			return err
		}
	}
	c, err := layer.CompareViews(b.ctx, views[0], views[1], layer.Key{}, layer.Key{Parent: "0"}, changesAhead) // parents begin with a slash, or are empty
	if err != nil {
		return err
	}
	var was, is evidence.Row
	for c.Next() {
		if err := c.Read(&was, &is, false); err != nil {
			return err
		}
		var change evidence.Change
		inBefore, inAfter := c.Found()
		if inBefore {
			change.Before = &was
		}
		if inAfter {
			change.After = &is
		}
		if inBefore && inAfter {
			if change.Fields = evidence.FieldsOf(&was, &is); change.Fields == 0 {
				continue
			}
		}
		if err := emit(&change); err != nil {
			return err
		}
	}
	return c.Err()
}

// changesAhead is how much of a layer is read with one request, bytes.
const changesAhead = 4 << 20

// begin begins a snapshot.
func (b *changesBuilder) begin() {
	b.builder.version, b.builder.state = uint64(b.t.Metadata.LastSequenceNumber)+1, &b.t.state
	b.prefix, b.objects = "", 0
}

// file writes a file of changes, and makes its entry.
func (b *changesBuilder) file(w *changesWriter) (f changesFile, e entry, err error) {
	if err := w.close(); err != nil {
		return f, e, err
	}
	f = changesFile{Bytes: int64(w.out.Len()), Rows: w.rows, First: w.first / 1000, Last: w.last / 1000}
	if f.Name, err = b.put("data", ".parquet", w.out.Bytes()); err != nil {
		return f, e, err
	}
	number := int64(b.builder.version)
	data := dataFile{Path: b.t.state.Location + "/" + f.Name, Format: "PARQUET", Records: w.rows, Bytes: f.Bytes,
		ValueCounts: &[]idNumber{}, NullCounts: &[]idNumber{}, Lower: &[]idBytes{}, Upper: &[]idBytes{}}
	for id, bounds := range w.bounds() {
		*data.ValueCounts = append(*data.ValueCounts, idNumber{int32(id + 1), w.rows})
		*data.NullCounts = append(*data.NullCounts, idNumber{int32(id + 1), 0})
		if bounds[0] != nil {
			*data.Lower, *data.Upper = append(*data.Lower, idBytes{int32(id + 1), bounds[0]}), append(*data.Upper, idBytes{int32(id + 1), bounds[1]})
		}
	}
	return f, entry{Status: statusAdded, SnapshotID: &number, SequenceNumber: &number, FileSequenceNumber: &number, File: data}, nil
}

// add adds a snapshot that has these files. fresh are the entries of those that are new. The table then has the changes up to a version.
func (b *changesBuilder) add(files []changesFile, fresh map[string]entry, operation string, version uint64, key string) error {
	state := b.t.state
	next := state
	next.Files, next.Version, next.Manifest = files, version, key
	var err error
	if next.Data, err = b.manifests(files, fresh); err != nil {
		return err
	}
	list := []listed{}
	for _, d := range next.Data {
		list = append(list, b.listed(d, contentData))
	}
	id := b.builder.version
	body, err := encodeList(id, list)
	if err != nil {
		return err
	}
	name, err := b.put("metadata", "-list.avro", body)
	if err != nil {
		return err
	}
	next.Objects = b.objectsUsed(&next, name)
	sum := func(files []changesFile) (rows, bytes int64) {
		for _, f := range files {
			rows += f.Rows
			bytes += f.Bytes
		}
		return rows, bytes
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows, bytes := sum(files)
	added := int64(0)
	for _, f := range files {
		if _, is := fresh[f.Name]; is {
			added += f.Rows
		}
	}
	at := b.Now() / 1e6
	for _, s := range b.t.Metadata.Snapshots {
		at = max(at, s.TimestampMs)
	}
	b.t.add(Snapshot{
		ID: int64(id), SequenceNumber: int64(id), TimestampMs: at, ManifestList: state.Location + "/" + name,
		Summary: map[string]string{
			"operation": operation, "added-data-files": strconv.Itoa(len(fresh)), "added-records": number(added), "total-data-files": strconv.Itoa(len(files)),
			"total-records": number(rows), "total-files-size": number(bytes), "total-delete-files": "0", "total-position-deletes": "0", "total-equality-deletes": "0",
			"fustor.version": strconv.FormatUint(version, 10),
		},
	}, next)
	b.snapshots++
	return nil
}

// manifests are those of files: the table's, as far as all their files are there, unless too many are small, and new ones.
func (b *changesBuilder) manifests(files []changesFile, fresh map[string]entry) (manifests []dataManifest, err error) {
	present, entries := map[string]bool{}, maps.Clone(fresh)
	for _, f := range files {
		present[f.Name] = true
	}
	kept, rest := reusable(b.t.state.Data, func(d dataManifest) bool {
		return !slices.ContainsFunc(d.Layers, func(name string) bool { return !present[name] })
	}, func(d dataManifest) bool { return 2*len(d.Layers) < layersPerManifest })
	for _, d := range kept {
		for _, name := range d.Layers {
			delete(present, name)
		}
	}
	for _, d := range rest {
		if slices.ContainsFunc(d.Layers, func(name string) bool { return present[name] }) {
			if err := b.readManifest(d, entries); err != nil {
				return nil, err
			}
		}
	}
	files = slices.DeleteFunc(slices.Clone(files), func(f changesFile) bool { return !present[f.Name] })
	for chunk := range slices.Chunk(files, layersPerManifest) {
		d := dataManifest{Version: b.builder.version, Minimum: int64(b.builder.version)}
		var all []entry
		for _, f := range chunk {
			e := entries[f.Name]
			if _, isNew := fresh[f.Name]; isNew {
				d.Added++
				d.Rows += f.Rows
			} else {
				e.Status = statusExisting
				d.Existing++
				d.OldRows += f.Rows
			}
			d.Minimum = min(d.Minimum, *e.SequenceNumber)
			d.Layers, all = append(d.Layers, f.Name), append(all, e)
		}
		body, err := encodeManifest(changesSchema(), contentData, all)
		if err != nil {
			return nil, err
		}
		d.Bytes = int64(len(body))
		if d.Name, err = b.put("metadata", "-data.avro", body); err != nil {
			return nil, err
		}
		kept = append(kept, d)
	}
	return kept, nil
}

// newChangesMetadata is a table of changes without a snapshot.
func newChangesMetadata(uuid, location, view string) (Metadata, error) {
	names, err := json.Marshal(mappingOf(changesSchema()))
	if err != nil {
		return Metadata{}, fmt.Errorf("encode the name mapping: %w", err)
	}
	return Metadata{
		FormatVersion: 2, UUID: uuid, Location: location, CurrentSnapshotID: -1,
		LastColumnID: len(changesSchema().Fields), Schemas: []Schema{changesSchema()},
		PartitionSpecs: []PartitionSpec{{Fields: []struct{}{}}}, LastPartitionID: 999, SortOrders: []SortOrder{{Fields: []SortField{}}},
		Properties: map[string]string{
			"schema.name-mapping.default": string(names), "fustor.view": view,
			"gc.enabled": "false", // the compactor removes its files
		},
		MetadataLog: []struct{}{}, Refs: map[string]Ref{},
	}, nil
}
