package query

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/wait"
)

// poll asks for a feed once, as NDJSON.
func (f *fixture) poll(params ...string) []map[string]any {
	f.t.Helper()
	return f.get(viewURL("changes", params...), "Accept", ndjson).is(200).lines()
}

// follow polls a feed to the current version, each time from the cursor of the last line that arrived, and returns its changes and the
// ends of versions as lines of text. Answers have up to limit changes, and are cut off behind as many lines as cut says. No change has a cursor, and no version an end, that was there before.
func (f *fixture) follow(after string, limit func() string, cut func(lines int) int, params ...string) (out []string) {
	f.t.Helper()
	ended, cursors := 0.0, map[string]bool{}
	for {
		asked := append(slices.Clone(params), "after", after)
		if n := limit(); n != "" {
			asked = append(asked, "limit", n)
		}
		lines := f.poll(asked...)
		arrived := cut(len(lines))
		for _, l := range lines[:arrived] {
			after = l["cursor"].(string)
			if l["complete"] == true {
				if v := l["version"].(float64); v > ended {
					ended = v
					out = append(out, fmt.Sprintf("end of %v", v))
				}
				continue
			}
			if cursors[after] || l["version"].(float64) <= ended {
				f.t.Fatalf("after the end of version %v, or twice: %v", ended, l)
			}
			cursors[after] = true
			out = append(out, changeLine(f.t, l))
		}
		if len(lines) == arrived && lines[arrived-1]["complete"] == true && lines[arrived-1]["version"] == float64(f.last[testView].Version) {
			return out
		}
	}
}

// steps are the model's diffs between states that follow each other, each with the end of its version. Ends of versions in which nothing
// changed need not be told, so they are left out, but for that of the last.
func steps(states []diffState, root string, wanted func(*evidence.Row) bool) (out []string) {
	for i := range states[1:] {
		lines := states[i].model(states[i+1], root, wanted)
		if out = append(out, lines...); len(lines) > 0 || i == len(states)-2 {
			out = append(out, fmt.Sprintf("end of %d", states[i+1].version))
		}
	}
	return out
}

// withoutIdle leaves out the ends of versions in which nothing changed, but for that of the last.
func withoutIdle(lines []string) (out []string) {
	for i, l := range lines {
		idle := strings.HasPrefix(l, "end of ") && (i == 0 || strings.HasPrefix(lines[i-1], "end of "))
		if !idle || i == len(lines)-1 {
			out = append(out, l)
		}
	}
	return out
}

// TestFeedAgainstModel: whatever happens to a view, its feed from any version is the sequence of the diffs between each version and the
// next, in answers of any size, with and without a filter; and where versions were thinned, between those that are left.
func TestFeedAgainstModel(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2104))
			h := newDiffHistory(t, rng)
			for len(h.states) < 16 {
				h.step()
			}
			check := func(f *fixture, states []diffState) {
				t.Helper()
				from := rng.IntN(len(states) - 1)
				states = states[from:]
				limit := func() string {
					if rng.IntN(4) == 0 {
						return ""
					}
					return strconv.Itoa(1 + rng.IntN(7))
				}
				cut := func(lines int) int {
					if rng.IntN(2) == 0 {
						return 1 + rng.IntN(lines)
					}
					return lines
				}
				root := "/"
				if rng.IntN(2) == 0 {
					if root = h.pick(0); states[0].rows[root].Name == "" && states[len(states)-1].rows[root].Name == "" {
						root = "/"
					}
				}
				after := number(states[0].version)
				everything := func(*evidence.Row) bool { return true }
				f.last = h.last
				equal(t, "feed of "+root, withoutIdle(f.follow(after, limit, cut, pathParam(root)...)), steps(states, root, everything))
				atLeast := rng.Int64N(900)
				equal(t, "large files", withoutIdle(f.follow(after, limit, cut, pathParam(root, "type", "f", "min_size", strconv.FormatInt(atLeast, 10))...)),
					steps(states, root, func(r *evidence.Row) bool { return r.Type == event.File && r.Size >= atLeast }))
			}
			for range 6 {
				check(h.fixture, h.states)
			}
			left := []diffState{h.states[0]}
			for i, s := range h.states[1:] {
				if i < len(h.states)-2 && rng.IntN(2) == 0 {
					h.thin(s.version)
					continue
				}
				left = append(left, s)
			}
			for range 6 {
				check(serve(t, h.st), left)
			}
		})
	}
}

