//go:build unix

package doctor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/testkit/fault"
	"github.com/fustor/fustor/testkit/s3test"
)

func openLocal(t *testing.T) store.Store {
	t.Helper()
	s, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestProbeOfGoodStores(t *testing.T) {
	stores := map[string]store.Store{"local": openLocal(t)}
	for _, server := range []*s3test.Server{s3test.MinIO(t), s3test.Versitygw(t)} {
		for _, sdk := range []string{"s3", "minio"} {
			s, err := open.Open(t.Context(), server.URL(sdk, sdk))
			if err != nil {
				t.Fatal(err)
			}
			stores[server.Name+" through "+sdk] = s
		}
	}
	for name, s := range stores {
		t.Run(name, func(t *testing.T) {
			report, err := doctor.Probe(t.Context(), s, func(doctor.Rule) {})
			if err != nil {
				t.Fatal(err)
			}
			for _, rule := range report.Rules {
				t.Logf("%-50s ok=%-5v %8v %s", rule.Name, rule.OK, rule.Duration.Round(time.Millisecond), rule.Detail)
			}
			t.Logf("took %v", report.Duration)
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			if rule := find(report, "uploads can be granted"); rule.OK != (name != "local") {
				t.Errorf("presign: %+v", rule)
			}
			wantEmpty(t, s)
		})
	}
}

func find(report doctor.Report, name string) doctor.Rule {
	i := slices.IndexFunc(report.Rules, func(r doctor.Rule) bool { return r.Name == name })
	if i < 0 {
		return doctor.Rule{}
	}
	return report.Rules[i]
}

func wantEmpty(t *testing.T, s store.Store) {
	t.Helper()
	page, err := s.List(t.Context(), "", "", 0)
	if err != nil || len(page.Items) != 0 {
		t.Errorf("the probe left %v, %v", page.Items, err)
	}
}

// The stores below are broken in the ways that real ones are, and good in everything else.

// deaf ignores conditions, as many old servers do.
type deaf struct{ store.Store }

func (s deaf) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.Put(ctx, key, body)
}

func (s deaf) Replace(ctx context.Context, key string, body []byte, _ string) (store.Meta, error) {
	return s.Put(ctx, key, body)
}

// racy looks first and writes then.
type racy struct{ store.Store }

func (s racy) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if _, err := s.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
		return store.Meta{}, errors.Join(store.ErrExists, err)
	}
	return s.Put(ctx, key, body)
}

// racyReplace does so in Replace only.
type racyReplace struct{ store.Store }

func (s racyReplace) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if object, err := s.Get(ctx, key); err != nil || object.ETag != etag {
		return store.Meta{}, errors.Join(store.ErrChanged, err)
	}
	return s.Put(ctx, key, body)
}

// cached reads what was there when it first looked.
type cached struct {
	store.Store
	first map[string]store.Object
}

func (s cached) Get(ctx context.Context, key string) (store.Object, error) {
	if !strings.Contains(key, "seen-0") {
		return s.Store.Get(ctx, key)
	}
	if object, ok := s.first[key]; ok {
		return object, nil
	}
	object, err := s.Store.Get(ctx, key)
	if err == nil {
		s.first[key] = object
	}
	return object, err
}

// unordered lists directories before what sorts before their slash.
type unordered struct{ store.Store }

func (s unordered) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	page, err := s.Store.List(ctx, prefix, after, limit)
	slices.Reverse(page.Items)
	return page, err
}

// clockless sends no Date.
type clockless struct{ store.Store }

func (s clockless) Get(ctx context.Context, key string) (store.Object, error) {
	object, err := s.Store.Get(ctx, key)
	object.Date = time.Time{}
	return object, err
}

