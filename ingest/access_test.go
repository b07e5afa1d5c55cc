package ingest

import (
	"testing"

	"github.com/fustor/fustor/testkit/accesstest"
)

// Every call of the pipe side and of the administrator's is refused to whoever it is not for.
func TestAccess(t *testing.T) {
	f := newFixture(t, 1)
	keys := accesstest.NewKeys(t, f.store)
	if n := accesstest.Check(t, f.document(), f.ingests[0].Handler(), keys); n < 30 {
		t.Errorf("only %d calls are documented", n)
	}
	if n := accesstest.CheckRoutes(t, f.ingests[0].v2mux.Routes(), f.ingests[0].Handler(), keys); n < 30 {
		t.Errorf("only %d calls of Fustor V2", n)
	}
}
