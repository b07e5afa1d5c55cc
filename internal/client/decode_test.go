package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeNode(t *testing.T) {
	var d decoder
	var n Node
	line := ` { "name" : "x", "path_b64":"L_8", "path":"/?", "content_type":"directory", "size":-1, "modified_time":1.5,
		"mtime_ns":-9223372036854775808, "mode":4095, "uid":4294967295, "gid":0, "created_time":null, "birth_ns":-5000000000, "acl":"none", "later":{"a":[1,{"b":"}"}]},
		"integrity_suspect":true, "agent_missing":false, "last_agent_id":"a\u0062", "source_uri":null,
		"subtree":{"files":1,"directories":2,"others":3,"bytes":4,"latest_mtime":null,"latest_mtime_ns":null} } `
	if err := d.node([]byte(line), &n); err != nil {
		t.Fatal(err)
	}
	want := Node{Path: "/\xff", Type: "directory", Size: -1, MtimeNs: math.MinInt64, Mode: 4095, UID: math.MaxUint32,
		BirthNs: -5e9, ACL: "none", Suspect: true, LastAgent: "ab"}
	if s := n.Subtree; s == nil || *s != (Subtree{Files: 1, Directories: 2, Others: 3, Bytes: 4, Unmeasured: 6}) {
		t.Errorf("subtree is %+v", s)
	}
	n.Subtree = nil
	if n != want {
		t.Errorf("got  %+v\nwant %+v", n, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, line := range []string{
		"", "{}", "null", `{"path":"/a"}`, `{"path":"a","content_type":"file"}`, `{"path":"/a","content_type":"file"`,
		`{"path":"/a","content_type":"file"} x`, `{"path":"/a","content_type":"fifo"}`, `{"path":"/a","content_type":"file","uid":-1}`,
		`{"path":"/a","content_type":"file","size":1.5}`, `{"path":"/a","content_type":"file","size":9223372036854775808}`,
		`{"path":"/a,"content_type":"file"}`, `{"path":"/a","content_type":"file","x":` + strings.Repeat("[", 2000),
		`{"path":"/a","content_type":"file","x":}`, `{"path_b64":"*","content_type":"file"}`, "{\"path\":\"/\n\",\"content_type\":\"file\"}",
	} {
		var d decoder
		var n Node
		if err := d.node([]byte(line), &n); err == nil {
			t.Errorf("%.60q was taken as %+v", line, n)
		}
	}
}

// FuzzDecodeNode: whatever the hand-written decoder takes, encoding/json reads to the same path, size and target.
//
// The two differ by design in what the server never sends: bytes that are not UTF-8, a member that comes twice, one whose name has an
// escape in it, and null where there is a value. encoding/json also takes the names of members in any case.
func FuzzDecodeNode(f *testing.F) {
	f.Add([]byte(`{"path":"/a\u00e9\n","content_type":"file","size":12,"mtime_ns":-5,"target":"\ud83d\ude00","subtree":null}`))
	f.Add([]byte(`{"path":"/a","content_type":"symlink","x":[1,2,{"y":null}],"target_b64":"_w","uid":7}`))
	f.Add([]byte(`{"path":"/a","content_type":"file","path":"/b"}`))
	f.Add([]byte(`{"path":"/a","content_type":"file","Path":"/b","TARGET":"c"}`))
	f.Add([]byte("{\"path\":\"/\xff\",\"content_type\":\"file\"}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var d decoder
		var n Node
		if d.node(line, &n) != nil {
			return
		}
		members, ok := plainMembers(line)
		if !ok {
			return
		}
		text := func(name string) (s string) {
			if b64, ok := members[name+"_b64"]; ok {
				_ = json.Unmarshal(b64, &s)
				decoded, err := base64.RawURLEncoding.DecodeString(s)
				if err != nil {
					t.Fatalf("%q: %s was taken", line, b64)
				}
				if s = string(decoded); s != "" { // an empty one gives way to the readable form, whichever comes first
					return s
				}
			}
			s = ""
			_ = json.Unmarshal(members[name], &s)
			return s
		}
		var size int64
		_ = json.Unmarshal(members["size"], &size)
		if n.Path != text("path") || n.Target != text("target") || n.Size != size {
			t.Fatalf("%q: got %+v, want %q, %q, %d", line, n, text("path"), text("target"), size)
		}
	})
}

// plainMembers are the members of a JSON object in UTF-8 of which each comes once, with a name without escapes.
func plainMembers(line []byte) (members map[string]json.RawMessage, ok bool) {
	if !json.Valid(line) || !utf8.Valid(line) { // values that are skipped are not checked
		return nil, false
	}
	members = map[string]json.RawMessage{}
	in := json.NewDecoder(bytes.NewReader(line))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	for in.More() {
		before := in.InputOffset()
		token, err := in.Token()
		name, isText := token.(string)
		if err != nil || !isText || bytes.IndexByte(line[before:in.InputOffset()], '\\') >= 0 {
			return nil, false
		}
		var value json.RawMessage
		if in.Decode(&value) != nil {
			return nil, false
		}
		if _, twice := members[name]; twice {
			return nil, false
		}
		members[name] = value
	}
	return members, true
}

// serve answers every call with body, as a client for it.
func serve(t testing.TB, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, _, _ := strings.Cut(r.Header.Get("Accept"), ";")
		w.Header().Set("Content-Type", kind)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL, View: "v", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStreamHasEveryByteOfAName(t *testing.T) {
	var body bytes.Buffer
	var want []string
	for b := range 256 {
		if b == 0 || b == '/' {
			continue
		}
		path := "/" + string([]byte{byte(b)}) + strings.Repeat("x", b*40) // long lines are longer than no buffer
		want = append(want, path)
		quoted, _ := json.Marshal(path)
		fmt.Fprintf(&body, `{"path":%s,"path_b64":"%s","content_type":"file"}`+"\n", quoted, base64.RawURLEncoding.EncodeToString([]byte(path)))
	}
	long := "/" + strings.Repeat("y", 600<<10)
	want = append(want, long)
	fmt.Fprintf(&body, `{"path":"%s","content_type":"file"}`+"\n", long)
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(body.Bytes()) })
	i := 0
	err := c.Tree(context.Background(), "/", -1, true, func(n *Node) error {
		if n.Path != want[i] {
			t.Fatalf("entry %d is %.20q, want %.20q", i, n.Path, want[i])
		}
		i++
		return nil
	})
	if err != nil || i != len(want) {
		t.Fatalf("%d of %d entries, %v", i, len(want), err)
	}
}

func TestPagesFollowTheCursor(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("limit")+" "+r.URL.Query().Get("cursor"))
		if r.URL.Query().Get("cursor") == "" {
			fmt.Fprint(w, `{"entries":[{"path":"/1","content_type":"file"},{"path":"/2","content_type":"file"}],"next_cursor":"c"}`)
			return
		}
		fmt.Fprint(w, `{"entries":[{"path":"/3","content_type":"file"}]}`)
	})
	for limit, want := range map[int]string{20000: "/1/2/3 [10000  10000 c]", 3: "/1/2/3 [3  1 c]", 2: "/1/2 [2 ]"} {
		got := ""
		asked = nil
		err := c.Search(context.Background(), Query{Pattern: "x", Limit: limit}, func(n *Node) error {
			got += n.Path
			return nil
		})
		if got = fmt.Sprintf("%s %v", got, asked); err != nil || got != want {
			t.Errorf("limit %d: %s, %v; want %s", limit, got, err, want)
		}
	}
}

