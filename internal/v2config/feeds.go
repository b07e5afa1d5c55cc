package v2config

import "slices"

// Tree is a view that agents feed, in V2's words: a view, or the tree of a pipe in a forest.
type Tree struct {
	ID     string
	View   *View // nil: no file has it
	Forest *View // nil: it is in none
}

// Feed is a key of agents and the trees that its events go to, in V2's order. V2 gives each of them the events; here it is
// the first.
type Feed struct {
	Key   Key
	About string // "receiver NAME" or "datastore NAME"
	Trees []Tree
	Pipe  *FusionPipe // nil: the key names the view itself
	// SessionTimeout and Concurrent are what the pipe says, or else its receiver.
	SessionTimeout Number
	Concurrent     Bool
	// Reads: V2 let whoever has the key read the view, too, because it is the view's only key.
	Reads bool
}

// byGroup are the views of an older name.
func (c *Config) byGroup(name string) (out []*View) {
	for _, v := range c.Views {
		if v.Group.Value == name {
			out = append(out, v)
		}
	}
	return out
}

func (c *Config) viewsOf(name string) []*View {
	if v := c.View(name); v != nil {
		return []*View{v}
	}
	return c.byGroup(name)
}

// feeds are the trees of a pipe, or of a view that is named as pipes are. None: there is neither.
func (c *Config) feeds(name string) (out []Tree) {
	names := []string{name}
	p := c.FusionPipe(name)
	if p != nil {
		names = nil
		for _, v := range p.Views {
			names = append(names, v.Value)
		}
	}
	for _, n := range names {
		for _, v := range c.viewsOf(n) {
			switch v.Driver.Value {
			case MultiFS: // is fed through its members
			case Forest:
				id := name
				if c.View(name) != nil {
					id = v.ID + "-" + name
				}
				out = append(out, Tree{ID: id, Forest: v})
			default:
				out = append(out, Tree{ID: v.ID, View: v})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Tree) int { return disabled(a) - disabled(b) })
	return out
}

func disabled(t Tree) int {
	if t.View != nil && t.View.Disabled || t.Forest != nil && t.Forest.Disabled {
		return 1
	}
	return 0
}

// Feeds are the keys that agents may have.
func (c *Config) Feeds() (out []Feed) {
	for _, r := range c.Receivers {
		if r.Disabled {
			continue
		}
		for _, k := range r.Keys {
			f := Feed{Key: k.Key, About: "receiver " + printable(r.ID), SessionTimeout: r.SessionTimeout, Concurrent: r.Concurrent}
			if k.Pipe.Given() {
				if f.Pipe = c.FusionPipe(k.Pipe.Value); f.Pipe != nil {
					if f.Pipe.Disabled {
						continue
					}
					if f.Pipe.SessionTimeout.Given() {
						f.SessionTimeout = f.Pipe.SessionTimeout
					}
					if f.Pipe.Concurrent.Given() {
						f.Concurrent = f.Pipe.Concurrent
					}
				}
				if f.Trees = c.feeds(k.Pipe.Value); f.Trees == nil && f.Pipe == nil {
					f.Trees = []Tree{{ID: k.Pipe.Value}}
				}
			}
			for _, v := range k.Views {
				if trees := c.feeds(v.Value); trees != nil {
					f.Trees = append(f.Trees, trees...)
				} else {
					f.Trees = append(f.Trees, Tree{ID: v.Value})
				}
			}
			f.Reads = len(f.Trees) > 0 && (f.Trees[0].View == nil || len(f.Trees[0].View.Keys) == 0)
			out = append(out, f)
		}
	}
	for _, d := range c.Datastores {
		f := Feed{Key: d.Key, About: "datastore " + printable(d.ID), Trees: c.feeds(d.ID), SessionTimeout: d.SessionTimeout, Concurrent: d.Concurrent, Reads: true}
		if f.Trees == nil {
			f.Trees = []Tree{{ID: d.ID}}
		}
		out = append(out, f)
	}
	return out
}

// FedBy is the tree that the events of a sender go to, as far as the files say it: by its key, or by the view that older
// senders name.
func (c *Config) FedBy(s *Sender) (tree string, ok bool) {
	for _, f := range c.Feeds() {
		same := s.Key.Given() && f.Key.Value == s.Key.Value && f.Key.Variable == s.Key.Variable
		if same && len(f.Trees) > 0 {
			return f.Trees[0].ID, true
		}
	}
	if !s.View.Given() {
		return "", false
	}
	if trees := c.feeds(s.View.Value); len(trees) > 0 {
		return trees[0].ID, true
	}
	return s.View.Value, true
}