func TestRequireRefusesByName(t *testing.T) {
	skewed := func(fault.Call) fault.Fault { return fault.Fault{Skew: -time.Hour} }
	liar := func(c fault.Call) fault.Fault { return fault.Fault{Short: 2, Liar: true} }
	for name, s := range map[string]store.Store{
		"create refuses an existing object":      deaf{openLocal(t)},
		"create is exclusive in a race":          racy{openLocal(t)},
		"replace loses no update in a race":      racyReplace{openLocal(t)},
		"a write is seen at once":                cached{openLocal(t), map[string]store.Object{}},
		"lists are in order and in pages":        unordered{openLocal(t)},
		"answers carry the clock":                clockless{openLocal(t)},
		"answers carry the clock (skewed)":       fault.New(openLocal(t), skewed),
		"lists are in order and in pages (liar)": fault.New(openLocal(t), liar),
	} {
		t.Run(name, func(t *testing.T) {
			err := doctor.Require(t.Context(), s)
			rule, _, _ := strings.Cut(name, " (")
			if !errors.Is(err, doctor.ErrUnfit) || !strings.Contains(err.Error(), `"`+rule+`"`) {
				t.Errorf("error %v", err)
			}
			t.Log(err)
			if _, err := s.Get(t.Context(), doctor.Marker); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("an unfit store has the marker: %v", err)
			}
		})
	}
}

func TestRequireRemembers(t *testing.T) {
	counted := store.Count(openLocal(t))
	if err := doctor.Require(t.Context(), counted); err != nil {
		t.Fatal(err)
	}
	before := counted.Counts()
	if err := doctor.Require(t.Context(), counted); err != nil {
		t.Fatal(err)
	}
	if asked := counted.Counts().Sub(before); asked.Get != 1 || asked.Put+asked.List+asked.Delete+asked.Presign != 0 {
		t.Errorf("a second start asked %+v, want one GET", asked)
	}

	t.Run("after 31 days it probes again", func(t *testing.T) {
		later := fault.New(deaf{counted}, func(fault.Call) fault.Fault { return fault.Fault{Skew: 31 * 24 * time.Hour} })
		if err := doctor.Require(t.Context(), later); !errors.Is(err, doctor.ErrUnfit) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("by another URL it probes again", func(t *testing.T) {
		if err := doctor.Require(t.Context(), renamed{deaf{counted}}); !errors.Is(err, doctor.ErrUnfit) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a damaged marker is written anew", func(t *testing.T) {
		if _, err := counted.Put(t.Context(), doctor.Marker, []byte("{nonsense")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			before = counted.Counts()
			if err := doctor.Require(t.Context(), counted); err != nil {
				t.Fatal(err)
			}
		}
		if asked := counted.Counts().Sub(before); asked.Get != 1 || asked.Put != 0 {
			t.Errorf("asked %+v, want one GET", asked)
		}
	})
}

type renamed struct{ store.Store }

func (renamed) String() string { return "s3://elsewhere" }

func TestProbeOfStoresThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		want   error
	}{"denied": {403, store.ErrDenied}, "down": {503, nil}} {
		t.Run(name, func(t *testing.T) {
			s := fault.New(openLocal(t), func(c fault.Call) fault.Fault { return fault.Fault{Lost: fault.Status(c.Op, test.status)} })
			_, err := doctor.Probe(t.Context(), s, func(doctor.Rule) {})
			if err == nil || errors.Is(err, doctor.ErrUnfit) || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := doctor.Probe(ctx, openLocal(t), func(doctor.Rule) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

// weakETags is a store behind a server that makes ETags weak, as nginx does when it compresses: none of them is accepted again.
type weakETags struct{ store.Store }

func (s weakETags) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	m, err := s.Store.Create(ctx, key, body)
	m.ETag = "W/" + m.ETag
	return m, err
}

func (s weakETags) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := s.Store.Get(ctx, key)
	o.ETag = "W/" + o.ETag
	return o, err
}

// TestProbeOfWeakETags: the probe ends, tells of each rule as it is known, and so does a writer's start.
func TestProbeOfWeakETags(t *testing.T) {
	doctor.SetRuleLimit(t, time.Second)
	s := weakETags{openLocal(t)}
	var seen []doctor.Rule
	report, err := doctor.Probe(t.Context(), s, func(r doctor.Rule) { seen = append(seen, r) })
	if err != nil {
		t.Fatal(err)
	}
	if report.OK() || len(seen) != len(report.Rules) || len(seen) == 0 {
		t.Errorf("%d rules seen of %+v", len(seen), report)
	}
	if last := seen[len(seen)-1]; last.OK || !strings.Contains(last.Detail, "no end within 1s") || !strings.HasPrefix(last.Hint, "run `fustor doctor` again while the store has less to do") {
		t.Errorf("%+v", last)
	}
	if err := doctor.Require(t.Context(), s); !errors.Is(err, doctor.ErrUnfit) {
		t.Error(err)
	}
}
