package iceberg

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// Publisher publishes versions of views as snapshots of their tables.
type Publisher struct {
	Store  store.Store
	Root   string // as Root has it
	Cache  *layer.Cache
	Leaves *manifest.Leaves // nil: none are remembered
	Now    func() int64     // the store's time, ns
	Random io.Reader
}

// Published is what a publication did.
type Published struct {
	Version   uint64 // of the table's current snapshot
	Snapshots int    // new ones
	Changed   bool   // the table has new metadata
	// DataFiles and DeleteFiles are of the current snapshot; DeletedRows are the rows that its delete files name.
	DataFiles, DeleteFiles int
	DeletedRows            int64
}

const (
	tries = 4 // how often a publication begins again because others publish, too
	// layersPerManifest is how many base partitions a manifest has at most.
	layersPerManifest = 100
	// smallManifests is how many manifests of base partitions may have less than half of that before they are put together.
	smallManifests = 8
	parallelReads  = 8
	// rowsPerDeleteFile ends a file of tombstones of several layers.
	rowsPerDeleteFile = 1 << 20
)

// Publish makes versions of a view snapshots of its table, the newest of them the current one, and gives the pins' names to snapshots
// as tags. wanted says which, given the table as it is, which may be new. What the table has already is left as it is: if that is all,
// nothing is written.
func (p *Publisher) Publish(ctx context.Context, view string, wanted func(*Table) ([]*manifest.Manifest, error), pins history.Pins) (Published, error) {
	for try := 1; ; try++ {
		done, err := p.publish(ctx, view, wanted, pins)
		if err == nil || !errors.Is(err, store.ErrLost) || try == tries {
			if err != nil {
				err = fmt.Errorf("publish view %s as a table: %w", view, err)
			}
			return done, err
		}
	}
}

func (p *Publisher) publish(ctx context.Context, view string, wanted func(*Table) ([]*manifest.Manifest, error), pins history.Pins) (done Published, err error) {
	t, err := p.table(ctx, layout.Iceberg(view), func(uuid, location string) (Metadata, error) { return newMetadata(uuid, location, view) })
	if err != nil {
		return done, err
	}
	versions, err := wanted(t)
	if err != nil {
		return done, err
	}
	versions = slices.SortedFunc(slices.Values(versions), func(a, b *manifest.Manifest) int { return cmp.Compare(a.Version, b.Version) })
	for _, m := range versions {
		if t.Metadata.snapshot(m.Version) != nil {
			continue
		}
		b := builder{Publisher: p, ctx: ctx, view: view, table: layout.Iceberg(view), version: m.Version, state: &t.state}
		snapshot, next, err := b.build(m)
		if err != nil {
			return done, err
		}
		t.add(snapshot, next)
		done.Snapshots++
	}
	tagged := t.setRefs(pins)
	done.Version = t.state.Version
	for _, d := range t.state.Data {
		done.DataFiles += len(d.Layers)
	}
	for _, d := range t.state.Deletes {
		done.DeleteFiles++
		done.DeletedRows += d.Rows
	}
	if done.Snapshots == 0 && !tagged {
		return done, nil
	}
	done.Changed = true
	return done, p.commit(ctx, t, layout.Iceberg(view))
}

// table is the table with a prefix, or a new one, which is not written yet. One that was published from another place is begun anew: its
// files have other names now.
func (p *Publisher) table(ctx context.Context, table string, begin func(uuid, location string) (Metadata, error)) (*Table, error) {
	t, err := load(ctx, p.Store, table)
	if err != nil {
		return nil, err
	}
	if err := t.loadState(ctx, p.Store, table); err != nil {
		return nil, err
	}
	location := locationOf(p.Root, table)
	if t.Body != nil && t.state.Format == stateFormat && t.Metadata.Location == location {
		t.Metadata.Properties = maps.Clone(t.Metadata.Properties)
		return t, nil
	}
	uuid := t.Metadata.UUID
	if uuid == "" {
		var b [16]byte
		if _, err := io.ReadFull(p.Random, b[:]); err != nil {
			return nil, fmt.Errorf("name the table: %w", err)
		}
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562, version 4
		uuid = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	}
	if t.Metadata, err = begin(uuid, location); err != nil {
		return nil, err
	}
	t.state = state{Location: location}
	return t, nil
}

