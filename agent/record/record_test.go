package record

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

func TestWrite(t *testing.T) {
	var segment bytes.Buffer
	w, err := event.NewWriter(&segment, event.Header{View: "v", Session: "s", Agent: "nfs07", Source: "fs://h/d", Seq: 1, Term: 1, CreatedAt: 5, Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	dir := event.Entry{Type: event.Directory}
	file := event.Entry{Name: "a<b", Type: event.File, Mode: 0o640, Size: 1 << 60, MtimeNs: 1_700_000_000_000_000_001, AtimeDay: 19000}
	link := event.Entry{Name: "l\xff", Type: event.Symlink, Target: "to"}
	named := func(e event.Entry, name string) event.Entry { e.Name = name; return e }
	for i, ev := range []event.Event{
		{Kind: event.Marked, Path: "/", Mark: event.Mark{Kind: event.SnapshotBegin}},
		{Kind: event.Listing, Path: "/", Entry: dir, Entries: []event.Entry{file, link}},
		{Kind: event.Put, Path: "/d/a<b", Entry: named(file, "a<b"), Atomic: true},
		{Kind: event.Unchanged, Path: "/d", Entry: named(dir, "d")},
		{Kind: event.Delete, Path: "/d/gone"},
	} {
		ev.Evidence, ev.ObservedAt = event.Realtime, int64(100+i)
		if err := w.Add(&ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		fields []Field
		want   string
	}{
		{
			[]Field{{To: "op", From: "kind"}, {To: "file", From: "path"}, {To: "site", Value: "leiden"}, {To: "n", Value: uint64(3)}},
			`{"op":"put","file":"/a<b","site":"leiden","n":3}
{"op":"put","file":"/l` + "\ufffd" + `","site":"leiden","n":3}
{"op":"put","file":"/d/a<b","site":"leiden","n":3}
{"op":"delete","file":"/d/gone","site":"leiden","n":3}
`,
		},
		{
			[]Field{{To: "s", From: "size", Type: "string"}, {To: "i", From: "size", Type: "integer"}, {To: "m", From: "mode", Type: "string"},
				{To: "t", From: "mtime_ns", Type: "time"}, {To: "d", From: "atime_day", Type: "time"}, {To: "b", From: "uid", Type: "boolean"},
				{To: "to", From: "target"}, {To: "w", From: "agent"}},
			`{"s":"1152921504606846976","i":1152921504606846976,"m":"0640","t":"2023-11-14T22:13:20.000000001Z","d":"2022-01-08","b":false,"to":null,"w":"nfs07"}
{"s":"0","i":0,"m":"0000","t":"1970-01-01T00:00:00Z","d":"1970-01-01","b":false,"to":"to","w":"nfs07"}
{"s":"1152921504606846976","i":1152921504606846976,"m":"0640","t":"2023-11-14T22:13:20.000000001Z","d":"2022-01-08","b":false,"to":null,"w":"nfs07"}
{"s":null,"i":null,"m":null,"t":null,"d":null,"b":null,"to":null,"w":"nfs07"}
`,
		},
		{
			[]Field{{To: "s", From: "session"}, {To: "u", From: "source_uri"}, {To: "e", From: "end"}, {To: "m", From: "mtime_ns", Type: "seconds"},
				{To: "d", From: "atime_day", Type: "seconds"}},
			`{"s":"s","u":"fs://h/d","e":false,"m":1700000000,"d":1641600000}
{"s":"s","u":"fs://h/d","e":false,"m":0,"d":0}
{"s":"s","u":"fs://h/d","e":false,"m":1700000000,"d":1641600000}
{"s":"s","u":"fs://h/d","e":false,"m":null,"d":null}
`,
		},
	} {
		r, err := event.NewReader("segment", bytes.NewReader(segment.Bytes()), event.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := Write(&out, r, test.fields); err != nil || out.String() != test.want {
			t.Errorf("%v\n%swant\n%s", err, out.String(), test.want)
		}
	}
}

func TestEveryFieldFitsSomeType(t *testing.T) {
	for _, source := range Sources {
		fits := 0
		for _, typ := range Types {
			if Fits(source, typ) == nil {
				fits++
			}
		}
		if fits == 0 {
			t.Errorf("%s fits no type", source)
		}
	}
	if Fits("path", "integer") == nil || Fits("size", "time") == nil {
		t.Error("a path is taken for a number, or a size for a time")
	}
}

// An id is the same in any session, and another one for all else.
func TestIDs(t *testing.T) {
	seen := map[string]string{}
	id := func(name, agent string, kind event.Kind, path string, at int64) string {
		s := Subject{Header: &event.Header{Agent: agent, Source: "fs://h/d", Session: name, Seq: uint64(len(name))},
			Event: &event.Event{Kind: kind, Evidence: event.Realtime, ObservedAt: at}, Path: path}
		if other, ok := seen[s.ID()]; ok {
			t.Errorf("%s has the id of %s", name, other)
		}
		return s.ID()
	}
	first := id("first", "a", event.Put, "/x", 5)
	if again := id("again, in another session", "a", event.Put, "/x", 5); again != first {
		t.Errorf("%s, and before %s", again, first)
	}
	seen[first] = "first"
	id("another agent", "b", event.Put, "/x", 5)
	id("another path", "a", event.Put, "/xx", 5)
	id("another kind", "a", event.Delete, "/x", 5)
	id("another time", "a", event.Put, "/x", 6)
}