// thin removes the manifest of a version, as retention does.
func (f *fixture) thin(version uint64) {
	f.t.Helper()
	m, err := manifest.At(f.t.Context(), f.st, f.last[testView], version)
	if err == nil {
		err = f.st.Delete(f.t.Context(), m.Key)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// sse is a browser's connection to a feed.
type sse struct {
	t      testing.TB
	resp   *http.Response
	r      *bufio.Reader
	cancel context.CancelFunc
}

// sseEvent is one event, or a comment.
type sseEvent struct {
	name, id, comment string
	data              map[string]any
}

func (f *fixture) serveHTTP(wrap func(http.Handler) http.Handler) string {
	f.t.Helper()
	server := httptest.NewServer(wrap(f.server.Handler()))
	f.t.Cleanup(server.Close)
	return server.URL
}

func unwrapped(h http.Handler) http.Handler { return h }

// head asks for the headers of a feed of events, which is not to be waited for.
func head(t testing.TB, url string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit(time.Minute))
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	req.Header.Set("X-API-Key", queryKey)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func connect(t testing.TB, url, id string) *sse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit(time.Minute))
	t.Cleanup(cancel)
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	req.Header.Set("X-API-Key", queryKey)
	req.Header.Set("Accept", "text/event-stream")
	if id != "" {
		req.Header.Set("Last-Event-ID", id)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("%d, %s", resp.StatusCode, kind)
	}
	return &sse{t, resp, bufio.NewReader(resp.Body), cancel}
}

// next is the next event, or comment; false at the end of the stream.
func (s *sse) next() (e sseEvent, ok bool) {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return e, false
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				s.t.Fatal(err, value)
			}
		default:
			if rest, ok := strings.CutPrefix(line, ": "); ok {
				return sseEvent{comment: strings.TrimSpace(rest)}, true
			}
		}
		if line == "\n" && e.name != "" {
			return e, true
		}
	}
}

// event is the next event that is no heartbeat.
func (s *sse) event() sseEvent {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatal("the feed has ended")
		}
		if e.comment == "" {
			return e
		}
	}
}

// TestFeedEvents: a browser sees each change of a live view once, as an event with an id, and goes on at the id of the last one, in the middle
// of a version, too.
func TestFeedEvents(t *testing.T) {
	f := newFixture(t)
	one, two := treeOf(file("/a/one", 5)), treeOf(file("/a/one", 6), file("/a/two", 7), file("/b/b\xff", 1))
	f.base(testView, one)
	url := f.serveHTTP(unwrapped) + viewURL("changes")
	if resp := head(t, url); resp.StatusCode != 200 {
		t.Errorf("HEAD: %d", resp.StatusCode)
	}
	s := connect(t, url, "")
	if h := s.resp.Header; h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" || h.Get("ETag") != "" || h.Get("Fustor-Version") != "1" {
		t.Errorf("headers %v", h)
	}
	if e := s.event(); e.name != "version" || e.data["version"] != 1.0 || e.data["changes"] != 0.0 {
		t.Fatalf("the feed begins with %+v", e)
	}
	f.delta(testView, change(one, two))
	f.server.Invalidate(testView)
	var ids, paths []string
	for len(paths) < 3 {
		e := s.event()
		if e.name != "change" || e.data["version"] != 2.0 {
			t.Fatalf("%+v", e)
		}
		ids, paths = append(ids, e.id), append(paths, pathOf(t, e.data))
	}
	equal(t, "paths", paths, []string{"/b", "/a/one", "/a/two"})
	s.cancel()

	s = connect(t, url, ids[0])
	for _, want := range []string{"/a/one", "/a/two", "/b/b\xff"} {
		if e := s.event(); e.name != "change" || pathOf(t, e.data) != want {
			t.Fatalf("%+v, not %q", e, want)
		}
	}
	end := s.event()
	if end.name != "version" || end.data["version"] != 2.0 || end.data["changes"] != 3.0 || end.data["complete"] != true {
		t.Fatalf("%+v", end)
	}
	// Nobody tells this server of the next version, as where the compactor is another process.
	f.delta(testView, change(two, one))
	if e := s.event(); e.name != "change" || e.data["change"] != "removed" || e.data["path"] != "/b" {
		t.Fatalf("%+v", e)
	}
	s = connect(t, url, end.id)
	if e := s.event(); e.name != "version" || e.id != end.id {
		t.Fatalf("resumed at %+v", e)
	}
	if e := s.event(); e.name != "change" || e.data["path"] != "/b" {
		t.Fatalf("%+v", e)
	}
}

