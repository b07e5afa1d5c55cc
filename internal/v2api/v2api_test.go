package v2api

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`"/a/b"`: "/a/b", `"/ü"`: "/ü", `"/\u00fc"`: "/ü", `"/\ud83d\ude00"`: "/😀", `"/\"\\\/\b\f\n\r\t"`: "/\"\\/\b\f\n\r\t",
		`"/a\udcff\udc80b"`: "/a\xff\x80b", `"\udc80"`: "\x80", `"\udc41"`: "?", `"\ud800"`: "?", `"\ud800\udcff"`: "\U000100ff", `"\ud800x"`: "?x",
		"\"/\xed\xb3\xbf\"": "/\xff", "\"/\xed\xa0\x80\"": "/?", "\"/\xff\"": "/\xff", `""`: "", `null`: "", `"\ud83d"`: "?",
	} {
		var got struct{ V Text }
		if err := json.Unmarshal([]byte(`{"V":`+in+`}`), &got); err != nil || string(got.V) != want {
			t.Errorf("%s is %q, %v; want %q", in, got.V, err, want)
		}
	}
	for _, text := range []Text{"", "/a", "/ü\xff😀\xc3", "\x00\x1f\x7f\"\\", "�"} {
		b, err := json.Marshal(text)
		var back Text
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back != text {
			t.Errorf("%q becomes %s and then %q, %v", text, b, back, err)
		}
	}
}

func TestTimes(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1e9, "1700000000.1234567": 1700000000123456700, "-0.5": -5e8, "1.0000000019": 1000000001, "1e-5": 10000, "1.7e9": 1700000000e9, "-1.5E1": -15e9,
		"9223372035.999999999": 9223372035999999999,
	} {
		var v Time
		if err := json.Unmarshal([]byte(in), &v); err != nil || v != (Time{true, want}) {
			t.Errorf("%s is %+v, %v; want %d", in, v, err, want)
		}
	}
	for _, in := range []string{`"1"`, "9223372037", "1e300", "-1e300", "true", "[]", "{}"} {
		var v Time
		if err := json.Unmarshal([]byte(in), &v); err == nil {
			t.Errorf("%s is %+v", in, v)
		}
	}
	for in, want := range map[string]Integer{"7": Whole(7), "7.0": Whole(7), "-1": Whole(-1), "null": {}, "9223372036854775807": Whole(math.MaxInt64)} {
		var v Integer
		if err := json.Unmarshal([]byte(in), &v); err != nil || v != want {
			t.Errorf("%s is %+v, %v", in, v, err)
		}
	}
	for _, in := range []string{`"7"`, "7.5", "1e40", "false"} {
		var v Integer
		if err := json.Unmarshal([]byte(in), &v); err == nil {
			t.Errorf("%s is %+v", in, v)
		}
	}
}

func TestStates(t *testing.T) {
	for in, want := range map[string][]string{
		"0": {"stopped"}, "34": {"running", "snapshot_sync"}, "66": {"running", "message_sync"}, "194": {"running", "message_sync", "audit_phase"}, "8": {"error"},
		"2050": {"running", "2048"},
	} {
		if got, _, ok := decodeState(in); !ok || !slices.Equal(got, want) {
			t.Errorf("%s is %v, %v", in, got, ok)
		}
	}
	for in, want := range map[string]string{"0": "stopped", "1": "initializing", "2": "running", "34": "snapshot", "66": "watching", "194": "audit", "322": "reconnecting", "74": "error", "70": "paused",
		"1026": "draining", "18": "running", "2048": "running"} {
		if _, got, _ := decodeState(in); got != want {
			t.Errorf("%s is %q, not %q", in, got, want)
		}
	}
	for _, in := range []string{"", "message", "-1", "+2", "99999999999"} {
		if got, _, ok := decodeState(in); ok {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func TestRows(t *testing.T) {
	nowhere := func() string { return "row" }
	for body, want := range map[string]string{
		`{}`: "row.path", `{"path":"a"}`: "row.path", `{"path":"/a/../b"}`: "row.path", `{"path":"/a\u0000"}`: "row.path", `{"path":"//"}`: "", `{"file_path":"/a","size":1,"modified_time":1}`: "",
		`{"path":"/a","size":1}`: "row.modified_time", `{"path":"/a","modified_time":1}`: "row.size", `{"path":"/a","size":-1,"modified_time":1}`: "row.size",
		`{"path":"/a/","modified_time":1,"is_directory":true}`: "", `{"path":"` + "/" + strings.Repeat("x", event.MaxText) + `"}`: "row.path",
	} {
		var r Row
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatal(err)
		}
		path, err := r.Where(nowhere)
		if err == nil && path != "/" {
			_, err = r.Entry(nowhere, path)
		}
		var field *FieldError
		if want == "" && err != nil || want != "" && (!errors.As(err, &field) || field.Field != want) {
			t.Errorf("%.80s: %v; want %q", body, err, want)
		}
	}
	r := Row{Path: "/a/b", Size: Whole(7), Modified: Time{true, -1}}
	e, err := r.Entry(nowhere, "/a/b")
	if err != nil || e != (event.Entry{Name: "b", Type: event.File, UID: event.NoOwner, GID: event.NoOwner, Size: 7, MtimeNs: -1, AtimeDay: -1}) {
		t.Errorf("%+v, %v", e, err)
	}
}

// Whatever the bytes are, a batch is refused or is one whose rows are paths and entries that a segment takes.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"session_id":"s","events":[{"event_id":null,"timestamp":1.5,"event_type":"insert","fields":["path"],"rows":[{"path":"/a\udcff","file_name":"a","size":1,"modified_time":1.5,"created_time":1,"is_directory":false,"is_atomic_write":true}],"index":1,"event_schema":"fs","table":"files","message_source":"realtime","metadata":{}}],"source_type":"message","is_end":false}`))
	f.Add([]byte(`{"events":[{"event_type":"delete","rows":[{"file_path":"/"}]}],"is_snapshot_end":true,"metadata":{"scan_path":"/a","job_id":"x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var b Batch
		if json.Unmarshal(body, &b) != nil {
			return
		}
		for i := range b.Events {
			for j := range b.Events[i].Rows {
				r := &b.Events[i].Rows[j]
				path, err := r.Where(func() string { return "" })
				if err != nil {
					continue
				}
				if !event.ValidPath(path) {
					t.Fatalf("%q is taken for a path", path)
				}
				if e, err := r.Entry(func() string { return "" }, path); err == nil && (e.Size < 0 || event.Join("/", e.Name) != path && strings.Count(path, "/") == 1) {
					t.Fatalf("%q is %+v", path, e)
				}
			}
		}
	})
}
