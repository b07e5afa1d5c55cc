package layer

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
)

var update = flag.Bool("update", false, "write the golden layer of today's schema anew")

// goldenRows are of every kind, with some text that is not UTF-8 in the second row group.
func goldenRows() []evidence.Row {
	const at = 1_750_000_000_123_456_789
	rows := []evidence.Row{
		{Type: event.Directory, Mode: 0o755, MtimeNs: at, ObservedAt: at, Evidence: event.Snapshot, Agent: "agent-1", Source: "fs://host-1/srv/data",
			Inode: event.Inode{Links: 3, Allocated: 4096, CtimeNs: at, BirthS: 1_749_999_993, ACL: goldenACL},
			Sub:   evidence.Totals{Files: 2, Directories: 2, Others: 2, Bytes: 1 << 40, LatestMtimeNs: at, Allocated: 1 << 30, LinkedAllocated: 512, Unmeasured: 1}},
		{Parent: "/", Name: "a", Type: event.Directory, Open: true, Evidence: 0, Sub: evidence.Totals{Directories: 1, LatestMtimeNs: evidence.NoMtime}},
		{Parent: "/", Name: "big", Type: event.File, Size: 1 << 40, MtimeNs: -5, AtimeDay: -1, UID: 1<<32 - 2, GID: 7, Mode: 0o4711,
			Evidence: event.Audit, AgentMissing: true, ObservedAt: at + 1, Inode: event.Inode{Links: 2, Allocated: 512, CtimeNs: -1, ID: 1<<64 - 1, BirthS: -2, ACL: event.NoACL}},
		{Parent: "/", Name: "gone", Type: event.File, Removed: true, ObservedAt: at + 2, Watermark: at - 1e9, EndedAt: at + 2, Evidence: event.Realtime},
		{Parent: "/a/", Name: "link", Type: event.Symlink, Target: "../\xff", Size: 4, Source: "fs://\xfe"},
		{Parent: "/a/", Name: "socket", Type: event.Other, SuspectUntil: at + 60e9, Evidence: event.OnDemand},
		{Parent: "/a/", Name: "x\xc3", Type: event.File, MtimeNs: at},
		{Parent: "/a\xff/", Name: "é", Removed: true},
	}
	return rows
}

// goldenACL is user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---.
const goldenACL event.ACL = "\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
	"\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// openUnknown are the golden rows as schema 3 has them: it knows of no directory that it is open.
func openUnknown() []evidence.Row {
	rows := goldenRows()
	for i := range rows {
		rows[i].Open = false
	}
	return rows
}

// bornUnknown are the golden rows as schema 2 has them: it knows nothing of births and ACLs.
func bornUnknown() []evidence.Row {
	rows := openUnknown()
	for i := range rows {
		rows[i].BirthS, rows[i].ACL = 0, ""
	}
	return rows
}

// unmeasured are the golden rows as schema 1 has them: it knows nothing of inodes.
func unmeasured() []evidence.Row {
	rows := openUnknown()
	for i := range rows {
		r := &rows[i]
		r.Inode = event.Inode{}
		r.Sub.Allocated, r.Sub.LinkedAllocated = 0, 0
		r.Sub.Unmeasured = r.Sub.Files + r.Sub.Directories + r.Sub.Others
	}
	return rows
}

// TestGoldenLayer reads layers that earlier builds wrote, one of each schema.
func TestGoldenLayer(t *testing.T) {
	if *update {
		w := NewWriter(WriterOptions{ID: "01JZ00000000000000000000G0", RowsPerGroup: 4})
		for _, r := range goldenRows() {
			if err := w.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
		b, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		info, err := json.MarshalIndent(b.Info, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		for name, body := range map[string][]byte{"golden-4.parquet": b.Data, "golden-4.json": append(info, '\n')} {
			if err := os.WriteFile(filepath.Join("testdata", name), body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	same(t, "schema 1", rowsOf(t, goldenLayer(t, "golden")), unmeasured())
	same(t, "schema 2", rowsOf(t, goldenLayer(t, "golden-2")), bornUnknown())
	same(t, "schema 3", rowsOf(t, goldenLayer(t, "golden-3")), openUnknown())
	same(t, "schema 4", rowsOf(t, goldenLayer(t, "golden-4")), goldenRows())
}

// goldenLayer opens a golden layer.
func goldenLayer(t *testing.T, name string) *Layer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".parquet"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var info Info
	if err := json.Unmarshal(body, &info); err != nil {
		t.Fatal(err)
	}
	st := openStore(t)
	if _, err := st.Put(t.Context(), layout.Layer(testView, info.ID), data); err != nil {
		t.Fatal(err)
	}
	return open(t, st, info)
}

// TestRowGroupsOfAnEarlierSchema are copied into layers of today's: decoded by AppendGroup, and as part of a block.
func TestRowGroupsOfAnEarlierSchema(t *testing.T) {
	for name, want := range map[string][]evidence.Row{"golden": unmeasured(), "golden-2": bornUnknown(), "golden-3": openUnknown()} {
		copied := copyOf(t, goldenLayer(t, name))
		same(t, name+" copied", rowsOf(t, copied), want)
		if raw, err := copied.RawGroup(t.Context(), 0); err != nil {
			t.Fatal(err)
		} else if chunks, err := raw.chunks(); err != nil || chunks[columns-1].end == 0 {
			t.Fatalf("%s: a copied row group is not of today's schema: %v", name, err)
		}
	}
}

// copyOf copies a layer's row groups into another.
func copyOf(t *testing.T, from *Layer) *Layer {
	t.Helper()
	groups, err := from.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(WriterOptions{ID: "01JZ00000000000000000000G3", RowsPerGroup: 3})
	for i := range groups {
		raw, err := from.RawGroup(t.Context(), i)
		if err == nil {
			err = w.AppendGroup(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	st := openStore(t)
	if err := Publish(t.Context(), st, testView, b); err != nil {
		t.Fatal(err)
	}
	return open(t, st, b.Info)
}
