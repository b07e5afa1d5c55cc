package query

import (
	"context"
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/store"
)

const administrator = "key-of-an-administrator"

func (f *fixture) register(key string, role access.Role) {
	f.t.Helper()
	if err := access.Register(context.Background(), f.st, key, access.Record{Name: "admin", Roles: []access.Role{role}, Views: access.AllViews}); err != nil {
		f.t.Fatal(err)
	}
}

// A view that was reset answers 503 at once, on the server that did it, and has its new content once that is folded.
func TestReset(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.register(administrator, access.Admin)
	f.call("stats").is(200)
	reset := "/api/v1/views/" + testView + "/reset"
	f.do(http.MethodDelete, reset, "", "Cookie", "fustor_key="+base64.RawURLEncoding.EncodeToString([]byte(administrator))).is(401) // another site's page cannot do it
	f.do(http.MethodDelete, reset, "", "X-API-Key", queryKey).is(403)
	f.do(http.MethodDelete, reset+"?x=1", "", "X-API-Key", administrator).is(400)
	answer := f.do(http.MethodDelete, reset, "", "X-API-Key", administrator).is(204)
	if len(answer.body) != 0 {
		t.Errorf("204 with %q", answer.body)
	}
	f.call("stats").problem(503, "first scan", "0 files")
	f.do(http.MethodDelete, "/api/v1/views/nothing/reset", "", "X-API-Key", administrator).is(404)
}

// readOnly is a store whose credentials do not allow writes, as that of a query function.
type readOnly struct{ store.Store }

func (readOnly) Create(context.Context, string, []byte) (store.Meta, error) {
	return store.Meta{}, store.ErrDenied
}

func (readOnly) Replace(context.Context, string, []byte, string) (store.Meta, error) {
	return store.Meta{}, store.ErrDenied
}

func TestResetWithoutTheRight(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.register(administrator, access.Admin)
	g := serve(t, readOnly{f.st})
	g.do(http.MethodDelete, "/api/v1/views/"+testView+"/reset", "", "X-API-Key", administrator).problem(501, "may not write")
	f.call("stats").is(200)
}
