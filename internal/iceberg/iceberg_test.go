package iceberg

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

const testView = "v"

// world is a view whose versions are made by hand, and what each of them shows.
type world struct {
	*testing.T
	st       store.Store
	p        *Publisher
	random   *rand.Rand
	rows     map[layer.Key]evidence.Row // of the newest version, tombstones too
	base     []layer.Info
	deltas   []layer.Info
	ids      int
	versions []*manifest.Manifest
	shown    map[uint64][]string // by version: lines of its rows
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := Root(st.String())
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	return &world{T: t, st: st, random: random, rows: map[layer.Key]evidence.Row{}, shown: map[uint64][]string{},
		p: &Publisher{Store: st, Root: root, Cache: layer.NewCache(8 << 20), Now: func() int64 { return 1_800_000_000e9 }, Random: bytesOf{random}}}
}

type bytesOf struct{ *rand.Rand }

func (r bytesOf) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

// layer writes rows as a layer.
func (w *world) layer(rows map[layer.Key]evidence.Row) layer.Info {
	w.Helper()
	w.ids++
	o := layer.NewWriter(layer.WriterOptions{ID: fmt.Sprintf("01JZ%022d", w.ids), RowsPerGroup: 16})
	for _, k := range slices.SortedFunc(maps.Keys(rows), layer.Key.Compare) {
		r := rows[k]
		if err := o.Append(&r); err != nil {
			w.Fatal(err)
		}
	}
	b, err := o.Finish()
	if err == nil {
		err = layer.Publish(w.Context(), w.st, testView, b)
	}
	if err != nil {
		w.Fatal(err)
	}
	return b.Info
}

// change makes a version with a new delta: some new rows, some changed, some removed.
func (w *world) change(n int) {
	w.Helper()
	delta := map[layer.Key]evidence.Row{}
	for range n {
		name := fmt.Sprintf("n%d", w.random.IntN(400))
		if w.random.IntN(10) == 0 {
			name += "\xff" // not UTF-8
		}
		if w.random.IntN(10) == 0 {
			name += "ü"
		}
		k := layer.Key{Parent: fmt.Sprintf("/d%d/", w.random.IntN(9)), Name: name}
		r := evidence.Row{Parent: k.Parent, Name: k.Name, Type: event.File, Size: int64(w.random.IntN(1 << 30)), MtimeNs: w.random.Int64N(1 << 60), UID: uint32(w.random.IntN(5))}
		if was, there := w.rows[k]; there && !was.Removed && w.random.IntN(2) == 0 {
			r.Removed = true
		}
		delta[k] = r
	}
	maps.Copy(w.rows, delta)
	w.deltas = slices.Insert(w.deltas, 0, w.layer(delta))
	w.version()
}

// merge makes base partitions of all rows. With keep the deltas stay over them, as after the first steps of a merge of ranges; tombstones
// stay in any case.
func (w *world) merge(partitions int, keep bool) {
	w.Helper()
	keys := slices.SortedFunc(maps.Keys(w.rows), layer.Key.Compare)
	w.base = nil
	for chunk := range slices.Chunk(keys, len(keys)/partitions+1) {
		rows := map[layer.Key]evidence.Row{}
		for _, k := range chunk {
			rows[k] = w.rows[k]
		}
		w.base = append(w.base, w.layer(rows))
	}
	if !keep {
		w.deltas = nil
	}
	w.version()
}

func (w *world) version() {
	n := uint64(len(w.versions) + 1)
	m := &manifest.Manifest{Format: 1, View: testView, Version: n, Nonce: "x", FoldedAt: 1_700_000_000e9 + int64(n)*60e9, Base: slices.Clone(w.base), Deltas: slices.Clone(w.deltas)}
	w.versions = append(w.versions, m)
	lines := []string{}
	for _, r := range w.rows {
		if !r.Removed {
			lines = append(lines, line(r))
		}
	}
	slices.Sort(lines)
	w.shown[n] = lines
}

func line(r evidence.Row) string {
	return fmt.Sprintf("%x %x %d %d %d", r.Parent, r.Name, r.Size, r.MtimeNs, r.UID)
}

func (w *world) publish(pins history.Pins, versions ...*manifest.Manifest) Published {
	w.Helper()
	done, err := w.p.Publish(w.Context(), testView, func(*Table) ([]*manifest.Manifest, error) { return versions, nil }, pins)
	if err != nil {
		w.Fatal(err)
	}
	return done
}