// TestFeedHeartbeats: a feed is never silent for long, whatever the clock says, and the position goes on with versions that change nothing.
func TestFeedHeartbeats(t *testing.T) {
	f := newFixture(t)
	one := treeOf(file("/a/one", 5))
	f.base(testView, one)
	f.server.heartbeat = 10 * time.Millisecond
	url := f.serveHTTP(unwrapped)
	s := connect(t, url+viewURL("changes", "name", "*.bam"), "")
	first := s.event()
	beat := func() {
		t.Helper()
		if e, ok := s.next(); !ok || e.comment != "heartbeat" {
			t.Fatalf("%+v, %v", e, ok)
		}
	}
	beat()
	f.turned.Store(-int64(48 * time.Hour))
	beat()
	f.turned.Store(int64(48 * time.Hour))
	beat()
	two := treeOf(file("/a/one", 6))
	f.delta(testView, change(one, two))
	f.server.Invalidate(testView)
	if e := s.event(); e.name != "version" || e.data["version"] != 2.0 || e.data["changes"] != 0.0 || e.id == first.id {
		t.Fatalf("%+v", e)
	}
	beat()

	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit(time.Minute))
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+viewURL("changes", "wait", "3600"), nil)
	req.Header.Set("X-API-Key", queryKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Scan()
	for range 2 {
		if lines.Scan(); lines.Text() != `{"heartbeat":true,"version":2}` {
			t.Fatalf("%s", lines.Text())
		}
	}
	f.delta(testView, change(two, one))
	f.server.Invalidate(testView)
	last := ""
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), `{"heartbeat"`) { // which may be due once more
			last = lines.Text()
		}
	}
	if err := lines.Err(); err != nil || !strings.Contains(last, `{"version":3,"complete":true`) {
		t.Errorf("the answer ends with %s, %v", last, err)
	}

	f.server.heartbeat = time.Microsecond // nothing comes after the end of an answer, whenever a heartbeat is due
	for range 300 {
		a := f.get(viewURL("changes"), "Accept", "application/x-ndjson; end=true").is(200)
		if lines := strings.Split(strings.TrimSpace(string(a.body)), "\n"); !strings.HasPrefix(lines[len(lines)-1], `{"end":true`) {
			t.Fatalf("an answer ends with %s", lines[len(lines)-1])
		}
	}
}

