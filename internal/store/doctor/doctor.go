// Package doctor finds out whether a store keeps the rules that Fustor is built on, by trying them, races included.
//
// Probe tries them all under a prefix of its own and removes what it wrote; `fustor doctor` prints its Report. Require is
// for writers: it refuses a store that breaks a required rule, by that rule's name, and is one GET when the store was
// probed before. Some servers ignore conditions altogether; nothing but a try tells.
package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// ErrUnfit is the error of a store that breaks a required rule.
var ErrUnfit = errors.New("store is unfit for writing")

// Rule is one rule and how the store kept it.
type Rule struct {
	Name     string        `json:"name"`
	Required bool          `json:"required"` // without it nothing may be written to the store
	OK       bool          `json:"ok"`
	Detail   string        `json:"detail,omitempty"` // what was seen
	Hint     string        `json:"hint,omitempty"`   // what to do; empty where OK
	Duration time.Duration `json:"duration_ns"`
}

// Report is the outcome of a probe, the required rules first.
type Report struct {
	Store    string        `json:"store"` // its URL
	Rules    []Rule        `json:"rules"`
	Duration time.Duration `json:"duration_ns"`
}

// OK reports whether all required rules hold.
func (r Report) OK() bool { return r.Err() == nil }

// Err is nil, or an ErrUnfit that names the required rules that do not hold, and what to do about the first.
func (r Report) Err() error {
	var names, hint string
	for _, rule := range r.Rules {
		if !rule.Required || rule.OK {
			continue
		}
		if names == "" {
			names, hint = fmt.Sprintf("%q (%s)", rule.Name, rule.Detail), rule.Hint
		} else {
			names += fmt.Sprintf(", %q", rule.Name)
		}
	}
	if names == "" {
		return nil
	}
	return fmt.Errorf("%w: %s breaks the rule %s; %s", ErrUnfit, r.Store, names, hint)
}

// root is the prefix of all probes.
const root = "doctor/"

// cleanLimit bounds how long a probe cleans up after its context has ended.
const cleanLimit = 30 * time.Second

// ruleLimit bounds how long a rule is tried. Some faults make every retry fail, for ever: an ETag that the server itself does not accept,
// a cache that answers with old versions. A good store takes a few seconds for the slowest rule. It is a variable for tests.
var ruleLimit = 30 * time.Second

// Probe tries every rule on s, in a few hundred small requests, and removes what it wrote. Each rule is given to seen once it is known.
// A rule that comes to no end in half a minute does not hold, and is the last that is tried. The error says that the
// store could not be probed: it cannot be reached, refuses the caller, or has no such bucket; rules that do not hold
// are in the Report.
func Probe(ctx context.Context, s store.Store, seen func(Rule)) (Report, error) {
	return try(ctx, s, func(r Rule) bool { seen(r); return true })
}

// try goes through the rules as long as more says so.
func try(ctx context.Context, s store.Store, more func(Rule) bool) (Report, error) {
	begun := time.Now()
	p := &probe{store: s, prefix: root + rand.Text() + "/"}
	report := Report{Store: s.String()}
	defer p.clean(ctx)
	if err := limited(ctx, p.reach); err != nil {
		return report, fmt.Errorf("probe %s: %w", s, err)
	}
	for _, check := range checks {
		rule := Rule{Name: check.name, Required: check.required}
		start := time.Now()
		var detail string
		err := limited(ctx, func(ctx context.Context) (err error) { detail, err = check.try(ctx, p); return err })
		rule.Duration, rule.Detail, rule.OK = time.Since(start), detail, err == nil
		if err != nil {
			rule.Detail, rule.Hint = err.Error(), cmp.Or(store.Hint(err), check.hint)
		}
		if errors.Is(err, errEndless) {
			rule.Hint = "run `fustor doctor` again while the store has less to do; if it ends so again, " + rule.Hint
		}
		if ctx.Err() != nil {
			return report, fmt.Errorf("probe %s: %w", s, ctx.Err())
		}
		report.Rules = append(report.Rules, rule)
		if !more(rule) || errors.Is(err, errEndless) {
			break
		}
	}
	report.Duration = time.Since(begun)
	return report, nil
}

// errEndless is the error of a step that came to no end.
var errEndless = errors.New("no end")

// limited does one step in at most ruleLimit.
func limited(ctx context.Context, step func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, ruleLimit)
	defer cancel()
	err := step(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w within %v: the store answers too slowly, or every retry fails; the last: %w", errEndless, ruleLimit, err)
	}
	return err
}

// probe is one run of Probe.
type probe struct {
	store  store.Store
	prefix string
}

// key is a key of this probe only.
func (p *probe) key(name string) string { return p.prefix + name }

// reach does the first write and read. What fails here is no rule that the server breaks.
func (p *probe) reach(ctx context.Context) error {
	if _, err := p.store.Put(ctx, p.key("reach"), []byte("fustor")); err != nil {
		return err
	}
	_, err := p.store.Get(ctx, p.key("reach"))
	return err
}

// leftoverAge is how old the objects of a probe must be that died before it cleaned up.
const leftoverAge = 24 * time.Hour

// clean removes what this probe has written, and old leftovers of others, as far as that goes: nobody reads them.
func (p *probe) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
	defer cancel()
	for after, more := "", true; more; {
		page, err := p.store.List(ctx, root, after, 0)
		if err != nil || len(page.Items) == 0 {
			return
		}
		err = parallel(len(page.Items), func(i int) error {
			item := page.Items[i]
			if !strings.HasPrefix(item.Key, p.prefix) && page.Date.Sub(item.LastModified) < leftoverAge {
				return nil
			}
			return p.store.Delete(ctx, item.Key)
		})
		if err != nil {
			return
		}
		after, more = page.Items[len(page.Items)-1].Key, page.More
	}
}
