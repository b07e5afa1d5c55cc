package engine

import (
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

const testView = "research"

// publisher is a store in a directory, to which versions of the test's view are published: empty ones, for tests of heads.
type publisher struct {
	store.Store
	t    testing.TB
	etag string
	last *manifest.Manifest
}

func newPublisher(t testing.TB) *publisher {
	t.Helper()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{Store: st, t: t}
}

func (p *publisher) publish() {
	p.t.Helper()
	m := &manifest.Manifest{Format: manifest.Format, View: testView, Reason: "fold", Nonce: ulid.Make().String(), Version: 1}
	if p.last != nil {
		m.Version, m.Parent = p.last.Version+1, p.last.Key()
	}
	m.Scan.SnapshotDone = 1
	etag, err := manifest.Commit(p.t.Context(), p.Store, m, p.etag)
	if err != nil {
		p.t.Fatal(err)
	}
	p.etag, p.last = etag, m
}
