package layer

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
)

var update = flag.Bool("update", false, "write the golden layer anew")

const goldenData, goldenInfo = "testdata/golden.parquet", "testdata/golden.json"

// goldenRows are of every kind, with some text that is not UTF-8 in the second row group.
func goldenRows() []evidence.Row {
	const at = 1_750_000_000_123_456_789
	rows := []evidence.Row{
		{Type: event.Directory, Mode: 0o755, MtimeNs: at, ObservedAt: at, Evidence: event.Snapshot, Agent: "agent-1", Source: "fs://host-1/srv/data",
			Sub: evidence.Totals{Files: 2, Directories: 2, Others: 2, Bytes: 1 << 40, LatestMtimeNs: at}},
		{Parent: "/", Name: "a", Type: event.Directory, Evidence: 0, Sub: evidence.Totals{Directories: 1, LatestMtimeNs: evidence.NoMtime}},
		{Parent: "/", Name: "big", Type: event.File, Size: 1 << 40, MtimeNs: -5, AtimeDay: -1, UID: 1<<32 - 2, GID: 7, Mode: 0o4711,
			Evidence: event.Audit, AgentMissing: true, ObservedAt: at + 1},
		{Parent: "/", Name: "gone", Type: event.File, Removed: true, ObservedAt: at + 2, Watermark: at - 1e9, EndedAt: at + 2, Evidence: event.Realtime},
		{Parent: "/a/", Name: "link", Type: event.Symlink, Target: "../\xff", Size: 4, Source: "fs://\xfe"},
		{Parent: "/a/", Name: "socket", Type: event.Other, SuspectUntil: at + 60e9, Evidence: event.OnDemand},
		{Parent: "/a/", Name: "x\xc3", Type: event.File, MtimeNs: at},
		{Parent: "/a\xff/", Name: "é", Removed: true},
	}
	return rows
}

// TestGoldenLayer reads a layer that an earlier fustor wrote.
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
		for name, body := range map[string][]byte{goldenData: b.Data, goldenInfo: append(info, '\n')} {
			if err := os.WriteFile(name, body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	data, err := os.ReadFile(goldenData)
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(goldenInfo)
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
	same(t, "golden", rowsOf(t, open(t, st, info)), goldenRows())
}
