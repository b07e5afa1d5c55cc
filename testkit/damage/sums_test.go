package damage

import (
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/check"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
)

// TestSumsThatTellTooMuch: a directory whose row says that its sums may serve everybody who may list it, though something in it keeps others
// out, is named, and so are sums that are wrong. No checksum tells of these: the layer is as it was written.
func TestSumsThatTellTooMuch(t *testing.T) {
	for name, test := range map[string]struct {
		open  bool
		files int64
		want  string
	}{
		"right":    {false, 1, ""},
		"too open": {true, 1, "/home/ is said to be open to all who may list it, and /home/ann keeps others out"},
		"wrong":    {false, 2, "the totals of /home/ are"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			st, err := local.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now().UnixNano()
			sub := func(directories, files int64) evidence.Totals {
				return evidence.Totals{Directories: directories, Files: files, Bytes: 7 * files, LatestMtimeNs: 5, Unmeasured: directories + files}
			}
			rows := []evidence.Row{
				{Type: event.Directory, Mode: 0o755, MtimeNs: 5, Sub: sub(3, 1)},
				{Parent: "/", Name: "home", Type: event.Directory, Mode: 0o755, MtimeNs: 5, Sub: sub(2, test.files), Open: test.open},
				{Parent: "/home/", Name: "ann", Type: event.Directory, Mode: 0o700, UID: 7, MtimeNs: 5, Sub: sub(1, 1), Open: true},
				{Parent: "/home/ann/", Name: "f", Type: event.File, Mode: 0o644, UID: 7, Size: 7, MtimeNs: 5},
			}
			w := layer.NewWriter(layer.WriterOptions{ID: "01JZ0000000000000000000000"})
			for i := range rows {
				rows[i].ObservedAt, rows[i].Evidence = now, event.Snapshot
				if err := w.Append(&rows[i]); err != nil {
					t.Fatal(err)
				}
			}
			built, err := w.Finish()
			if err == nil {
				err = layer.Publish(ctx, st, "v", built)
			}
			if err == nil {
				err = viewconfig.Save(ctx, st, viewconfig.Default("v"))
			}
			if err == nil {
				_, err = manifest.Commit(ctx, st, &manifest.Manifest{Format: manifest.Format, View: "v", Version: 1, Nonce: "n", Reason: "fold", FoldedAt: now, ObservedAt: now,
					Base: []layer.Info{built.Info}, Term: 1, Totals: rows[0].Sub, Scan: manifest.Scan{SnapshotTerm: 1, SnapshotDone: 1, SnapshotStartedAt: now, SnapshotFinishedAt: now}}, "")
			}
			if err != nil {
				t.Fatal(err)
			}
			report, err := check.Run(ctx, check.Options{Store: st, ReadData: true})
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			for _, f := range report.Findings {
				said += f.Problem + "\n"
			}
			if test.want == "" && strings.Contains(said, "/home/") || !strings.Contains(said, test.want) {
				t.Errorf("check says %q, want %q", said, test.want)
			}
		})
	}
}
