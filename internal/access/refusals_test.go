package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/unixsocket"
	"github.com/fustor/fustor/internal/viewconfig"
)

// saysWhatToDo holds that a refusal says what is wrong, and what to do about it.
func saysWhatToDo(t *testing.T, name string, body []byte) {
	t.Helper()
	var problem struct{ Detail, Hint string }
	if err := json.Unmarshal(body, &problem); err != nil || problem.Detail == "" || problem.Hint == "" && !strings.Contains(problem.Detail, "is accepted") {
		t.Errorf("%s: a refusal without what is wrong or what to do: %s, %v", name, body, err)
	}
}

// TestWhatCannotBeRead opens nothing: damaged settings and records are failures of the server, a name service that is away is none, and the
// log has the cause of each, which the caller is not told.
func TestWhatCannotBeRead(t *testing.T) {
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const key = "with-a-damaged-record"
	open := viewconfig.Default("open")
	open.OpenTo = []string{"socket"}
	if err := viewconfig.Save(t.Context(), st, open); err != nil {
		t.Fatal(err)
	}
	for object, body := range map[string]string{layout.ViewConfig("damaged"): `{"no`, layout.KeyConfig(Hash(key)): `{"name":7}`} {
		if _, err := st.Put(t.Context(), object, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	a, err := New(Options{Store: st, Users: host.users(time.Now), Static: []Static{{Key: "admin", Record: Record{Name: "admin", Roles: []Role{Admin}, Views: AllViews}}}})
	if err != nil {
		t.Fatal(err)
	}
	mux := httpapi.NewMux()
	answer := httpapi.Handler(func(_ http.ResponseWriter, r *http.Request) error {
		return CheckView(r.Context(), r.PathValue("view_id"))
	})
	mux.Handle("GET", "/read/{view_id}", a.RequireReader(answer))
	mux.Handle("GET", "/whole/{view_id}", a.Require(answer, Query))
	h := httpapi.Frame{Logger: slog.New(slog.NewTextHandler(&log, nil))}.Wrap(mux)
	for _, c := range []struct {
		name, path string
		peer       *unixsocket.Peer
		header     []string
		status     int
		says, logs string // of the server's log, which has the cause
		level      string
	}{
		{"settings, of a user at the socket", "/read/damaged", &unixsocket.Peer{UID: 1001, GID: 100}, nil, 500, "settings of view", viewconfig.ErrInvalid.Error(), "ERROR"},
		{"settings, of root", "/read/damaged", &unixsocket.Peer{}, nil, 500, "settings of view", viewconfig.ErrInvalid.Error(), "ERROR"},
		{"settings, of root for what shows everything", "/whole/damaged", &unixsocket.Peer{}, nil, 500, "settings of view", viewconfig.ErrInvalid.Error(), "ERROR"},
		{"a record", "/read/open", nil, []string{"X-API-Key", key}, 500, "record of this API key", ErrRecord.Error(), "ERROR"},
		{"a name service", "/read/open", nil, []string{"X-API-Key", "admin", AsHeader, "slow"}, 503, "name service", "the directory does not answer", "INFO"},
		{"no name of a user", "/read/open", nil, []string{"X-API-Key", "admin", AsHeader, "-alice"}, 400, "neither the name of a user", "-alice", "INFO"},
		{"an unknown user", "/read/open", nil, []string{"X-API-Key", "admin", AsHeader, "nobody-here"}, 403, "knows no user", "nobody-here", "INFO"},
	} {
		log.Reset()
		r := httptest.NewRequest("GET", c.path, nil)
		if c.peer != nil {
			r = r.WithContext(unixsocket.WithPeer(r.Context(), *c.peer))
		}
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Add(c.header[i], c.header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if said := log.String(); !strings.Contains(said, c.logs) || !strings.Contains(said, "level="+c.level) {
			t.Errorf("%s: the log says %q", c.name, said)
		}
		if c.status >= 500 && strings.Contains(w.Body.String(), c.logs) {
			t.Errorf("%s: the caller is told the cause: %s", c.name, w.Body)
		}
		saysWhatToDo(t, c.name, w.Body.Bytes())
	}
}

// paced is a connection that remembers until when it may be written to.
type paced struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (p *paced) SetWriteDeadline(t time.Time) error {
	p.until = t
	return nil
}

// TestKnownCallersHaveTime: whoever may ask has the longer times of a pace, and whoever is refused has not.
func TestKnownCallersHaveTime(t *testing.T) {
	a, err := New(Options{Static: []Static{{Key: "k", Record: Record{Name: "n", Roles: []Role{Query}, Views: AllViews}}}})
	if err != nil {
		t.Fatal(err)
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	for name, h := range map[string]http.Handler{"for readers": a.RequireReader(answer), "for a role": a.Require(answer, Query)} {
		for key, known := range map[string]bool{"k": true, "wrong": false} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-API-Key", key)
			w := &paced{ResponseRecorder: httptest.NewRecorder()}
			httpapi.Pace{Stranger: time.Second, Body: 24 * time.Hour, Answer: 24 * time.Hour}.Wrap(h).ServeHTTP(w, r)
			if long := w.until.After(time.Now().Add(time.Hour)); long != known || (w.Code == 200) != known {
				t.Errorf("%s, key %s: %d, until %s", name, key, w.Code, w.until)
			}
		}
	}
}

// TestAddressesHaveTheirOwnWrongKeys: who sends too many is told to wait; others, and those who know a key, are not.
func TestAddressesHaveTheirOwnWrongKeys(t *testing.T) {
	a, err := New(Options{Static: []Static{{Key: "k", Record: Record{Name: "n", Roles: []Role{Query}, Views: AllViews}}}})
	if err != nil {
		t.Fatal(err)
	}
	h := httpapi.Frame{}.Wrap(a.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Query))
	ask := func(from, key string) int {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = from + ":80"
		r.Header.Set("X-API-Key", key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 {
			saysWhatToDo(t, from, w.Body.Bytes())
		}
		if wait := w.Header().Get("Retry-After"); (wait != "") != (w.Code == 429) {
			t.Errorf("%s: %d, Retry-After %q", from, w.Code, wait)
		}
		return w.Code
	}
	for i := range wrongKeys {
		if status := ask("192.0.2.1", fmt.Sprint("wrong ", i)); status != 401 {
			t.Fatalf("wrong key %d: %d", i+1, status)
		}
	}
	if one, other, right := ask("192.0.2.1", "wrong"), ask("192.0.2.2", "wrong"), ask("192.0.2.1", "k"); one != 429 || other != 401 || right != 200 {
		t.Errorf("one more: %d; of another address: %d; a right key: %d", one, other, right)
	}
}

// TestRecordOfWhoAsksAsAUser is that of the user: it allows nothing that file permissions do not, and names who it is.
func TestRecordOfWhoAsksAsAUser(t *testing.T) {
	a, err := New(Options{Users: host.users(time.Now), Static: []Static{{Key: "k", Record: Record{Name: "n", Roles: []Role{Admin}, Views: AllViews}}}})
	if err != nil {
		t.Fatal(err)
	}
	for as, restricted := range map[string]bool{"alice": true, "": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", "k")
		if as != "" {
			r.Header.Set(AsHeader, as)
		}
		if err := a.Reader(httptest.NewRecorder(), r); err != nil {
			t.Fatal(err)
		}
		record, ok := FromContext(r.Context())
		if !ok || record.As != as || record.Restricted() != restricted || record.Allows(Admin) == restricted || record.Allows(Query) == restricted {
			t.Errorf("as %q: %+v", as, record)
		}
		reader, ok := ReaderFrom(r.Context())
		if ok != restricted || reader.Name != as || reader.Asked != restricted {
			t.Errorf("as %q: reader %+v", as, reader)
		}
	}
}

// TestKeyThatLooksLikeAToken is a key as any other where no provider's tokens are accepted.
func TestKeyThatLooksLikeAToken(t *testing.T) {
	const key = "eyJ.alice.x"
	for known, status := range map[string]int{key: 200, "other": 401} {
		a, err := New(Options{Static: []Static{{Key: known, Record: Record{Name: "n", Roles: []Role{Query}, Views: AllViews}}}})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		httpapi.Frame{}.Wrap(a.RequireReader(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))).ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("where %q is a key: %d %s", known, w.Code, w.Body)
		}
	}
}