// TestFeedAnswers: what a feed answers and refuses.
func TestFeedAnswers(t *testing.T) {
	f := newFixture(t)
	one, two := treeOf(file("/a/one", 5)), treeOf(file("/a/one", 6), file("/a/two", 7))
	f.base(testView, one)
	f.delta(testView, change(one, two))
	f.delta(testView, change(two, one))

	lines := f.poll()
	if len(lines) != 1 || lines[0]["version"] != 3.0 || lines[0]["complete"] != true {
		t.Errorf("without after: %v", lines)
	}
	a := f.get(viewURL("changes", "after", "1", "explain", "true"), "Accept", ndjsonEnd).is(200)
	if h := a.header.Get("Content-Type"); h != ndjsonEnd || !strings.Contains(string(a.body), `"explain":{`) || !strings.HasSuffix(string(a.body), "{\"end\":true,\"count\":7}\n") {
		t.Errorf("%s: %s", h, a.body)
	}
	if n := len(f.poll("after", "0")); n != 7 {
		t.Errorf("%d lines after the oldest version", n)
	}
	cursor := f.poll("after", "1", "limit", "1")[1]["cursor"].(string)
	if n := len(f.poll("after", cursor)); n != 5 { // one change, its end, two changes, their end
		t.Errorf("%d lines after the first change: %v", n, f.poll("after", cursor))
	}
	f.call("changes", "after", cursor, "type", "f").problem(400, "other parameters")
	f.call("changes", "after", cursor[:len(cursor)-4]).is(200) // a shorter key is a key
	for _, bad := range []string{"c.", "c.AQ", "c.!", cursor[:20], "c." + strings.Repeat("_", 200)} {
		f.call("changes", "after", bad).problem(400, "cursor")
	}
	f.call("changes", "after", "").problem(400, "after")
	f.call("changes", "after", "no-such-pin").problem(400, "after")
	f.call("changes", "after", "9").problem(410, "version 9")
	f.call("changes", "path", "/none").problem(404, "/none")
	f.call("changes", "path", "/none", "after", "1").problem(404, "/none")
	f.call("changes", "path", "/a/two", "after", "2").is(200) // it was there
	f.call("changes", "owner", "nobody-knows").problem(400, "nobody-knows")
	f.call("changes", "wait", "3601").problem(400, "wait")
	f.get(viewURL("changes", "wait", "1"), "Accept", "text/event-stream").problem(400, "server-sent events")
	f.forest("all", testView)
	f.of("all", "changes").problem(409, "forest")

	f.server.atOnce = true
	if n := len(f.poll("wait", "3600")); n != 1 {
		t.Errorf("%d lines at once", n)
	}
}

