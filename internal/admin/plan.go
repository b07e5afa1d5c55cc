package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/v2config"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Plan is the views and keys that a server of Fustor V2 comes to. Its keys are V2's own, so that agents and clients that have
// them need no change.
type Plan struct {
	Views    []PlannedView // forests after their members
	Keys     []PlannedKey
	Warnings []v2config.Warning
}

// PlannedView is a view, and the settings that V2's files give. The others stay as they are.
type PlannedView struct {
	View    string
	Seconds map[string]float64 // by the setting's name in JSON
	Flags   map[string]bool
	Members []string // of a forest
}

// PlannedKey is a key of V2's.
type PlannedKey struct {
	NewKey
	secret string
	place  v2config.Place
}

// minKey is how many characters a key should have: keys are kept as one round of SHA-256, which is enough only for keys that
// nobody can try out.
const minKey = 32

// PlanV2 makes a plan of a server's configuration. getenv is asked for keys that the files leave to the environment. The
// error is a *v2config.Error.
func PlanV2(c *v2config.Config, getenv func(string) string) (*Plan, error) {
	p := &planner{v2: c, getenv: getenv, plan: &Plan{Warnings: c.WarningsFor(v2config.Server)}, views: map[string]*PlannedView{}, ids: map[string]string{}}
	p.receivers()
	p.trees()
	p.settings()
	p.forests()
	p.keys()
	if len(p.problems) > 0 {
		return nil, &v2config.Error{Problems: p.problems}
	}
	p.strength()
	slices.SortStableFunc(p.plan.Warnings, func(a, b v2config.Warning) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return p.plan, nil
}

type planner struct {
	v2       *v2config.Config
	getenv   func(string) string
	plan     *Plan
	problems []v2config.Problem
	order    []string // of views, by their names here
	views    map[string]*PlannedView
	ids      map[string]string // V2's names of views, by the names here
}

func (p *planner) warn(at v2config.Place, about, format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, v2config.Warning{Place: at, Side: v2config.Server, About: about, Text: about + ": " + fmt.Sprintf(format, args...)})
}

func (p *planner) problem(at v2config.Place, format string, args ...any) {
	p.problems = append(p.problems, v2config.Problem{Place: at, Text: fmt.Sprintf(format, args...)})
}

// receivers tells what becomes of the receivers themselves.
func (p *planner) receivers() {
	for _, r := range p.v2.Receivers {
		about := "receiver " + r.ID
		switch {
		case r.Disabled:
			p.warn(r.Place, about, "it is disabled, so its keys are left out")
		case r.Driver.Given() && r.Driver.Value != v2config.HTTP:
			p.warn(r.Driver.Place, about, "the driver %q has no counterpart: agents reach the server over HTTP", r.Driver.Value)
		case r.Port.Given():
			p.warn(r.Port.Place, about, "it listens on port %.0f: with `--listen HOST:%.0f`, `fustor ingest` and `fustor up` are where its agents look", r.Port.Value, r.Port.Value)
		}
	}
}

// view is the planned view of a name of V2's; nil: none can be made, which is reported.
func (p *planner) view(at v2config.Place, id string) *PlannedView {
	name := v2config.ViewName(id)
	switch other, taken := p.ids[name]; {
	case name == "":
		p.problem(at, "no view's name can be made of %q: names have a-z 0-9 - _, with a letter or digit first", id)
		return nil
	case taken && other != id:
		p.problem(at, "the views %q and %q would both be %q here, where names are in small letters: rename one", other, id, name)
		return nil
	case taken:
		return p.views[name]
	}
	if name != id {
		p.warn(at, "view "+id, "it is %s here, where names are in small letters: its readers must ask for that", name)
	}
	v := &PlannedView{View: name, Seconds: map[string]float64{}, Flags: map[string]bool{}}
	p.ids[name], p.views[name] = id, v
	p.order = append(p.order, name)
	return v
}

// trees plans the views that agents feed.
func (p *planner) trees() {
	for _, v := range p.v2.Views {
		switch driver := v.Driver.Value; {
		case v.Disabled:
			p.warn(v.Place, v.About(), "it is disabled: it is left out")
		case driver == v2config.FS:
			p.view(v.Place, v.ID)
		case driver != v2config.MultiFS && driver != v2config.Forest:
			p.warn(v.Driver.Place, v.About(), "the driver %q has no counterpart, because views are of file trees alone: it is left out", driver)
		}
	}
	for _, f := range p.v2.Feeds() {
		for _, t := range f.Trees {
			if t.View == nil && (t.Forest == nil || !t.Forest.Disabled) {
				p.view(f.Key.Place, t.ID)
			}
		}
	}
}

