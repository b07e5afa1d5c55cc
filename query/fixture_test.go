package query

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/openapitest"
)

const (
	queryKey  = "test-key-for-reading"
	ingestKey = "test-key-for-ingest"
	otherKey  = "test-key-for-another-view"
	adminKey  = "test-key-for-administering"
	testView  = "research"
	observed  = int64(1_700_000_000_000_000_000)
)

// fixture is a Server over a real store in a directory.
type fixture struct {
	keys *access.Authenticator
	// from is the address that requests come from; empty: each from its own, as there is a limit on the wrong keys of one.
	from   string
	asked  atomic.Uint32
	t      testing.TB
	st     store.Store
	server *Server
	now    time.Time
	heads  map[string]string // ETags
	leaves *manifest.Leaves  // nil: as by default, and of one partition; inLeaves
	last   map[string]*manifest.Manifest
	// dated: versions are published at now, and their names say so.
	dated bool
	// turned is how far the server's clock was turned while it serves, and keysTurned how far that of its keys.
	turned, keysTurned atomic.Int64
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, st)
}

// dated is a store whose clock is the test's.
type dated struct {
	store.Store
	now func() time.Time
}

func (d dated) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := d.Store.Get(ctx, key)
	o.Date = d.now()
	return o, err
}

func (d dated) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	o, err := d.Store.GetIfChanged(ctx, key, etag)
	o.Date = d.now()
	return o, err
}

func (d dated) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	p, err := d.Store.List(ctx, prefix, after, limit)
	p.Date = d.now()
	return p, err
}

