package query

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/avro/ocf"

	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

// records are those of an Avro file.
func records(t *testing.T, body []byte) (all []map[string]any) {
	t.Helper()
	r, err := ocf.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for {
		var one map[string]any
		if err := r.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// changesTable reads the newest snapshot of the table of changes as an engine does, from its metadata: the rows in their order, and how
// many files they are in.
func (f *fixture) changesTable(t *testing.T, root string) (rows []map[string]any, files int) {
	t.Helper()
	table, err := iceberg.LoadChanges(t.Context(), f.st, testView)
	if err != nil {
		t.Fatal(err)
	}
	object := func(path string) []byte {
		t.Helper()
		o, err := f.st.Get(t.Context(), strings.TrimPrefix(path, root+"/"))
		if err != nil {
			t.Fatal(err)
		}
		return o.Body
	}
	for _, m := range records(t, object(table.Current().ManifestList)) {
		for _, e := range records(t, object(m["manifest_path"].(string))) {
			entry := e["data_file"].(map[string]any)
			files++
			body := object(entry["file_path"].(string))
			file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
			if err != nil {
				t.Fatal(err)
			}
			if entry["record_count"] != file.NumRows() || entry["file_size_in_bytes"] != int64(len(body)) {
				t.Errorf("%d rows and %d bytes: %v", file.NumRows(), len(body), entry)
			}
			columns := file.Schema().Columns()
			for _, g := range file.RowGroups() {
				r, batch := g.Rows(), make([]parquet.Row, 1)
				for {
					n, err := r.ReadRows(batch)
					if n == 1 {
						row := map[string]any{}
						for _, v := range batch[0] {
							switch name := columns[v.Column()][0]; {
							case v.IsNull():
							case v.Kind() == parquet.ByteArray:
								row[name] = string(v.ByteArray())
							default:
								row[name] = v.Int64()
							}
						}
						rows = append(rows, row)
					}
					if err != nil {
						break
					}
				}
				r.Close()
			}
		}
	}
	return rows, files
}

// asEntry is a row as the entry of a diff that it must be. Numbers are as text.
func asEntry(row map[string]any) map[string]any {
	path := func(into map[string]any, name, shown, raw string) {
		if into[name] = shown; raw != "" {
			into[name] = raw
		}
	}
	text := func(name string) string { s, _ := row[name].(string); return s }
	exact := func(name string) string {
		if raw := text(name + "_raw"); raw != "" {
			return raw
		}
		return text(name)
	}
	e := map[string]any{"change": row["change"], "type": text("type")[:1]}
	if path(e, "path", exact("parent")+exact("name"), ""); e["path"] == "" {
		e["path"] = "/"
	}
	if e["type"] = map[string]string{"file": "f", "directory": "d", "symlink": "l", "other": "o"}[text("type")]; text("fields") != "" {
		e["fields"] = strings.Split(text("fields"), ",")
	}
	for _, when := range []string{"before", "after"} {
		if text(when+"_type") == "" {
			continue
		}
		state := map[string]any{"type": map[string]string{"file": "f", "directory": "d", "symlink": "l", "other": "o"}[text(when+"_type")]}
		for _, c := range []string{"size", "mtime_ns", "mode", "uid", "gid", "allocated", "links", "ctime_ns", "birth_ns", "inode", "acl"} {
			if v, known := row[when+"_"+c]; known {
				if n, is := v.(int64); is && c == "inode" {
					v = uint64(n)
				}
				state[c] = fmt.Sprint(v)
			}
		}
		if _, is := row[when+"_target"]; is {
			path(state, "target", text(when+"_target"), text(when+"_target_raw"))
		}
		e[when] = state
	}
	return e
}

// asRow makes an entry of a diff comparable with asEntry: without names of owners and moves, with exact paths and numbers as text.
func asRow(t *testing.T, e map[string]any) map[string]any {
	t.Helper()
	for _, name := range []string{"moved_from", "moved_from_b64", "moved_to", "moved_to_b64"} {
		delete(e, name)
	}
	e["path"] = pathOf(t, e)
	delete(e, "path_b64")
	for _, when := range []string{"before", "after"} {
		state, is := e[when].(map[string]any)
		if !is {
			continue
		}
		delete(state, "owner")
		delete(state, "group")
		if b64, is := state["target_b64"]; is {
			state["target"] = pathOf(t, map[string]any{"path_b64": b64})
			delete(state, "target_b64")
		}
		for name, v := range state {
			if n, is := v.(json.Number); is {
				state[name] = n.String()
			}
		}
	}
	return e
}

// exactDiff are the entries of a diff, with numbers as they are written.
func (h *diffHistory) exactDiff(from, to uint64) (entries []map[string]any) {
	h.t.Helper()
	d := json.NewDecoder(bytes.NewReader(h.get(viewURL("diff", "path", "/", "from", number(from), "to", number(to)), "Accept", ndjson).is(200).body))
	d.UseNumber()
	for d.More() {
		var e map[string]any
		if err := d.Decode(&e); err != nil {
			h.t.Fatal(err)
		}
		if _, is := e["change"]; is { // the last line is none
			entries = append(entries, e)
		}
	}
	return entries
}

// TestTheTableOfChangesSaysWhatDiffsSay: the rows of each version are the diff since the version that was published before it, all columns
// included, in however many files they are; what is too old goes, and a version that is not kept any more leaves a gap that is shown.
func TestTheTableOfChangesSaysWhatDiffsSay(t *testing.T) {
	rng := mrand.New(mrand.NewPCG(3, 9))
	h := newDiffHistory(t, rng)
	root, err := iceberg.Root(h.st.String())
	if err != nil {
		t.Fatal(err)
	}
	now := int64(observed + 3e9)
	p := iceberg.Publisher{Store: h.st, Root: root, Cache: layer.NewCache(8 << 20), Now: func() int64 { return now }, Random: rand.Reader}
	publish := func(versions ...*manifest.Manifest) iceberg.ChangesPublished {
		t.Helper()
		done, err := p.PublishChanges(t.Context(), testView, versions, 0)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	first := h.last[testView]
	if done := publish(first); done.Snapshots != 1 || done.Rows != 0 {
		t.Fatalf("a new table: %+v", done)
	}
	var want []string
	published := []uint64{first.Version}
	few, most := 0, 0 // files: after some were put together, and ever
	for len(published) < 22 {
		h.step()
		versions := []*manifest.Manifest{first, h.last[testView]} // the first is of the table already
		if rng.IntN(4) == 0 {
			h.step()
			versions = append(versions, h.last[testView])
		}
		if rng.IntN(4) == 0 { // one that is never published
			h.step()
			versions = append(versions, h.last[testView])
			versions = versions[2:]
		}
		added := int64(0)
		for _, m := range versions {
			if m == first {
				continue
			}
			before := published[len(published)-1]
			for _, e := range h.exactDiff(before, m.Version) {
				want = append(want, fmt.Sprint(m.Version, before, m.FoldedAt/1000)+jsonOf(asRow(t, e)))
				added++
			}
			published = append(published, m.Version)
		}
		if done := publish(versions...); done.Rows != added || done.Version != h.last[testView].Version {
			t.Fatalf("published %+v, want %d rows", done, added)
		}
		if done := publish(versions...); done.Snapshots != 0 {
			t.Fatalf("published again: %+v", done)
		}
		rows, files := h.changesTable(t, root)
		if most = max(most, files); files < most {
			few = files
		}
		var have []string
		for _, r := range rows {
			have = append(have, fmt.Sprint(r["version"], r["since_version"], r["published_at"])+jsonOf(asEntry(r)))
		}
		equal(t, "the table", have, want)
		if t.Failed() {
			return
		}
	}
	if few == 0 || most < 11 || len(want) < 100 {
		t.Errorf("%d versions and %d rows in at most %d files, then %d", len(published), len(want), most, few)
	}

	// Another process that is given the same versions adds nothing; one whose last version has gone leaves a gap.
	h.step()
	lost := h.last[testView]
	publish(lost)
	h.step()
	h.step()
	if err := h.st.Delete(t.Context(), lost.Key()); err != nil {
		t.Fatal(err)
	}
	before, _ := h.changesTable(t, root)
	if done := publish(h.last[testView]); done.Rows != 0 || done.Version != h.last[testView].Version {
		t.Errorf("with a gap: %+v", done)
	}
	since := h.last[testView].Version
	h.step()
	done := publish(h.last[testView])
	if after, _ := h.changesTable(t, root); len(after) != len(before)+int(done.Rows) || done.Rows == 0 || after[len(after)-1]["since_version"] != int64(since) {
		t.Errorf("after a gap: %+v, %v", done, after[len(after)-1])
	}

	now += int64(time.Hour)
	h.step()
	done, err = p.PublishChanges(t.Context(), testView, []*manifest.Manifest{h.last[testView]}, 30*time.Minute)
	if rows, _ := h.changesTable(t, root); err != nil || len(rows) != int(done.Rows) {
		t.Errorf("an hour later %d rows are left, %+v, %v", len(rows), done, err)
	}
	now += 2 * int64(time.Hour)
	h.step()
	publish(h.last[testView])
	table, err := iceberg.LoadChanges(t.Context(), h.st, testView)
	if err != nil || len(table.Metadata.Snapshots) > 3 {
		t.Errorf("%d snapshots, %v", len(table.Metadata.Snapshots), err)
	}
	if _, err := iceberg.Objects(t.Context(), h.st, iceberg.Tables(testView)[1]); err != nil {
		t.Error(err)
	}
}