// seconds gives a view a duration, unless it cannot have it. better decides between two.
func (p *planner) seconds(v *PlannedView, about, setting string, n v2config.Number, better func(a, b float64) float64) {
	if v == nil || !n.Given() {
		return
	}
	value := n.Value
	if value > viewconfig.MaxSeconds {
		p.warn(n.Place, about, "%.0f s is more than a week, so a week is taken", value)
		value = viewconfig.MaxSeconds
	}
	zero := value == 0 && (setting == "audit_interval_sec" || setting == "sentinel_interval_sec")
	if value < 1 && !zero && setting != "hot_s" && setting != "tombstone_ttl_s" {
		p.warn(n.Place, about, "%g s is less than a second, so a second is taken", value)
		value = 1
	}
	if before, is := v.Seconds[setting]; is {
		value = better(before, value)
	}
	v.Seconds[setting] = value
}

func longer(a, b float64) float64  { return max(a, b) }
func shorter(a, b float64) float64 { return min(a, b) }

// settings gives the views what is said of them, and of the pipes, receivers and datastores that feed them.
func (p *planner) settings() {
	flag := func(v *PlannedView, name string, b v2config.Bool) {
		if before, is := v.Flags[name]; b.Given() {
			v.Flags[name] = b.Value || is && before
		}
	}
	own := func(v *PlannedView, o *v2config.View) {
		if v == nil || o == nil {
			return
		}
		p.seconds(v, o.About(), "hot_s", o.Hot, longer)
		p.seconds(v, o.About(), "tombstone_ttl_s", o.Tombstone, longer)
		p.seconds(v, o.About(), "session_timeout_seconds", o.SessionTimeout, longer)
		flag(v, "allow_concurrent_push", o.Concurrent)
		flag(v, "live", o.Live)
	}
	for _, o := range p.v2.Views {
		own(p.views[v2config.ViewName(o.ID)], o)
	}
	for _, f := range p.v2.Feeds() {
		for _, t := range f.Trees {
			v := p.views[v2config.ViewName(t.ID)]
			if v == nil {
				continue
			}
			own(v, t.Forest)
			if pipe := f.Pipe; pipe != nil {
				p.seconds(v, "pipe "+pipe.ID, "audit_interval_sec", pipe.Audit, shorter)
				p.seconds(v, "pipe "+pipe.ID, "sentinel_interval_sec", pipe.Sentinel, shorter)
			}
			p.seconds(v, f.About, "session_timeout_seconds", f.SessionTimeout, longer)
			flag(v, "allow_concurrent_push", f.Concurrent)
		}
	}
	for _, a := range p.v2.AgentPipes { // where the server says nothing, V2's agents decide
		if tree, ok := p.v2.FedBy(p.v2.Sender(a.Sender.Value)); ok {
			v := p.views[v2config.ViewName(tree)]
			for setting, n := range map[string]v2config.Number{"audit_interval_sec": a.Audit, "sentinel_interval_sec": a.Sentinel} {
				if v != nil {
					if _, said := v.Seconds[setting]; !said {
						p.seconds(v, a.About(), setting, n, shorter)
					}
				}
			}
		}
	}
	for _, name := range p.order {
		p.plan.Views = append(p.plan.Views, *p.views[name])
	}
}

// forests plans the views that have members.
func (p *planner) forests() {
	for _, v := range p.v2.Views {
		var members []string
		switch {
		case v.Disabled:
			continue
		case v.Driver.Value == v2config.MultiFS:
			for _, m := range v.Members {
				if member := v2config.ViewName(m.Value); p.views[member] != nil && p.views[member].Members == nil {
					members = append(members, member)
				} else {
					p.warn(m.Place, v.About(), "the member %q is left out: it is disabled, a forest itself, or not of file trees", m.Value)
				}
			}
		case v.Driver.Value == v2config.Forest:
			for _, f := range p.v2.Feeds() {
				for _, t := range f.Trees {
					if t.Forest == v {
						members = append(members, v2config.ViewName(t.ID))
					}
				}
			}
			if len(members) > 0 {
				p.warn(v.Place, v.About(), "each of its pipes feeds a view of its own here, and the forest has them as members: %s", strings.Join(members, ", "))
			}
		default:
			continue
		}
		slices.Sort(members)
		if members = slices.Compact(members); len(members) == 0 {
			p.warn(v.Place, v.About(), "it has no members, so it is left out")
			continue
		}
		if planned := p.view(v.Place, v.ID); planned != nil {
			planned.Members = members
			p.plan.Views = append(p.plan.Views, *planned)
		}
	}
}