// serve makes a fixture over a store; its head is looked at every time.
func serve(t testing.TB, st store.Store) *fixture {
	t.Helper()
	f := &fixture{t: t, st: st, now: time.Now(), heads: map[string]string{}, last: map[string]*manifest.Manifest{}}
	allow := func(views access.Views, role access.Role) access.Record {
		return access.Record{Name: "test", Roles: []access.Role{role}, Views: views}
	}
	keys, err := access.New(access.Options{Store: st, Now: func() time.Time { return time.Now().Add(time.Duration(f.keysTurned.Load())) }, Static: []access.Static{
		{Key: queryKey, Record: allow(access.AllViews, access.Query)},
		{Key: ingestKey, Record: allow(access.AllViews, access.Ingest)},
		{Key: adminKey, Record: allow(access.AllViews, access.Admin)},
		{Key: otherKey, Record: allow(access.Views{Names: []string{"other"}}, access.Query)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return f.now.Add(time.Duration(f.turned.Load())) }
	f.keys = keys
	f.server, err = New(Options{Store: dated{st, now}, Authenticator: keys, Administer: true, HeadTTL: -1, CacheBytes: 64 << 20,
		Now: now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// entry is a short way to write a row.
func entry(path string, kind event.Type, size int64) evidence.Row {
	r := evidence.Row{Type: kind, Size: size, Mode: 0o640, UID: 1000, GID: 100, MtimeNs: observed - size, AtimeDay: 19000,
		ObservedAt: observed, Evidence: event.Snapshot, Agent: "agent-1", Source: "fs://host/data"}
	r.Parent, r.Name = event.Split(path)
	return r
}

func file(path string, size int64) evidence.Row { return entry(path, event.File, size) }

// treeOf completes rows to a view's: the root and the directories above each row are added where they are missing, rows
// are in key order, and directories have the sums of what is below them.
func treeOf(rows ...evidence.Row) []evidence.Row {
	byPath := map[string]*evidence.Row{}
	for i := range rows {
		r := rows[i]
		byPath[r.Path()] = &r
	}
	for _, path := range slices.Collect(mapKeys(byPath)) {
		for path != "/" {
			parent, _ := event.Split(path)
			if path = strings.TrimSuffix(parent, "/"); path == "" {
				path = "/"
			}
			if byPath[path] == nil {
				dir := entry(path, event.Directory, 4096)
				byPath[path] = &dir
			}
		}
	}
	var out []evidence.Row
	for _, r := range byPath {
		if r.Type == event.Directory && !r.Removed {
			r.Sub = evidence.Totals{LatestMtimeNs: evidence.NoMtime}
			for path, below := range byPath {
				if path == r.Path() || strings.HasPrefix(path, r.ChildParent()) {
					r.Sub = r.Sub.Plus(below.Own())
				}
			}
		}
		out = append(out, *r)
	}
	sortRows(out)
	setOpen(out)
	return out
}

// setOpen makes rows in key order say of each directory whether it is open, as folds do.
func setOpen(rows []evidence.Row) {
	byPath := map[string]*evidence.Row{}
	for i := range rows {
		if r := &rows[i]; r.Type == event.Directory && !r.Removed {
			r.Open = true
			byPath[r.ChildParent()] = r
		}
	}
	rights := func(r *evidence.Row) permission.Directory {
		return permission.Directory{UID: r.UID, GID: r.GID, Mode: r.Mode, ACL: r.ACL}
	}
	deepest := slices.SortedFunc(mapKeys(byPath), func(a, b string) int { return cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/")) })
	for _, path := range deepest {
		r := byPath[path]
		if above := byPath[r.Parent]; above != nil && (!r.Open || !permission.Covers(rights(r), rights(above))) {
			above.Open = false
		}
	}
}

func mapKeys(m map[string]*evidence.Row) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func sortRows(rows []evidence.Row) {
	slices.SortFunc(rows, func(a, b evidence.Row) int {
		return cmp.Or(strings.Compare(a.Parent, b.Parent), strings.Compare(a.Name, b.Name))
	})
}

// change is the delta that makes old into new: what differs, and tombstones.
func change(old, new []evidence.Row) []evidence.Row {
	was, is := map[string]evidence.Row{}, map[string]evidence.Row{}
	for _, r := range old {
		was[r.Path()] = r
	}
	var out []evidence.Row
	for _, r := range new {
		is[r.Path()] = r
		if was[r.Path()] != r {
			out = append(out, r)
		}
	}
	for path, r := range was {
		if _, there := is[path]; !there {
			r.Removed, r.Sub, r.Watermark = true, evidence.Totals{}, r.MtimeNs
			out = append(out, r)
		}
	}
	sortRows(out)
	return out
}

// layer writes rows as a layer, of small row groups so that several take part.
func (f *fixture) layer(view string, rows []evidence.Row) layer.Info {
	f.t.Helper()
	return f.layerOf(view, rows, layer.WriterOptions{RowsPerGroup: 16, SearchSpan: 1})
}

func (f *fixture) layerOf(view string, rows []evidence.Row, o layer.WriterOptions) layer.Info {
	f.t.Helper()
	o.ID = ulid.Make().String()
	w := layer.NewWriter(o)
	for i := range rows {
		if err := w.Append(&rows[i]); err != nil {
			f.t.Fatal(err)
		}
	}
	built, err := w.Finish()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := layer.Publish(context.Background(), f.st, view, built); err != nil {
		f.t.Fatal(err)
	}
	return built.Info
}

// commit publishes a version after the last, changed by edit.
func (f *fixture) commit(view string, edit func(*manifest.Manifest)) *manifest.Manifest {
	f.t.Helper()
	m := &manifest.Manifest{Format: manifest.Format, View: view, Reason: "fold"}
	if last := f.last[view]; last != nil {
		copied := *last
		m, copied.Parent = &copied, last.Key()
	}
	m.Version++
	m.Nonce = ulid.Make().String()
	m.FoldedAt, m.ObservedAt = observed+2e9, observed
	m.Scan.SnapshotDone = 1
	if f.dated {
		m.FoldedAt, m.ObservedAt = f.now.UnixNano(), f.now.Add(-time.Second).UnixNano()
		m.Nonce = manifest.Nonce(m.FoldedAt, m.Nonce)
	}
	edit(m)
	tag, err := f.leaves.Commit(context.Background(), f.st, m, f.heads[view])
	if err != nil {
		f.t.Fatal(err)
	}
	f.heads[view], f.last[view] = tag, m
	return m
}

// base publishes rows as the base of a new version.
func (f *fixture) base(view string, rows []evidence.Row) *manifest.Manifest {
	var base []layer.Info
	pieces := 1
	if f.leaves != nil {
		pieces = 7
	}
	for part := range slices.Chunk(rows, len(rows)/pieces+1) {
		base = append(base, f.layer(view, part))
	}
	return f.commit(view, func(m *manifest.Manifest) { m.Base, m.Deltas, m.Totals = base, nil, rows[0].Sub })
}

// inLeaves makes versions of many base partitions, two in a leaf.
func (f *fixture) inLeaves(yes bool) {
	if yes {
		f.leaves = manifest.NewLeaves(0, 2)
	}
}

// delta publishes rows as a delta over the last version.
func (f *fixture) delta(view string, rows []evidence.Row) *manifest.Manifest {
	info := f.layer(view, rows)
	return f.commit(view, func(m *manifest.Manifest) { m.Deltas = append([]layer.Info{info}, m.Deltas...) })
}

// answer is what a call answered.
type answer struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

// get calls the server as the key for reading; headers are name, value, …
func (f *fixture) get(target string, headers ...string) *answer {
	f.t.Helper()
	return f.do(http.MethodGet, target, "", append([]string{"X-API-Key", queryKey}, headers...)...)
}

// documentOf is what /openapi.json shows.
func documentOf(t testing.TB, s *Server) []byte {
	t.Helper()
	b, err := s.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// api is the document that every answer must keep to; it is the same for all servers.
var api struct {
	once sync.Once
	*openapitest.Document
}

func (f *fixture) do(method, target, body string, headers ...string) *answer {
	f.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	n := f.asked.Add(1)
	if req.RemoteAddr = f.from; f.from == "" {
		req.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1234", n>>16&0xff, n>>8&0xff, n&0xff)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(rec, req)
	api.once.Do(func() { api.Document = openapitest.Read(f.t, documentOf(f.t, f.server)) })
	api.Answer(f.t, req, rec.Code, rec.Header(), rec.Body.Bytes())
	return &answer{f.t, method + " " + target, rec.Code, rec.Header(), rec.Body.Bytes()}
}

// call is get of a call on the test's view, with parameters name, value, …
func (f *fixture) call(name string, params ...string) *answer {
	f.t.Helper()
	return f.get(viewURL(name, params...))
}

func viewURL(name string, params ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	return "/api/v1/views/" + testView + "/" + name + "?" + q.Encode()
}

// is checks the status.
func (a *answer) is(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: %d %s, not %d", a.what, a.status, a.body, status)
	}
	return a
}

// object is the body as a JSON object.
func (a *answer) object() map[string]any {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return v
}

// problem checks that the answer is a problem of that status whose detail has the words.
func (a *answer) problem(status int, words ...string) map[string]any {
	a.t.Helper()
	a.is(status)
	if kind := a.header.Get("Content-Type"); kind != "application/problem+json" {
		a.t.Fatalf("%s: Content-Type %q", a.what, kind)
	}
	p := a.object()
	for _, w := range words {
		if !strings.Contains(fmt.Sprint(p["detail"]), w) {
			a.t.Fatalf("%s: detail %q lacks %q", a.what, p["detail"], w)
		}
	}
	return p
}

// lines are the objects of an NDJSON body.
func (a *answer) lines() (out []map[string]any) {
	a.t.Helper()
	if kind := a.header.Get("Content-Type"); kind != ndjson {
		a.t.Fatalf("%s: Content-Type %q", a.what, kind)
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	for {
		var v map[string]any
		err := d.Decode(&v)
		if err == io.EOF {
			return out
		}
		if err != nil {
			a.t.Fatalf("%s: %v in %s", a.what, err, a.body)
		}
		out = append(out, v)
	}
}

// paths are the exact paths of nodes.
func paths(t testing.TB, nodes []any) (out []string) {
	t.Helper()
	for _, n := range nodes {
		out = append(out, pathOf(t, n.(map[string]any)))
	}
	return out
}

// pathOf is a node's exact path.
func pathOf(t testing.TB, node map[string]any) string {
	t.Helper()
	if b64, ok := node["path_b64"].(string); ok {
		raw, err := base64.RawURLEncoding.DecodeString(b64)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	path, _ := node["path"].(string)
	return path
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// raw is do without holding the answer to the document: for routes that it does not list.
func (f *fixture) raw(method, target, key string) *answer {
	f.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(""))
	req.Header.Set("X-API-Key", key)
	rec := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(rec, req)
	return &answer{f.t, method + " " + target, rec.Code, rec.Header(), rec.Body.Bytes()}
}
