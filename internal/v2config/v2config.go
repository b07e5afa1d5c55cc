// Package v2config reads the configuration of Fustor V2, the Python system: agents' sources, senders and pipes, servers'
// receivers, views and pipes, and the older files that had datastores, pushers and syncs.
//
// It owns what V2's files mean, and says nothing of what becomes of it: agent/config makes an agent's config file of it
// and internal/admin views and keys. Invariants: every value knows its file and line; a field of the wrong type is a
// problem, and all problems are told at once; a deprecated name, a name that V2 does not have, and a value that has no
// counterpart here are warnings; no key is in a problem or a warning. docs/v2.md describes the import.
package v2config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is where something is written.
type Place struct {
	File         string
	Line, Column int // from 1; 0: it is not written
}

// String is FILE:LINE.
func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Given reports whether it is written anywhere.
func (p Place) Given() bool { return p.Line > 0 }

// Text, Number and Bool are values of a file. One that is not Given has the zero value.
type (
	Text struct {
		Place
		Value string
	}
	Number struct {
		Place
		Value float64
	}
	Bool struct {
		Place
		Value bool
	}
)

// Key is an API key. One that the file leaves to the environment, as ${NAME}, has no value and a Variable.
type Key struct {
	Place
	Value    string
	Variable string
}

// Config is what the files say.
type Config struct {
	AgentID     Text
	ScanWorkers Number // of sources that do not say it
	Sources     []*Source
	Senders     []*Sender
	AgentPipes  []*AgentPipe

	Receivers   []*Receiver
	Views       []*View
	FusionPipes []*FusionPipe
	Datastores  []*Datastore

	Warnings []Warning
	Files    []string // that were read
}

// Source is what an agent watches. Of one whose driver is not FS only the name and the driver are read.
type Source struct {
	Place
	ID       string
	Driver   Text
	Path     Text // absolute
	Exclude  []Text
	Workers  Number
	Disabled bool
}

// The drivers that have a counterpart.
const (
	FS      = "fs"
	Fusion  = "fusion" // of senders; "http" means the same
	HTTP    = "http"
	Echo    = "echo"
	OpenAPI = "openapi"
	MultiFS = "multi-fs" // of views: its members are views
	Forest  = "forest"   // of views: each pipe of it is a tree of its own
)

// Sender is where an agent sends.
type Sender struct {
	Place
	ID       string
	Driver   Text
	URL      Text
	Key      Key
	View     Text // that the sender names, which newer agents do not
	Disabled bool
}

// AgentPipe joins a source and a sender.
type AgentPipe struct {
	Place
	ID             string
	Source, Sender Text
	Disabled       bool
	Audit          Number // seconds between audits
	Sentinel       Number // seconds between looks at suspect files
	SessionTimeout Number // seconds
	Fields         []Field
}

// Field is one rule of fields_mapping.
type Field struct {
	Place
	To, Source Text
	Type       string // string, integer, number or boolean; empty: as it is
	Value      Text   // a constant, as it is written
	Constant   any    // the constant; nil: none
}

// Receiver takes agents' events.
type Receiver struct {
	Place
	ID             string
	Driver         Text
	Port           Number
	SessionTimeout Number
	Concurrent     Bool
	Disabled       bool
	Keys           []ReceiverKey
}

// ReceiverKey is a key of agents: for a pipe, or in older files for views.
type ReceiverKey struct {
	Key
	Pipe  Text
	Views []Text
}

// View is one tree, or a forest.
type View struct {
	Place
	ID             string
	Group          Text // another name of the view: older files' view_id or datastore_id
	Driver         Text
	Disabled       bool
	Keys           []Key // of readers
	Members        []Text
	Hot            Number // seconds
	Tombstone      Number // seconds
	SessionTimeout Number
	Concurrent     Bool
	Live           Bool
}

// FusionPipe joins a receiver and views.
type FusionPipe struct {
	Place
	ID              string
	Receiver        Text
	Views           []Text
	Disabled        bool
	SessionTimeout  Number
	Concurrent      Bool
	Audit, Sentinel Number
}

// Datastore is a view and its key in the oldest files.
type Datastore struct {
	Place
	ID             string
	Key            Key
	SessionTimeout Number
	Concurrent     Bool
}

// Warning is something that is not taken over, or is deprecated.
type Warning struct {
	Place
	Side  Side
	About string // what it is of, such as "source research"; empty: of all
	Text  string
}

// Side says whom a warning is for: who imports an agent, who imports a server, or both.
type Side int

// The sides.
const (
	Both Side = iota
	Agents
	Server
)

// WarningsFor are the warnings of one side.
func (c *Config) WarningsFor(side Side) (out []Warning) {
	for _, w := range c.Warnings {
		if w.Side == Both || w.Side == side {
			out = append(out, w)
		}
	}
	return out
}

// String is one line.
func (w Warning) String() string { return w.Place.String() + ": " + w.Text }

// Problem is something that is wrong.
type Problem struct {
	Place
	Text string
}

// Error is everything that is wrong with the files.
type Error struct{ Problems []Problem }

// Error has a line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
	}
	return strings.Join(lines, "\n")
}

// About is how warnings of a source name it; the others are alike.
func (s *Source) About() string    { return "source " + printable(s.ID) }
func (s *Sender) About() string    { return "sender " + printable(s.ID) }
func (p *AgentPipe) About() string { return "pipe " + printable(p.ID) }
func (v *View) About() string      { return "view " + printable(v.ID) }

// ViewName is the name that a view of V2 has here, where names are in small letters; empty: none can be made of it.
func ViewName(id string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '-'
	}, id)
	name = strings.TrimLeft(name, "-_")
	return name[:min(len(name), 63)]
}

// ForAgents reports whether the files say anything of agents, ForServer of a server.
func (c *Config) ForAgents() bool { return len(c.Sources)+len(c.Senders)+len(c.AgentPipes) > 0 }

// ForServer reports whether the files say anything of a server.
func (c *Config) ForServer() bool {
	return len(c.Receivers)+len(c.Views)+len(c.FusionPipes)+len(c.Datastores) > 0
}

// Source is the source of that name; nil: none. Sender, View and FusionPipe are like it.
func (c *Config) Source(id string) *Source {
	return find(c.Sources, func(s *Source) bool { return s.ID == id })
}

// Sender is the sender of that name.
func (c *Config) Sender(id string) *Sender {
	return find(c.Senders, func(s *Sender) bool { return s.ID == id })
}

// View is the view of that name.
func (c *Config) View(id string) *View {
	return find(c.Views, func(v *View) bool { return v.ID == id })
}

// FusionPipe is the server's pipe of that name.
func (c *Config) FusionPipe(id string) *FusionPipe {
	return find(c.FusionPipes, func(p *FusionPipe) bool { return p.ID == id })
}

func find[T any](all []*T, is func(*T) bool) *T {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i]
	}
	return nil
}

func byPlace(a, b Place) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}