// TestSearchWithoutALimitIsAStream a limit a search comes as one stream.
func TestSearchWithoutALimitIsAStream(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "application/x-ndjson;end=true" || r.URL.Query().Has("limit") {
			http.Error(w, "not asked for as a stream", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, `{"path":"/1","content_type":"file"}`)
		fmt.Fprintln(w, `{"path":"/2","content_type":"file"}`)
	})
	got := ""
	err := c.Search(context.Background(), Query{Pattern: "x"}, func(n *Node) error { got += n.Path; return nil })
	if err != nil || got != "/1/2" {
		t.Fatalf("%s, %v", got, err)
	}
}

func TestAConnectionThatBreaksIsAnError(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"path":"/1","content_type":"file"}`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	err := c.Tree(context.Background(), "/", -1, true, func(*Node) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "ended early, after 1 entry") {
		t.Fatalf("got %v", err)
	}
}

// BenchmarkStream is a million-line find without the server: lines/s is what counts.
func BenchmarkStream(b *testing.B) {
	const lines = 100_000
	var body bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&body, `{"name":"file%d.txt","path":"/usr/share/some/where/file%d.txt","content_type":"file","type":"f","size":%d,"modified_time":1700001234.123456789,"mtime_ns":1700001234123456789,"created_time":null,"integrity_suspect":false,"agent_missing":false,"audit_skipped":false,"last_agent_id":"host","source_uri":"fs://host/usr","mode":420,"uid":0,"gid":0}`+"\n", i, i, i)
	}
	c := serve(b, func(w http.ResponseWriter, _ *http.Request) { w.Write(body.Bytes()) })
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := c.Tree(context.Background(), "/", -1, false, func(*Node) error { n++; return nil }); err != nil || n != lines {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func TestOwnersHaveNames(t *testing.T) {
	var d decoder
	var n Node
	for _, name := range []string{`LAB\\alice smith`, `1000`} {
		line := `{"path":"/x","content_type":"file","uid":7,"gid":8,"owner":"` + name + `","group":"g"}`
		if err := d.node([]byte(line), &n); err != nil || n.Owner != strings.ReplaceAll(name, `\\`, `\`) || n.Group != "g" {
			t.Errorf("%s: %q %q, %v", line, n.Owner, n.Group, err)
		}
	}
}
