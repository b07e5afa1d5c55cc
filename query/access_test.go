package query

import (
	"testing"

	"github.com/fustor/fustor/testkit/accesstest"
)

// Every call of the reading side is refused to whoever it is not for.
func TestAccess(t *testing.T) {
	f := newFixture(t)
	f.base(accesstest.Asked, sample())
	keys := accesstest.NewKeys(t, f.st)
	if n := accesstest.Check(t, documentOf(t, f.server), f.server.Handler(), keys); n < 16 {
		t.Errorf("only %d calls are documented", n)
	}
	if n := accesstest.CheckRoutes(t, f.server.v2.Routes(), f.server.Handler(), keys); n < 22 {
		t.Errorf("only %d calls of Fustor V2", n)
	}
}
