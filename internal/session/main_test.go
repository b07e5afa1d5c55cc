package session

import (
	"os"
	"testing"

	"github.com/fustor/fustor/testkit/cases"
)

func TestMain(m *testing.M) {
	cases.OfRapid(100)
	os.Exit(m.Run())
}
