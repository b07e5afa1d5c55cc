package compactor

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
)

// TestClaims: a merge of many rows is claimed, whatever nobody else is at; a claim that is over is anybody's, and one that another one takes at the same time
// is that one's. Where nothing is left the view is looked at again in time; where the store lets nobody claim, merges go on.
func TestClaims(t *testing.T) {
	now := time.Unix(1e6, 0)
	const two = "b0 b1"
	for _, c := range []struct {
		what    string
		rows    int64  // that are claimed at least
		live    string // names that others have claimed
		over    string // names of claims that are over
		raced   string // names that others claim just now
		refused error
		want    string // the name of the plan; none: ""
		claims  bool
		left    bool
		logged  bool
	}{
		{what: "nobody is at it", rows: 11, want: "b0", claims: true},
		{what: "it is small", rows: 12, want: "b0"},
		{what: "the first is another one's", rows: 11, live: "b0", want: "b1", claims: true},
		{what: "all are others'", rows: 1, live: two + " deltas", left: true},
		{what: "what is left is small", rows: 12, live: "b0", want: "b0"},
		{what: "a claim that is over", rows: 11, over: "b0", want: "b0", claims: true},
		{what: "one is over, one is live", rows: 11, live: "b0", over: "b1", want: "b1", claims: true},
		{what: "another one is first", rows: 11, raced: "b0", want: "b1", claims: true},
		{what: "another one takes what is over", rows: 11, over: "b0", raced: "b0", want: "b1", claims: true},
		{what: "others are first everywhere", rows: 1, raced: two + " deltas", left: true},
		{what: "the store refuses", rows: 11, refused: store.ErrDenied, want: "b0", logged: true},
	} {
		var log bytes.Buffer
		st := &claimsRace{Store: sim.NewStore(func() time.Time { return now }), refused: c.refused}
		h := &harness{tb: t, ctx: t.Context(), store: st}
		h.c = h.compactor(Options{MaxDeltas: 1, PartitionRows: 1, ClaimRows: c.rows, Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		m := h.laid("0 1", "1b 1c", "0b 0c")
		for i := range m.Base {
			m.Base[i].Rows = 9
		}
		if _, err := h.c.publish(h.ctx, h.head(), "fold", func(draft *manifest.Manifest) error {
			draft.Base, draft.Deltas = m.Base, m.Deltas
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		put := func(names string) {
			for _, name := range strings.Fields(names) {
				if _, err := h.store.Put(h.ctx, layout.MergeClaim(viewName, name), []byte("another's")); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(c.over)
		now = now.Add(claimTTL + 1)
		live := now
		put(c.live)
		now = now.Add(claimTTL) // as long as it holds
		st.raced = c.raced
		_, p, release, err := h.c.claimMerge(h.ctx, viewName)
		if err != nil {
			t.Fatal(err)
		}
		name := ""
		if !p.none() {
			name = p.name()
		}
		_, left := h.c.left[viewName]
		own := func() bool {
			o, err := h.store.Get(h.ctx, layout.MergeClaim(viewName, name))
			return err == nil && !strings.HasPrefix(string(o.Body), "another's")
		}
		if name != c.want || own() != c.claims || left != c.left || (log.Len() > 0) != c.logged {
			t.Errorf("%s: %q is planned, claimed: %v, left to others: %v; want %q, %v, %v\n%s", c.what, name, own(), left, c.want, c.claims, c.left, log.String())
		}
		if release(); own() {
			t.Errorf("%s: the claim does not end with the merge", c.what)
		}
		now = live
	}
}

// claimsRace is a store in which others claim merges just before it is asked to make a claim, or that refuses claims.
type claimsRace struct {
	store.Store
	raced   string
	refused error
}

func (s *claimsRace) before(ctx context.Context, key string) error {
	if !strings.HasPrefix(key, layout.MergeClaims(viewName)) {
		return nil
	}
	for _, name := range strings.Fields(s.raced) {
		if key == layout.MergeClaim(viewName, name) {
			s.raced = strings.ReplaceAll(s.raced, name, "")
			if _, err := s.Store.Put(ctx, key, []byte("another's, just now")); err != nil {
				return err
			}
		}
	}
	return s.refused
}

func (s *claimsRace) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if err := s.before(ctx, key); err != nil {
		return store.Meta{}, err
	}
	return s.Store.Create(ctx, key, body)
}

func (s *claimsRace) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if err := s.before(ctx, key); err != nil {
		return store.Meta{}, err
	}
	return s.Store.Replace(ctx, key, body, etag)
}
