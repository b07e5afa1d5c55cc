//go:build unix

package suite_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/fault"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/internal/store/s3test"
	"github.com/fustor/fustor/internal/store/suite"
)

func openLocal(t testing.TB) store.Store {
	t.Helper()
	s, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fresh opens a new prefix of a server's bucket at every call.
func fresh(server *s3test.Server, sdk string) func(testing.TB) store.Store {
	var n atomic.Int64
	return func(t testing.TB) store.Store {
		t.Helper()
		s, err := open.Open(t.Context(), server.URL(sdk, fmt.Sprintf("%s/fresh-%d", sdk, n.Add(1))))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestLocal(t *testing.T) {
	suite.Run(t, func(t *testing.T) store.Store { return openLocal(t) }, suite.KeyBelowKey, suite.NoPresign, suite.NoNotify)
}

// TestWrapped shows that the wrappers change nothing when there is nothing to do.
func TestWrapped(t *testing.T) {
	suite.Run(t, func(t *testing.T) store.Store { return store.Count(fault.New(openLocal(t), nil)) },
		suite.KeyBelowKey, suite.NoPresign, suite.NoNotify)
}

func TestMinIO(t *testing.T) {
	server := s3test.MinIO(t)
	for sdk, known := range map[string][]suite.Deviation{"s3": {suite.NoNotify}, "minio": {suite.LateNotify}} {
		open := fresh(server, sdk)
		t.Run(sdk, func(t *testing.T) { suite.Run(t, func(t *testing.T) store.Store { return open(t) }, known...) })
	}
}

func TestVersitygw(t *testing.T) {
	server := s3test.Versitygw(t)
	for _, sdk := range []string{"s3", "minio"} {
		open := fresh(server, sdk)
		t.Run(sdk, func(t *testing.T) {
			suite.Run(t, func(t *testing.T) store.Store { return open(t) }, suite.MixedReads, suite.KeyBelowKey, suite.NoNotify)
		})
	}
}
