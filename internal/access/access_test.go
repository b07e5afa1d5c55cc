package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

func TestGeneratedKeys(t *testing.T) {
	a, b := GenerateKey(), GenerateKey()
	if a == b || !strings.HasPrefix(a, KeyPrefix) || len(a) != len(KeyPrefix)+52 || strings.ToLower(a) != a {
		t.Errorf("%q, %q", a, b)
	}
	if h := Hash(a); len(h) != 64 || !layout.ValidID(h) || h == Hash(b) {
		t.Errorf("hash %q", h)
	}
	// The hash is the documented one, so that a record can be made by hand.
	if Hash("abc") != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Error("Hash is not hex SHA-256")
	}
}

type fixture struct {
	store *store.Counted
	keys  *Authenticator
	now   time.Time
}

func newFixture(t *testing.T, static ...Static) *fixture {
	t.Helper()
	dir, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{store: store.Count(dir), now: time.Unix(1_700_000_000, 0)}
	f.keys, err = New(Options{Store: f.store, Static: static, Now: func() time.Time { return f.now }})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) register(t *testing.T, r Record) string {
	t.Helper()
	key := GenerateKey()
	if err := Register(context.Background(), f.store, key, r); err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeysComeAndGo(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t)
	record := Record{Name: "lab", Roles: []Role{Query}, Views: Views{Names: []string{"research"}}, ExpiresAt: f.now.Add(time.Hour).UnixNano()}
	key := f.register(t, record)
	if err := Register(ctx, f.store, key, Record{Name: "thief", Roles: []Role{Admin}, Views: AllViews}); !errors.Is(err, store.ErrLost) {
		t.Errorf("a key was registered twice: %v", err)
	}
	for range 3 {
		if got, err := f.keys.Authenticate(ctx, key); err != nil || got.Name != "lab" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if n := f.store.Counts().Get; n > 2 { // one of them is Register's read-back
		t.Errorf("%d reads for three requests with one key", n)
	}
	f.now = f.now.Add(time.Hour)
	if _, err := f.keys.Authenticate(ctx, key); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an expired key: %v", err)
	}
	record.ExpiresAt = 0
	key = f.register(t, record)
	if _, err := f.keys.Authenticate(ctx, key); err != nil {
		t.Fatal(err)
	}
	if err := f.store.Delete(ctx, layout.KeyConfig(Hash(key))); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(KnownFor)
	if _, err := f.keys.Authenticate(ctx, key); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a key that was taken away: %v", err)
	}
	if err := Register(ctx, f.store, key, record); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(unknownFor)
	if _, err := f.keys.Authenticate(ctx, key); err != nil {
		t.Errorf("a key that came back: %v", err)
	}
}

func TestUnknownKeysAreCheap(t *testing.T) {
	f := newFixture(t)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if _, err := f.keys.Authenticate(context.Background(), "guess"); !errors.Is(err, ErrUnknownKey) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := f.store.Counts().Get; n != 1 {
		t.Errorf("%d reads for one unknown key", n)
	}
	for _, key := range []string{"", strings.Repeat("x", maxKey+1)} {
		if _, err := f.keys.Authenticate(context.Background(), key); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
	if n := f.store.Counts().Get; n != 1 {
		t.Error("impossible keys were looked up")
	}
}

func TestDamagedRecordIsNotAKey(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t)
	for _, body := range []string{"{", "{}", `{"name":"a","roles":["root"],"views":"*"}`, `{"name":"a","roles":["query"],"views":"all"}`,
		`{"name":"a","roles":["query"],"views":[]}`, `{"name":"a","roles":["query"],"views":["../x"]}`, `{"name":"a","roles":["query"],"views":"*","rolls":1}`,
		`{"name":"a","roles":["query"],"views":"*"} {}`} {
		key := GenerateKey()
		if _, err := f.store.Put(ctx, layout.KeyConfig(Hash(key)), []byte(body)); err != nil {
			t.Fatal(err)
		}
		_, err := f.keys.Authenticate(ctx, key)
		if !errors.Is(err, ErrRecord) || strings.Contains(err.Error(), key) || strings.Contains(err.Error(), Hash(key)) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestViewsInJSON(t *testing.T) {
	for body, want := range map[string]Views{`"*"`: AllViews, `["a","b"]`: {Names: []string{"a", "b"}}} {
		var v Views
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		if back, err := json.Marshal(v); err != nil || string(back) != body || v.All != want.All || !v.Has("a") || v.Has("c") != want.All {
			t.Errorf("%s became %+v and %s, %v", body, v, back, err)
		}
	}
}

func TestMiddleware(t *testing.T) {
	static := Static{Key: "given-by-the-operator", Record: Record{Name: "static", Roles: []Role{Admin}, Views: AllViews}}
	f := newFixture(t, static)
	reader := f.register(t, Record{Name: "reader", Roles: []Role{Query}, Views: Views{Names: []string{"research"}}})
	var log bytes.Buffer
	mux := httpapi.NewMux()
	mux.Handle("GET", "/views/{view}", f.keys.Require(httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if err := CheckView(r.Context(), r.PathValue("view")); err != nil {
			return err
		}
		record, _ := FromContext(r.Context())
		httpapi.WriteJSON(w, r, 200, record.Name)
		return nil
	}), Query))
	mux.Handle("GET", "/ingest", f.keys.Require(http.NotFoundHandler(), Ingest))
	h := httpapi.Frame{Logger: slog.New(slog.NewTextHandler(&log, nil))}.Wrap(mux)
	for _, tc := range []struct {
		name, path  string
		header      http.Header
		status      int
		wantDetails string
	}{
		{"no key", "/views/research", nil, 401, "needs an API key"},
		{"key", "/views/research", http.Header{"X-Api-Key": {reader}}, 200, "reader"},
		{"bearer", "/views/research", http.Header{"Authorization": {"bearer " + reader}}, 200, "reader"},
		{"both, the same", "/views/research", http.Header{"X-Api-Key": {reader}, "Authorization": {"Bearer " + reader}}, 200, "reader"},
		{"both, different", "/views/research", http.Header{"X-Api-Key": {reader}, "Authorization": {"Bearer " + static.Key}}, 401, "different keys"},
		{"basic", "/views/research", http.Header{"Authorization": {"Basic " + reader}}, 401, "needs an API key"},
		{"unknown", "/views/research", http.Header{"X-Api-Key": {reader + "x"}}, 401, "unknown"},
		{"hash for key", "/views/research", http.Header{"X-Api-Key": {Hash(reader)}}, 401, "unknown"},
		{"wrong view", "/views/secret", http.Header{"X-Api-Key": {reader}}, 403, "not for view"},
		{"no view", "/views/..%2Fx", http.Header{"X-Api-Key": {reader}}, 400, "not a valid view name"},
		{"wrong role", "/ingest", http.Header{"X-Api-Key": {reader}}, 403, "does not allow this"},
		{"static", "/views/any", http.Header{"X-Api-Key": {static.Key}}, 200, "static"},
	} {
		r := httptest.NewRequest("GET", tc.path, nil)
		for name, values := range tc.header {
			r.Header[name] = values
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.wantDetails) {
			t.Errorf("%s: %d %s", tc.name, w.Code, w.Body)
		}
		if tc.status != 200 {
			saysWhatToDo(t, tc.name, w.Body.Bytes())
		}
		if tc.status == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", tc.name)
		}
		for _, secret := range []string{reader, static.Key, Hash(reader)} {
			if strings.Contains(w.Body.String(), secret) || strings.Contains(log.String(), secret) {
				t.Errorf("%s: a key is told", tc.name)
			}
		}
	}
}