// keys plans the keys. One key may be in several places.
func (p *planner) keys() {
	all, names := map[string]*PlannedKey{}, map[string]int{}
	var order []string
	add := func(k v2config.Key, name string) *PlannedKey {
		secret := k.Value
		if k.Variable != "" {
			if secret = p.getenv(k.Variable); secret == "" || strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
				p.problem(k.Place, "the key is left to the environment: set %s to it", k.Variable)
				return nil
			}
		}
		if known := all[secret]; known != nil {
			return known
		}
		if names[name]++; names[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, names[name])
		}
		all[secret] = &PlannedKey{NewKey: NewKey{Name: name}, secret: secret, place: k.Place}
		order = append(order, secret)
		return all[secret]
	}
	for _, f := range p.v2.Feeds() {
		name := "v2-" + strings.ReplaceAll(f.About, " ", "-")
		if f.Pipe != nil {
			name = "v2-" + f.Pipe.ID
		}
		p.feed(f, func() *PlannedKey { return add(f.Key, name) })
	}
	for _, v := range p.v2.Views {
		planned := p.views[v2config.ViewName(v.ID)]
		if planned == nil {
			continue
		}
		for _, k := range v.Keys {
			if key := add(k, "v2-reader-"+planned.View); key != nil {
				p.read(key, k.Place, append([]string{planned.View}, planned.Members...))
			}
		}
	}
	for _, secret := range order {
		if k := all[secret]; len(k.Roles) > 0 {
			p.plan.Keys = append(p.plan.Keys, *k)
		}
	}
}

// feed lets a key feed a view.
func (p *planner) feed(f v2config.Feed, add func() *PlannedKey) {
	var views, left []string
	for _, t := range f.Trees {
		if v := p.views[v2config.ViewName(t.ID)]; v != nil && !slices.Contains(views, v.View) {
			views = append(views, v.View)
		} else if v == nil {
			left = append(left, t.ID)
		}
	}
	if len(views) == 0 {
		why := ""
		if left != nil {
			why = ": " + strings.Join(left, ", ") + " is left out"
		}
		p.warn(f.Key.Place, f.About, "this key is left out, because it leads to no view%s", why)
		return
	}
	if len(views) > 1 {
		p.warn(f.Key.Place, f.About, "V2 gives this key's events to the views %s. Here a key feeds one view: it feeds %s, and readers of the others can ask for that", strings.Join(views, ", "), views[0])
	}
	k := add()
	switch {
	case k == nil:
		return
	case k.Roles == nil:
		k.Roles, k.Views.Names = []access.Role{access.Ingest}, views[:1]
	case k.Views.Names[0] != views[0]:
		p.warn(f.Key.Place, f.About, "this key feeds %s already. Here a key feeds one view: make another for %s", k.Views.Names[0], views[0])
		return
	}
	if f.Reads {
		p.read(k, f.Key.Place, views[:1])
	}
}

// read lets a key read views. A key that feeds a view is for that view alone, since V2's agents do not name it.
func (p *planner) read(k *PlannedKey, at v2config.Place, views []string) {
	feeds := slices.Contains(k.Roles, access.Ingest)
	if feeds {
		if others := slices.DeleteFunc(slices.Clone(views), func(v string) bool { return k.Views.Has(v) }); len(others) > 0 {
			p.warn(at, "key "+k.Name, "it feeds %s, and a key that feeds a view is for that view alone: make another for readers of %s", k.Views.Names[0], strings.Join(others, ", "))
		}
		if views = slices.DeleteFunc(slices.Clone(views), func(v string) bool { return !k.Views.Has(v) }); len(views) == 0 {
			return
		}
	}
	if !slices.Contains(k.Roles, access.Query) {
		k.Roles = append(k.Roles, access.Query)
	}
	for _, v := range views {
		if !k.Views.Has(v) {
			k.Views.Names = append(k.Views.Names, v)
		}
	}
	if !feeds {
		slices.Sort(k.Views.Names)
	}
}

// strength warns of keys that could be guessed.
func (p *planner) strength() {
	for _, k := range p.plan.Keys {
		if len(k.secret) < minKey {
			p.warn(k.place, "key "+k.Name, "it has %d characters; whoever guesses it has its rights. Replace it by `fustor admin key create` once its users can be given another", len(k.secret))
		}
	}
}