// TestFeedOfVersionsThatAreGone: a feed whose version was thinned says which are kept, whether the cursor stood at it or in it.
func TestFeedOfVersionsThatAreGone(t *testing.T) {
	f := newFixture(t)
	one, two := treeOf(file("/a/one", 5)), treeOf(file("/a/one", 6), file("/a/two", 7))
	f.base(testView, one)
	f.delta(testView, change(one, two))
	f.delta(testView, change(two, one))
	f.delta(testView, change(one, two))
	within := f.poll("after", "1", "limit", "1")[1]["cursor"].(string)
	at := f.poll("after", "2", "limit", "1")[0]["cursor"].(string)
	f.thin(2)
	for _, after := range []string{"2", at, within} {
		p := serve(t, f.st).call("changes", "after", after).problem(410, "version 2 is not kept")
		nearest := p["nearest"].(map[string]any)
		if nearest["before"].(map[string]any)["version"] != 1.0 || nearest["after"].(map[string]any)["version"] != 3.0 {
			t.Errorf("nearest %v", nearest)
		}
		if hint := p["hint"].(string); after != "2" && !strings.Contains(hint, "diff") {
			t.Errorf("hint %q", hint)
		}
	}
	// Of a history that was set back, the cursor is not one; a process that knew the newer head refuses the older one.
	end := serve(t, f.st).poll()[0]["cursor"].(string)
	var old *manifest.Manifest
	p, err := manifest.At(t.Context(), f.st, f.last[testView], 3)
	if err == nil {
		old, err = manifest.NewLeaves(0, 0).LoadKey(t.Context(), f.st, testView, p.Key)
	}
	if err == nil {
		var body []byte
		if body, err = old.Encode(); err == nil {
			_, err = store.Swap(t.Context(), f.st, layout.Head(testView), body, f.heads[testView])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	serve(t, f.st).call("changes", "after", end).problem(410, "version 4 is not kept")
}

// TestFeedOfReset: a feed waits through a reset, and tells what the next first scan found against what there was.
func TestFeedOfReset(t *testing.T) {
	f := newFixture(t)
	f.base(testView, treeOf(file("/a/one", 5), file("/gone", 1)))
	at := f.poll()[0]["cursor"].(string)
	f.commit(testView, func(m *manifest.Manifest) {
		m.Base, m.Deltas, m.Scan.SnapshotDone, m.Reason = nil, nil, 0, "reset"
	})
	if lines := f.poll("after", at); len(lines) != 1 || lines[0]["version"] != 1.0 {
		t.Fatalf("after a reset: %v", lines)
	}
	f.commit(testView, func(m *manifest.Manifest) { m.Scan.SnapshotDone, m.Reason = 1, "fold" })
	f.base(testView, treeOf(file("/a/one", 6)))
	var got []string
	for _, l := range f.poll("after", at) {
		if l["complete"] == nil {
			got = append(got, fmt.Sprint(l["change"], " ", l["path"]))
		}
	}
	// The version without any row is one, too.
	equal(t, "changes", got, []string{"removed /", "removed /a", "removed /gone", "removed /a/one", "added /", "added /a", "added /a/one"})
}

// TestFeedEndsWithKeyAndServer: a key that is taken away ends the feeds that it opened, and so does the end of the process.
func TestFeedEndsWithKeyAndServer(t *testing.T) {
	f := newFixture(t)
	f.base(testView, treeOf(file("/a", 1)))
	f.server.heartbeat = 10 * time.Millisecond
	const key = "test-key-that-is-taken-away"
	if err := access.Register(t.Context(), f.st, key, access.Record{Name: "short", Roles: []access.Role{access.Query}, Views: access.Views{Names: []string{testView}}}); err != nil {
		t.Fatal(err)
	}
	ending := make(chan struct{})
	url := f.serveHTTP(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Last-Event-ID") == "" && r.Header.Get("X-API-Key") == queryKey {
				r = r.WithContext(httpapi.WithEnding(r.Context(), ending))
			} else {
				r.Header.Set("X-API-Key", key)
			}
			h.ServeHTTP(w, r)
		})
	}) + viewURL("changes")
	s := connect(t, url, "")
	id := s.event().id
	kept := connect(t, url, id)
	kept.event()
	close(ending)
	for {
		if _, ok := s.next(); !ok {
			break
		}
	}
	if err := f.st.Delete(t.Context(), layout.KeyConfig(access.Hash(key))); err != nil {
		t.Fatal(err)
	}
	if e, ok := kept.next(); !ok || e.comment == "" {
		t.Fatalf("while the key is believed: %+v, %v", e, ok)
	}
	f.keysTurned.Store(int64(time.Hour))
	if e := kept.event(); e.name != "problem" || e.data["status"] != 401.0 {
		t.Fatalf("%+v", e)
	}
}

// TestFeedOfSlowReader: a reader that takes nothing is cut off by the server's deadline, and until then no more is read from the store than
// what fits between them.
func TestFeedOfSlowReader(t *testing.T) {
	f := newFixture(t)
	f.base(testView, treeOf(file("/a", 1)))
	for v := range 60 { // versions of 300 KiB each
		var rows []evidence.Row
		for i := range 500 {
			rows = append(rows, file(fmt.Sprintf("/d%03d/%s%05d", v, strings.Repeat("n", 150), i), 1))
		}
		f.delta(testView, rows)
	}
	counted := store.Count(f.st)
	gets := func() (n uint64) { return counted.Counts().Get }
	slow := serve(t, counted)
	ended := make(chan struct{})
	server := httptest.NewServer(httpapi.Pace{Answer: time.Second, Stranger: time.Second}.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		slow.server.Handler().ServeHTTP(w, r)
	})))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nAccept: text/event-stream\r\n\r\n", viewURL("changes", "after", "1"), queryKey)
	select {
	case <-ended:
	case <-time.After(wait.Limit(time.Minute)):
		t.Fatal("the reader is not cut off")
	}
	part := gets()
	if n := len(serve(t, counted).poll("after", "1")); n < 30_000 {
		t.Fatalf("%d lines", n)
	}
	whole := gets() - part
	t.Logf("%d requests until the reader was cut off, %d for the whole", part, whole)
	if part > whole/2 {
		t.Errorf("%d requests until the reader was cut off, %d for the whole", part, whole)
	}
}
