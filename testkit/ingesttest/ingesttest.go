// Package ingesttest runs a real ingest in the test's own process, so that tests of the agent need not import a part that is not
// theirs.
package ingesttest

import (
	"net/http"
	"testing"

	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/store"
)

// Handler is an ingest on a store. It takes the one API key, which may do everything.
func Handler(t testing.TB, s store.Store, apiKey string) http.Handler {
	t.Helper()
	keys, err := access.New(access.Options{Static: []access.Static{{
		Key: apiKey, Record: access.Record{Name: "test", Roles: []access.Role{access.Admin}, Views: access.Views{All: true}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	i, err := ingest.New(ingest.Options{Store: s, Authenticator: keys})
	if err != nil {
		t.Fatal(err)
	}
	return i.Handler()
}
