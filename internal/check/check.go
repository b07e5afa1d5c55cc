// Package check looks whether everything in a store is what it should be, and mends what can be mended.
//
// Run reads what Fustor would read, and holds it against everything else that there is: references, checksums, order, totals, gaps, what
// is newer than it may be, and what nobody needs. It writes nothing. Repair (repair.go) does what the findings say, and says before
// what is lost by it. `fustor check` is both.
package check

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Severity is how bad a finding is.
type Severity string

// The severities. Damage makes some answer wrong, missing or old, or will; a Note harms nobody.
const (
	Damage Severity = "damage"
	Note   Severity = "note"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity Severity `json:"severity"`
	View     string   `json:"view_id,omitempty"`
	Object   string   `json:"object"`
	Problem  string   `json:"problem"`
	Effect   string   `json:"effect"` // what it means for readers, or for the view
	Mend     string   `json:"mend"`   // what mends it
}

// Report is what a check has found.
type Report struct {
	Store    string    `json:"store"`
	Views    []string  `json:"views"`
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"`
	ReadData bool      `json:"read_data"`
	Findings []Finding `json:"findings"`
}

// Damaged is how many findings are more than notes.
func (r Report) Damaged() (n int) {
	for _, f := range r.Findings {
		if f.Severity == Damage {
			n++
		}
	}
	return n
}

// Options of a check. Store is required.
type Options struct {
	Store store.Store
	// Views are those to check; none: all, and the keys and settings besides.
	Views []string
	// ReadData reads every layer and every segment that is not folded, whole. Otherwise only indexes are read.
	ReadData bool
	// Doing is told what is looked at; nil: nobody is.
	Doing func(what string)
}

// Run checks. An error is of the store: what is wrong with objects is in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	r, _, err := run(ctx, o)
	return r, err
}

func run(ctx context.Context, o Options) (report Report, views []*view, err error) {
	if o.Doing == nil {
		o.Doing = func(string) {}
	}
	c := &checker{o: o, st: o.Store, report: Report{Store: o.Store.String(), ReadData: o.ReadData, Views: o.Views, Findings: []Finding{}}}
	if len(o.Views) == 0 {
		names, err := viewconfig.Names(ctx, o.Store)
		if err != nil {
			return c.report, nil, err
		}
		c.report.Views = append([]string{}, names...)
		if err := c.config(ctx); err != nil {
			return c.report, nil, err
		}
	}
	for _, name := range c.report.Views {
		o.Doing("view " + name)
		v := &view{checker: c, name: name, ctx: ctx}
		if err := v.check(); err != nil {
			return c.report, nil, fmt.Errorf("check view %s: %w", name, err)
		}
		views = append(views, v)
	}
	slices.SortStableFunc(c.report.Findings, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.View, b.View), strings.Compare(string(a.Severity), string(b.Severity)))
	})
	return c.report, views, nil
}

type checker struct {
	o       Options
	st      store.Store
	report  Report
	repairs []Action // of what is of no view
}

func (c *checker) find(f Finding) { c.report.Findings = append(c.report.Findings, f) }

// config checks the keys, and what else is of no view.
func (c *checker) config(ctx context.Context) error {
	err := store.Each(ctx, c.st, "config/", func(i store.Item, _ time.Duration) error {
		c.count(i)
		if hash, ok := strings.CutPrefix(i.Key, layout.KeyConfigs); ok {
			return c.key(ctx, i.Key, strings.TrimSuffix(hash, ".json"))
		}
		if i.Key == doctor.Marker {
			o, err := c.st.Get(ctx, i.Key)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if plain, openErr := seal.Open(i.Key, o.Body); err == nil && (openErr != nil || !json.Valid(plain)) {
				c.find(Finding{Note, "", i.Key, "it cannot be read", "none: writers probe the store again, and write it anew", "by itself"})
			}
			return err
		}
		return nil
	})
	return err
}

func (c *checker) key(ctx context.Context, key, hash string) error {
	o, err := c.st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := access.DecodeRecord("the record", hash, o.Body); err != nil {
		c.find(Finding{Damage, "", key, err.Error(), "the API key does not work", "--repair removes it; make a new key"})
		c.repairs = append(c.repairs, Action{What: "remove " + key, Loss: "the API key with this hash", do: func(ctx context.Context) error { return c.st.Delete(ctx, key) }})
	}
	return nil
}

func (c *checker) count(i store.Item) {
	c.report.Objects++
	c.report.Bytes += i.Size
}

// parallel calls f for each, several at a time.
func parallel[T any](ctx context.Context, all []T, f func(ctx context.Context, i int, v T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, v := range all {
		g.Go(func() error { return f(ctx, i, v) })
	}
	return g.Wait()
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
