package session

import (
	"os"
	"testing"

	"github.com/fustor/fustor/testkit/cases"
)

func TestMain(m *testing.M) {
	cases.OfRapid()
	os.Exit(m.Run())
}