func (p *Publisher) commit(ctx context.Context, t *Table, table string) error {
	nonce, err := p.nonce()
	if err != nil {
		return err
	}
	t.Metadata.LastUpdatedMs = max(t.Metadata.LastUpdatedMs, p.Now()/1e6)
	for _, e := range t.Metadata.SnapshotLog {
		t.Metadata.LastUpdatedMs = max(t.Metadata.LastUpdatedMs, e.TimestampMs)
	}
	return t.commit(ctx, p.Store, table, nonce)
}

func (p *Publisher) nonce() (string, error) {
	var b [10]byte
	if _, err := io.ReadFull(p.Random, b[:]); err != nil {
		return "", fmt.Errorf("make a nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// add adds a snapshot. Of an older version than the current one it is one of the history.
func (t *Table) add(s Snapshot, next state) {
	m := &t.Metadata
	for _, o := range m.Snapshots {
		if o.ID < s.ID {
			s.Parent = max(s.Parent, o.ID)
		}
	}
	m.Snapshots = append(m.Snapshots, s)
	slices.SortFunc(m.Snapshots, func(a, b Snapshot) int { return cmp.Compare(a.ID, b.ID) })
	m.LastSequenceNumber = max(m.LastSequenceNumber, s.SequenceNumber)
	objects := next.Objects
	if s.ID >= m.CurrentSnapshotID {
		m.CurrentSnapshotID = s.ID
		t.state = next
	}
	t.state.Objects = objects
	m.setLog()
}

// setLog says of each snapshot from when on it was the current one: when its version was published.
func (m *Metadata) setLog() {
	m.SnapshotLog = make([]LogEntry, 0, len(m.Snapshots))
	at := int64(0)
	for _, s := range m.Snapshots {
		at = max(at, s.TimestampMs)
		m.SnapshotLog = append(m.SnapshotLog, LogEntry{at, s.ID})
	}
}

// setRefs names the snapshots, and reports whether that changed anything.
func (t *Table) setRefs(pins history.Pins) bool {
	m := &t.Metadata
	refs := map[string]Ref{}
	for name, pin := range pins {
		if m.snapshot(pin.Version) == nil {
			continue
		}
		if name == mainBranch {
			name = "pin-" + name
		}
		refs[name] = Ref{int64(pin.Version), "tag"}
	}
	if m.CurrentSnapshotID >= 0 {
		refs[mainBranch] = Ref{m.CurrentSnapshotID, "branch"}
	}
	changed := !maps.Equal(refs, m.Refs)
	m.Refs = refs
	return changed
}

// builder makes the snapshot of one version.
type builder struct {
	*Publisher
	ctx     context.Context
	view    string
	table   string // the prefix of its objects
	version uint64 // of the view; of a table of changes, the snapshot's number
	state   *state // of the version before, or of a later one
	objects int    // made
	prefix  string // of the names of objects that it makes
}

func (b *builder) path(l *layer.Layer) string {
	return b.Root + "/" + layout.Layer(b.view, l.Info().ID)
}

func (b *builder) put(kind, suffix string, body []byte) (name string, err error) {
	if b.prefix == "" {
		nonce, err := b.nonce()
		if err != nil {
			return "", err
		}
		b.prefix = fmt.Sprintf("%020d-%s", b.version, nonce)
	}
	name = fmt.Sprintf("%s/%s-%d%s", kind, b.prefix, b.objects, suffix)
	b.objects++
	if _, err := b.Store.Put(b.ctx, layout.IcebergObject(b.table, name), body); err != nil {
		return "", fmt.Errorf("write a file of the table: %w", err)
	}
	return name, nil
}

// build writes what the snapshot needs and is not there yet, and returns it with the state after it.
func (b *builder) build(m *manifest.Manifest) (s Snapshot, next state, err error) {
	v, err := layer.OpenView(b.Store, b.view, m.Base, m.Deltas, b.Cache)
	if err != nil {
		return s, next, err
	}
	next = state{Location: b.state.Location, Version: m.Version}
	if next.Deletes, err = b.deletes(v); err != nil {
		return s, next, err
	}
	if next.Data, err = b.dataManifests(v); err != nil {
		return s, next, err
	}
	if next.DeleteManifest, err = b.deleteManifest(next.Deletes); err != nil {
		return s, next, err
	}
	list, files, deletes, rows, bytes := []listed{}, 0, len(next.Deletes), int64(0), int64(0)
	for _, d := range next.Data {
		list = append(list, b.listed(d, contentData))
		files += len(d.Layers)
		rows += d.Rows + d.OldRows
	}
	for _, infos := range [][]layer.Info{m.Base, m.Deltas} {
		for _, i := range infos {
			bytes += i.Bytes
		}
	}
	deleted := int64(0)
	for _, d := range next.Deletes {
		deleted += d.Rows
		bytes += d.Bytes
	}
	if next.DeleteManifest.Name != "" {
		list = append(list, b.listed(next.DeleteManifest, contentDeletes))
	}
	body, err := encodeList(m.Version, list)
	if err != nil {
		return s, next, err
	}
	name, err := b.put("metadata", "-list.avro", body)
	if err != nil {
		return s, next, err
	}
	next.Objects = b.objectsUsed(&next, name)
	number := func(n int) string { return strconv.Itoa(n) }
	return Snapshot{
		ID: int64(m.Version), SequenceNumber: int64(m.Version), TimestampMs: m.FoldedAt / 1e6, ManifestList: b.state.Location + "/" + name,
		Summary: map[string]string{
			"operation": "overwrite", "total-data-files": number(files), "total-delete-files": number(deletes), "total-records": strconv.FormatInt(rows, 10),
			"total-files-size": strconv.FormatInt(bytes, 10), "total-position-deletes": strconv.FormatInt(deleted, 10), "total-equality-deletes": "0",
			"fustor.files": strconv.FormatInt(m.Totals.Files, 10), "fustor.directories": strconv.FormatInt(m.Totals.Directories, 10), "fustor.bytes": strconv.FormatInt(m.Totals.Bytes, 10),
		},
	}, next, nil
}

// objectsUsed are the state's objects and those of one more snapshot.
func (b *builder) objectsUsed(next *state, list string) []usedObject {
	now := []string{list}
	if next.DeleteManifest.Name != "" {
		now = append(now, next.DeleteManifest.Name)
	}
	for _, d := range next.Data {
		now = append(now, d.Name)
	}
	for _, d := range next.Deletes {
		now = append(now, d.Name)
	}
	for _, f := range next.Files {
		now = append(now, f.Name)
	}
	objects := slices.Clone(b.state.Objects)
	at := map[string]int{}
	for i := range objects {
		at[objects[i].Name] = i
	}
	for _, name := range now {
		if i, known := at[name]; known {
			objects[i].First, objects[i].Last = min(objects[i].First, b.version), max(objects[i].Last, b.version)
		} else {
			objects = append(objects, usedObject{name, b.version, b.version})
		}
	}
	return objects
}

func (b *builder) listed(d dataManifest, content int32) listed {
	return listed{
		Path: b.state.Location + "/" + d.Name, Length: d.Bytes, Content: content, SequenceNumber: int64(d.Version), MinSequenceNumber: d.Minimum,
		AddedSnapshotID: int64(d.Version), AddedFiles: d.Added, ExistingFiles: d.Existing, AddedRows: d.Rows, ExistingRows: d.OldRows,
	}
}

// known are the layers that the state is of: of any two of them, it has all that one supersedes in the other.
func (s *state) known() map[string]bool {
	known := map[string]bool{}
	for _, d := range s.Data {
		for _, id := range d.Layers {
			known[id] = true
		}
	}
	return known
}

func overlap(a, b layer.Info) bool {
	return a.First.Compare(b.Last) <= 0 && b.First.Compare(a.Last) <= 0
}

// deletes are the delete files of a version: those of the state that still count, and new ones for the layers that are new to it.
func (b *builder) deletes(v *layer.View) (files []deleteFile, err error) {
	known, present := b.state.known(), map[string]bool{}
	layers := slices.Concat(v.Deltas(), v.Base())
	for _, l := range layers {
		present[l.Info().ID] = true
	}
	for _, f := range b.state.Deletes {
		if (f.Of == "" || present[f.Of]) && slices.ContainsFunc(f.Targets, func(id string) bool { return present[id] }) {
			files = append(files, f)
		}
	}
	for i, newer := range v.Deltas() {
		var older []*layer.Layer
		for _, l := range layers[i+1:] {
			if !(known[newer.Info().ID] && known[l.Info().ID]) && overlap(newer.Info(), l.Info()) {
				older = append(older, l)
			}
		}
		var found []rows
		if len(older) > 0 {
			if found, err = superseded(b.ctx, newer, older); err != nil {
				return nil, err
			}
		}
		if !known[newer.Info().ID] && newer.Info().Removed > 0 {
			own, err := tombstones(b.ctx, newer)
			if err != nil {
				return nil, err
			}
			found = append(found, own)
		}
		if files, err = b.deleteFile(files, newer.Info().ID, found); err != nil {
			return nil, err
		}
	}
	var found []rows
	n := 0
	for _, l := range v.Base() {
		if known[l.Info().ID] || l.Info().Removed == 0 {
			continue
		}
		own, err := tombstones(b.ctx, l)
		if err != nil {
			return nil, err
		}
		if found, n = append(found, own), n+len(own.positions); n >= rowsPerDeleteFile {
			if files, err = b.deleteFile(files, "", found); err != nil {
				return nil, err
			}
			found, n = nil, 0
		}
	}
	return b.deleteFile(files, "", found)
}

// deleteFile writes a delete file and adds it to files.
func (b *builder) deleteFile(files []deleteFile, of string, found []rows) ([]deleteFile, error) {
	if len(found) == 0 {
		return files, nil
	}
	body, err := encodeDeletes(found, b.path)
	if err != nil {
		return nil, err
	}
	f := deleteFile{Bytes: int64(len(body)), Version: b.version, Of: of}
	for _, r := range found {
		f.Targets = append(f.Targets, r.layer.Info().ID)
		f.Rows += int64(len(r.positions))
	}
	slices.Sort(f.Targets)
	if f.Targets = slices.Compact(f.Targets); f.Rows == 0 {
		return files, nil
	}
	if f.Name, err = b.put("deletes", ".parquet", body); err != nil {
		return nil, err
	}
	return append(files, f), nil
}

// deleteManifest names the delete files. It is the state's if that names the same.
func (b *builder) deleteManifest(files []deleteFile) (d dataManifest, err error) {
	if len(files) == 0 {
		return d, nil
	}
	if slices.EqualFunc(files, b.state.Deletes, func(x, y deleteFile) bool { return x.Name == y.Name }) {
		return b.state.DeleteManifest, nil
	}
	var entries []entry
	d.Version, d.Minimum = b.version, int64(b.version)
	for _, f := range files {
		number := int64(f.Version)
		low, high := b.Root+"/"+layout.Layer(b.view, f.Targets[0]), b.Root+"/"+layout.Layer(b.view, f.Targets[len(f.Targets)-1])
		e := entry{Status: statusAdded, SnapshotID: &number, SequenceNumber: &number, FileSequenceNumber: &number, File: dataFile{
			Content: 1, Path: b.state.Location + "/" + f.Name, Format: "PARQUET", Records: f.Rows, Bytes: f.Bytes,
			Lower: &[]idBytes{{deletePathID, []byte(low)}}, Upper: &[]idBytes{{deletePathID, []byte(high)}},
		}}
		if low == high {
			e.File.ReferencedToFile = &low
		}
		d.Minimum = min(d.Minimum, number)
		if f.Version == b.version {
			d.Added++
			d.Rows += f.Rows
		} else {
			e.Status = statusExisting
			d.Existing++
			d.OldRows += f.Rows
		}
		entries = append(entries, e)
	}
	body, err := encodeManifest(tableSchema(), contentDeletes, entries)
	if err != nil {
		return d, err
	}
	d.Bytes = int64(len(body))
	d.Name, err = b.put("metadata", "-deletes.avro", body)
	return d, err
}

// dataSequence is the sequence number of all data files: what deletes rows of them comes later.
const dataSequence = 1

// dataManifests are the manifests of a version's layers. Those of the state whose layers are all there are used as they are; of the
// others the entries are used, and only layers that are new are asked.
func (b *builder) dataManifests(v *layer.View) (manifests []dataManifest, err error) {
	deltas, present := map[string]bool{}, map[string]*layer.Layer{}
	for _, l := range v.Deltas() {
		deltas[l.Info().ID], present[l.Info().ID] = true, l
	}
	for _, l := range v.Base() {
		present[l.Info().ID] = l
	}
	whole := func(d dataManifest) bool {
		return !slices.ContainsFunc(d.Layers, func(id string) bool { return present[id] == nil || deltas[id] != d.Deltas })
	}
	small := func(d dataManifest) bool { return !d.Deltas && 2*len(d.Layers) < layersPerManifest }
	done, entries := map[string]bool{}, map[string]entry{}
	manifests, rest := reusable(b.state.Data, whole, small)
	for _, d := range manifests {
		for _, id := range d.Layers {
			done[id] = true
		}
	}
	for _, d := range rest {
		if !slices.ContainsFunc(d.Layers, func(id string) bool { return present[id] != nil }) {
			continue
		}
		if err := b.readManifest(d, entries); err != nil {
			return nil, err
		}
	}
	for _, group := range []struct {
		layers []*layer.Layer
		deltas bool
	}{{v.Base(), false}, {v.Deltas(), true}} {
		var open []*layer.Layer
		for _, l := range group.layers {
			if !done[l.Info().ID] {
				open = append(open, l)
			}
		}
		for chunk := range slices.Chunk(open, layersPerManifest) {
			d, err := b.dataManifest(chunk, entries)
			if err != nil {
				return nil, err
			}
			d.Deltas = group.deltas
			manifests = append(manifests, d)
		}
	}
	return manifests, nil
}

// reusable are the manifests that are used as they are: those that are whole, but for small ones if there are too many. rest are the others.
func reusable(all []dataManifest, whole, small func(dataManifest) bool) (used, rest []dataManifest) {
	few := 0
	for _, d := range all {
		if whole(d) && small(d) {
			few++
		}
	}
	for _, d := range all {
		if whole(d) && (few <= smallManifests || !small(d)) {
			used = append(used, d)
		} else {
			rest = append(rest, d)
		}
	}
	return used, rest
}

// readManifest takes the entries of a manifest of the state, by the layer's id.
func (b *builder) readManifest(d dataManifest, entries map[string]entry) error {
	o, err := b.Store.Get(b.ctx, layout.IcebergObject(b.table, d.Name))
	if err != nil {
		return fmt.Errorf("read a manifest of the table: %w", err)
	}
	found, err := decodeManifest(o.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", d.Name, err)
	}
	if len(found) != len(d.Layers) {
		return fmt.Errorf("%s: it has %d entries, not %d", d.Name, len(found), len(d.Layers))
	}
	for i, e := range found {
		entries[d.Layers[i]] = e
	}
	return nil
}

// dataManifest writes a manifest of layers; entries are those that are known.
func (b *builder) dataManifest(layers []*layer.Layer, entries map[string]entry) (d dataManifest, err error) {
	all := make([]entry, len(layers))
	g, ctx := errgroup.WithContext(b.ctx)
	g.SetLimit(parallelReads)
	for i, l := range layers {
		if e, known := entries[l.Info().ID]; known {
			e.Status = statusExisting
			all[i] = e
			continue
		}
		g.Go(func() (err error) {
			all[i], err = b.entryOf(ctx, l)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return d, err
	}
	d.Version, d.Minimum = b.version, dataSequence
	for i, l := range layers {
		d.Layers = append(d.Layers, l.Info().ID)
		if all[i].Status == statusAdded {
			d.Added++
			d.Rows += all[i].File.Records
		} else {
			d.Existing++
			d.OldRows += all[i].File.Records
		}
	}
	body, err := encodeManifest(tableSchema(), contentData, all)
	if err != nil {
		return d, err
	}
	d.Bytes = int64(len(body))
	d.Name, err = b.put("metadata", "-data.avro", body)
	return d, err
}

// entryOf is the entry of a layer that is new to the table, with the bounds of its Parquet footer.
func (b *builder) entryOf(ctx context.Context, l *layer.Layer) (entry, error) {
	statistics, err := l.Statistics(ctx)
	if err != nil {
		return entry{}, err
	}
	groups, err := l.Groups(ctx)
	if err != nil {
		return entry{}, err
	}
	info := l.Info()
	f := dataFile{
		Path: b.path(l), Format: "PARQUET", Records: info.Rows, Bytes: info.Bytes,
		ColumnSizes: &[]idNumber{}, ValueCounts: &[]idNumber{}, NullCounts: &[]idNumber{}, Lower: &[]idBytes{}, Upper: &[]idBytes{}, SplitOffsets: &[]int64{groups[0].Offset},
	}
	for _, s := range statistics {
		if hidden[s.Column] {
			continue
		}
		id := int32(s.Column.FieldID())
		*f.ColumnSizes = append(*f.ColumnSizes, idNumber{id, s.Bytes})
		*f.ValueCounts = append(*f.ValueCounts, idNumber{id, info.Rows})
		*f.NullCounts = append(*f.NullCounts, idNumber{id, 0})
		if s.Min != nil {
			*f.Lower, *f.Upper = append(*f.Lower, idBytes{id, s.Min}), append(*f.Upper, idBytes{id, s.Max})
		}
	}
	if !slices.ContainsFunc(groups, func(g layer.Group) bool { return g.NotUTF8 }) { // otherwise the texts may be out of order
		order := int32(sortedOrder)
		f.SortOrderID = &order
	}
	version, sequence := int64(b.version), int64(dataSequence)
	return entry{Status: statusAdded, SnapshotID: &version, SequenceNumber: &sequence, FileSequenceNumber: &version, File: f}, nil
}