// published reads a snapshot as an engine does, from the metadata alone: the rows of its data files without those that its delete files
// name. It checks on the way what engines rely on.
func (w *world) published(version uint64) []string {
	w.Helper()
	t, err := Load(w.Context(), w.st, testView)
	if err != nil {
		w.Fatal(err)
	}
	s := t.Metadata.snapshot(version)
	if s == nil {
		w.Fatalf("the table has no snapshot of version %d", version)
	}
	deleted := map[string]map[int64]bool{}
	var data []entry
	for _, l := range w.list(s.ManifestList) {
		if l.SequenceNumber > t.Metadata.LastSequenceNumber {
			w.Errorf("a manifest is of %d, after %d", l.SequenceNumber, t.Metadata.LastSequenceNumber)
		}
		body := w.object(l.Path)
		if int64(len(body)) != l.Length {
			w.Errorf("%s has %d bytes, not %d", l.Path, len(body), l.Length)
		}
		entries, err := decodeManifest(body)
		if err != nil {
			w.Fatal(err)
		}
		if len(entries) != int(l.AddedFiles+l.ExistingFiles) {
			w.Errorf("%s has %d entries, not %d + %d", l.Path, len(entries), l.AddedFiles, l.ExistingFiles)
		}
		for _, e := range entries {
			if body := w.object(e.File.Path); int64(len(body)) != e.File.Bytes {
				w.Errorf("%s has %d bytes, not %d", e.File.Path, len(body), e.File.Bytes)
			}
			if l.Content == contentData {
				data = append(data, e)
				continue
			}
			for _, r := range w.deletes(e) {
				if deleted[r.Path] == nil {
					deleted[r.Path] = map[int64]bool{}
				}
				deleted[r.Path][r.Position] = true
			}
		}
	}
	lines := []string{}
	for _, e := range data {
		id := strings.TrimSuffix(filepath.Base(e.File.Path), ".parquet")
		var info *layer.Info
		m := w.versions[version-1]
		for _, i := range slices.Concat(m.Base, m.Deltas) {
			if i.ID == id {
				info = &i
			}
		}
		if info == nil {
			w.Fatalf("version %d has no layer %s", version, id)
		}
		l := layer.New(w.st, testView, *info, w.p.Cache)
		groups, err := l.Groups(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		at := int64(0)
		for g := range groups {
			b, err := l.Block(w.Context(), g)
			if err != nil {
				w.Fatal(err)
			}
			for i := range b.Len() {
				var r evidence.Row
				if err := b.Row(i, &r); err != nil {
					w.Fatal(err)
				}
				if !deleted[e.File.Path][at] {
					lines = append(lines, line(r))
				}
				at++
			}
		}
		if at != e.File.Records {
			w.Errorf("%s has %d rows, not %d", e.File.Path, at, e.File.Records)
		}
	}
	slices.Sort(lines)
	return lines
}

func (w *world) key(path string) string {
	w.Helper()
	key, ok := strings.CutPrefix(path, w.p.Root+"/")
	if !ok {
		w.Fatalf("%s is not in the store", path)
	}
	return key
}

func (w *world) object(path string) []byte {
	w.Helper()
	o, err := w.st.Get(w.Context(), w.key(path))
	if err != nil {
		w.Fatal(err)
	}
	return o.Body
}

// TestSnapshotsAreVersions: whatever the layers are and in whichever order versions are published, a snapshot has the rows of its version.
func TestSnapshotsAreVersions(t *testing.T) {
	w := newWorld(t)
	w.history()
	var late []*manifest.Manifest
	for i, m := range w.versions {
		switch {
		case m.Version%5 == 2: // pinned much later
			late = append(late, m)
			continue
		case m.Version%5 == 3: // the next one is first
			continue
		}
		w.publish(nil, m)
		if m.Version%5 == 4 {
			w.publish(nil, w.versions[i-1])
		}
		same(t, m.Version, w.published(m.Version), w.shown[m.Version])
	}
	pins := history.Pins{"a": {Version: late[0].Version}, "main": {Version: late[1].Version}}
	w.publish(pins, late...)
	for _, m := range w.versions {
		same(t, m.Version, w.published(m.Version), w.shown[m.Version])
	}
	table, err := Load(t.Context(), w.st, testView)
	if err != nil {
		t.Fatal(err)
	}
	newest := int64(len(w.versions))
	if refs := table.Metadata.Refs; !maps.Equal(refs, map[string]Ref{"main": {newest, "branch"}, "a": {int64(late[0].Version), "tag"}, "pin-main": {int64(late[1].Version), "tag"}}) {
		t.Errorf("references: %v", refs)
	}
	if log := table.Metadata.SnapshotLog; len(log) != len(w.versions) || log[len(log)-1].SnapshotID != newest || !slices.IsSortedFunc(log, func(a, b LogEntry) int { return cmp.Compare(a.TimestampMs, b.TimestampMs) }) {
		t.Errorf("log: %v", log)
	}
}

// history makes versions of all kinds.
func (w *world) history() {
	w.change(300)
	w.merge(3, true)
	w.change(40)
	w.merge(3, false)
	for i := range 12 {
		w.change(20 + i)
	}
	w.merge(5, true)
	w.change(10)
	w.merge(5, false)
	w.change(5)
	w.merge(1, false)
}

func same(t *testing.T, version any, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("version %v has %d rows, want %d", version, len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("the first that differs: %s, want %s", got[i], want[i])
			}
		}
	}
}

