package layer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/testkit/gentree"
)

// sums are what every reader of Parquet must agree on.
type sums struct {
	Rows     int64 `json:"rows"`
	Bytes    int64 `json:"bytes"`
	Mtimes   int64 `json:"mtimes"` // of mtime_ns modulo 1e9
	Removed  int64 `json:"removed"`
	Days     int64 `json:"days"`
	Symlinks int64 `json:"symlinks"`
	Names    int64 `json:"names"` // code points
	Raw      int64 `json:"raw"`   // rows with a name that is not UTF-8
	Latest   int64 `json:"latest"`
	UIDs     int64 `json:"uids"`
	Targets  int64 `json:"targets"`
	// Suspect is the sum of suspect_until_ns, a column whose encoding is not the same in all row groups.
	Suspect int64 `json:"suspect"`
}

// interopLayer is a layer of several row groups with a few rows that try the readers.
func interopLayer(t *testing.T) (Built, sums) {
	t.Helper()
	w := NewWriter(WriterOptions{ID: id(7)})
	want := sums{}
	add := func(r *evidence.Row, raw bool) {
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
		want.Rows++
		want.Bytes += r.Size
		want.Mtimes += r.MtimeNs % 1e9
		want.Removed += asNumber(r.Removed)
		want.Days += int64(r.AtimeDay)
		want.Symlinks += asNumber(r.Type == event.Symlink)
		want.Names += int64(len([]rune(readable(r.Name))))
		want.Raw += asNumber(raw)
		want.Latest += r.Sub.LatestMtimeNs % 1e9
		want.UIDs += int64(r.UID)
		want.Targets += int64(len([]rune(readable(r.Target))))
		want.Suspect += r.SuspectUntil
	}
	for r := range gentree.New(gentree.Options{Seed: 11, Rows: 40_000}).Rows() {
		add(r, false)
	}
	// After everything under the root: its names are of lower-case letters and digits.
	for i := range 300 {
		r := evidence.Row{
			Parent: "/~/", Name: fmt.Sprintf("n%03d", i), Type: event.Symlink, Target: "t\xff", UID: 1<<32 - 2, Size: int64(i),
			MtimeNs: int64(i), AtimeDay: -1, Removed: i%2 == 0, Source: "fs://\xfe", Agent: "ä", SuspectUntil: int64(i * i),
		}
		if i%3 == 0 {
			r.Name += "\xff"
		}
		add(&r, i%3 == 0)
	}
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return b, want
}

func TestParquetGoReadsALayer(t *testing.T) {
	b, want := interopLayer(t)
	f, err := parquet.OpenFile(bytes.NewReader(b.Data), int64(len(b.Data)))
	if err != nil {
		t.Fatal(err)
	}
	if f.NumRows() != want.Rows {
		t.Fatalf("%d rows, want %d", f.NumRows(), want.Rows)
	}
	if by := f.Metadata().CreatedBy; !regexp.MustCompile(`^\S+ version \d+\.\d+\.\d+ \(build \S+\)$`).MatchString(by) {
		t.Errorf("created_by is %q: parquet-java ignores the bounds of such files", by)
	}
	for i, e := range f.Metadata().Schema[1:] {
		if int(e.FieldID) != i+1 || e.Name != specs[i].name {
			t.Errorf("column %d is %q with the field id %d", i, e.Name, e.FieldID)
		}
	}
	type row struct {
		Parent   string `parquet:"parent"`
		Name     string `parquet:"name"`
		NameRaw  []byte `parquet:"name_raw"`
		Type     string `parquet:"type"`
		Size     int64  `parquet:"size"`
		Mtime    int64  `parquet:"mtime_ns"`
		AtimeDay int32  `parquet:"atime_day"`
		UID      int64  `parquet:"uid"`
		Removed  bool   `parquet:"removed"`
		Target   string `parquet:"target"`
		Latest   int64  `parquet:"sub_latest_mtime_ns"`
		Suspect  int64  `parquet:"suspect_until_ns"`
	}
	rows, err := parquet.Read[row](bytes.NewReader(b.Data), int64(len(b.Data)))
	if err != nil {
		t.Fatal(err)
	}
	got := sums{}
	for i := range rows {
		r := &rows[i]
		got.Rows++
		got.Bytes += r.Size
		got.Mtimes += r.Mtime % 1e9
		got.Removed += asNumber(r.Removed)
		got.Days += int64(r.AtimeDay)
		got.Symlinks += asNumber(r.Type == "symlink")
		got.Names += int64(len([]rune(r.Name)))
		got.Raw += asNumber(len(r.NameRaw) > 0)
		got.Latest += r.Latest % 1e9
		got.UIDs += r.UID
		got.Targets += int64(len([]rune(r.Target)))
		got.Suspect += r.Suspect
	}
	if got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	groups := f.RowGroups()
	if s := groups[0].SortingColumns(); len(s) != 2 || s[0].Path()[0] != "parent" || s[1].Path()[0] != "name" {
		t.Fatalf("sorting columns of the first row group: %v", s)
	}
	if s := groups[len(groups)-1].SortingColumns(); len(s) != 0 {
		t.Fatalf("a row group of readable names that may be out of order says it is sorted: %v", s)
	}
}

const duckdbScript = `
import duckdb, json, sys
f = sys.argv[1]
q = duckdb.sql(f"""select count(*) as rows, sum(size)::bigint as bytes, sum(mtime_ns % 1000000000)::bigint as mtimes,
  count(*) filter (removed) as removed, sum(date_diff('day', date '1970-01-01', atime_day))::bigint as days,
  count(*) filter (type = 'symlink') as symlinks, sum(length(name))::bigint as names, count(*) filter (name_raw <> '') as raw,
  sum(sub_latest_mtime_ns % 1000000000)::bigint as latest, sum(uid)::bigint as uids, sum(length(target))::bigint as targets,
  sum(suspect_until_ns)::bigint as suspect
  from '{f}'""")
print(json.dumps(dict(zip(q.columns, q.fetchall()[0]))))
`

const pyarrowScript = `
import json, sys
import pyarrow.parquet as pq, pyarrow.compute as pc
f = pq.ParquetFile(sys.argv[1])
t = f.read()
t.validate(full=True)
mod = lambda c: sum((abs(v) % 10**9) * (1 if v >= 0 else -1) for v in t[c].to_pylist())
total = lambda v: sum(v.to_pylist())
print(json.dumps(dict(rows=t.num_rows, bytes=total(t["size"]), mtimes=mod("mtime_ns"), removed=total(pc.cast(t["removed"], "int64")),
  days=total(pc.cast(t["atime_day"], "int32")), symlinks=sum(v == "symlink" for v in t["type"].to_pylist()),
  names=sum(map(len, t["name"].to_pylist())), raw=sum(v != b"" for v in t["name_raw"].to_pylist()), latest=mod("sub_latest_mtime_ns"),
  uids=total(t["uid"]), targets=sum(map(len, t["target"].to_pylist())),
  suspect=total(t["suspect_until_ns"]))))
`

func TestDuckDBReadsALayer(t *testing.T)  { runPython(t, "duckdb", duckdbScript) }
func TestPyArrowReadsALayer(t *testing.T) { runPython(t, "pyarrow", pyarrowScript) }

func runPython(t *testing.T, module, script string) {
	if err := exec.Command("python3", "-c", "import "+module).Run(); err != nil {
		t.Skipf("python3 with %s is not here: %v", module, err)
	}
	b, want := interopLayer(t)
	file := filepath.Join(t.TempDir(), "layer.parquet")
	if err := os.WriteFile(file, b.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", "-c", script, file).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var got sums
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}