// TestPublishingAgainIsIncremental: nothing is written where nothing changed, and files of layers that stay are used again.
func TestPublishingAgainIsIncremental(t *testing.T) {
	w := newWorld(t)
	w.change(300)
	w.merge(3, false)
	w.change(30)
	w.publish(nil, w.versions...)
	counted := &counter{Store: w.st}
	w.p.Store = counted
	if done := w.publish(nil, w.versions...); done.Changed || counted.puts != 0 || counted.gets != 3 {
		t.Errorf("publishing nothing new: %+v, %d written, %d read", done, counted.puts, counted.gets)
	}
	*counted = counter{Store: w.st}
	w.change(40)
	w.publish(nil, w.versions[len(w.versions)-1])
	// A delete file, a manifest of deltas, one of delete files, a list, the state, the metadata, the hint.
	if counted.puts != 7 {
		t.Errorf("publishing a few changes writes %d objects: %q", counted.puts, counted.keys)
	}
	t.Logf("publishing a few changes: %d PUTs of %d bytes, %d GETs", counted.puts, counted.bytes, counted.gets)
}

// TestExpire: versions go out of the table before their objects do, and what the others need stays.
func TestExpire(t *testing.T) {
	w := newWorld(t)
	w.history()
	for _, m := range w.versions {
		w.publish(nil, m)
	}
	newest := uint64(len(w.versions))
	kept := func(v uint64) bool { return v%4 == 0 || v == newest }
	if fine, err := w.p.Expire(t.Context(), testView, func(v uint64) bool { return v != newest }); err != nil || fine {
		t.Fatalf("the current snapshot is not kept: %t, %v", fine, err)
	}
	if fine, err := w.p.Expire(t.Context(), testView, kept); err != nil || !fine {
		t.Fatalf("%t, %v", fine, err)
	}
	needed, err := Objects(t.Context(), w.st, layout.Iceberg(testView))
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	page, err := w.st.List(t.Context(), layout.Iceberg(testView), "", 0)
	if err != nil || page.More {
		t.Fatal(err, page.More)
	}
	for _, i := range page.Items {
		if !needed[i.Key] {
			removed++
			if err := w.st.Delete(t.Context(), i.Key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if removed == 0 || len(needed) == 0 {
		t.Errorf("%d removed, %d needed", removed, len(needed))
	}
	w.change(7)
	w.publish(nil, w.versions[newest])
	table, err := Load(t.Context(), w.st, testView)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range table.Metadata.Snapshots {
		same(t, s.ID, w.published(uint64(s.ID)), w.shown[uint64(s.ID)])
	}
	if got, want := len(table.Metadata.Snapshots), int(newest/4)+2; got != want && newest%4 != 0 {
		t.Errorf("%d snapshots, want %d", got, want)
	}
}

// TestWithdraw: a table that was taken back may come again.
func TestWithdraw(t *testing.T) {
	w := newWorld(t)
	w.change(20)
	w.publish(nil, w.versions...)
	if err := Withdraw(t.Context(), w.st, layout.Iceberg(testView)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), w.st, testView); !errors.Is(err, ErrNone) {
		t.Fatal(err)
	}
	w.change(20)
	w.publish(nil, w.versions[1])
	same(t, 2, w.published(2), w.shown[2])
}

// TestInterruptedPublication: a process that ended between the metadata and the hint has published; the next goes on from there.
func TestInterruptedPublication(t *testing.T) {
	w := newWorld(t)
	w.change(20)
	w.publish(nil, w.versions...)
	w.change(20)
	w.p.Store = failing{w.st, layout.IcebergHint(layout.Iceberg(testView))}
	if _, err := w.p.Publish(t.Context(), testView, func(*Table) ([]*manifest.Manifest, error) { return w.versions, nil }, nil); err == nil {
		t.Fatal("no error")
	}
	w.p.Store = w.st
	w.change(20)
	w.publish(nil, w.versions[2])
	table, err := Load(t.Context(), w.st, testView)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.Metadata.Snapshots); n != 3 || table.Number != 3 {
		t.Errorf("%d snapshots in metadata %d", n, table.Number)
	}
	for v := range uint64(3) {
		same(t, v+1, w.published(v+1), w.shown[v+1])
	}
}

func TestRoot(t *testing.T) {
	for url, want := range map[string]string{
		"file:///srv/store":                            "file:///srv/store",
		"s3://bucket/some/prefix?region=eu-west-1":     "s3://bucket/some/prefix",
		"s3://bucket?endpoint=https://h:9000&region=x": "s3://bucket",
		"minio://host:9000/bucket/prefix?tls=false":    "s3://bucket/prefix",
		"minio://host:9000/bucket":                     "s3://bucket",
	} {
		if got, err := Root(url); err != nil || got != want {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
}

// engineScript prints, for each snapshot of a table, its rows as an engine reads them.
const engineScript = `
import json, sys
engine, metadata, table, snapshots = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
columns = ["parent", "parent_raw", "name", "name_raw", "size", "mtime_ns", "uid"]
if engine == "pyiceberg":
    from pyiceberg.table import StaticTable
    t = StaticTable.from_metadata(metadata)
    read = lambda s: [tuple(r.values()) for r in t.scan(snapshot_id=s, selected_fields=tuple(columns)).to_arrow().select(columns).to_pylist()]
else:
    import duckdb
    from importlib.resources import files
    d = duckdb.connect(config={"allow_unsigned_extensions": True})
    for e in ("avro", "iceberg"):
        d.load_extension(str(next(p for p in files("duckdb_extension_" + e).rglob("*.duckdb_extension"))))
    d.sql("set threads to 1")
    read = lambda s: d.sql(f"select {','.join(columns)} from iceberg_scan('{table}', snapshot_from_id = {s})").fetchall()
out = {}
for s in snapshots:
    rows = []
    for parent, parent_raw, name, name_raw, size, mtime, uid in read(s):
        rows.append(f"{(parent_raw or parent.encode()).hex()} {(name_raw or name.encode()).hex()} {size} {mtime} {uid}")
    out[s] = sorted(rows)
print(json.dumps(out))
`

// TestEnginesReadSnapshots: PyIceberg and DuckDB read of each snapshot what the version shows.
func TestEnginesReadSnapshots(t *testing.T) {
	w := newWorld(t)
	w.history()
	for _, m := range w.versions {
		w.publish(nil, m)
	}
	table, err := Load(t.Context(), w.st, testView)
	if err != nil {
		t.Fatal(err)
	}
	location := strings.TrimPrefix(table.Metadata.Location, "file://")
	snapshots := []int{1, 2, 3, 4, 9, 16, 17, 18, 19, len(w.versions)}
	asked, err := json.Marshal(snapshots)
	if err != nil {
		t.Fatal(err)
	}
	for engine, modules := range map[string]string{"pyiceberg": "pyiceberg.table, pyarrow", "duckdb": "duckdb, duckdb_extension_iceberg, duckdb_extension_avro"} {
		t.Run(engine, func(t *testing.T) {
			if err := exec.Command("python3", "-c", "import "+modules).Run(); err != nil {
				t.Skipf("python3 with %s is not here: %v", modules, err)
			}
			cmd := exec.Command("python3", "-W", "ignore", "-c", engineScript, engine, fmt.Sprintf("%s/metadata/v%d.metadata.json", location, table.Number), location, string(asked))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			var got map[string][]string
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			for _, s := range snapshots {
				same(t, s, got[fmt.Sprint(s)], w.shown[uint64(s)])
			}
		})
	}
}
