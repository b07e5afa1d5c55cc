// Package config reads the file that says what an agent with many pipes does: sources, senders, and the pipes that join
// them.
//
// It is strict: what it does not know, or cannot mean, is a problem with its line and column, and all problems are told
// at once. docs/agent.md describes the file. It reads the config file and key files and nothing else; cmd/ makes agents
// of what it returns.
package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/fustor/fustor/agent/openapi"
	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/v2config"
	"github.com/fustor/fustor/internal/values"
)

// Config is what an agent does.
type Config struct {
	AgentID string // empty: the host's name
	State   string // directory for what the agent remembers; empty: the user's
	Metrics string // address to serve metrics on; empty: none
	Pipes   []Pipe // in the order of the file; one that is disabled is left out
}

// Source is a tree.
type Source struct {
	Path             string   `json:"path"` // absolute
	Exclude          []string `json:"exclude"`
	NoDefaultExclude bool     `json:"no_default_exclude"`
	CrossFilesystems bool     `json:"cross_filesystems"`
	NoAtimes         bool     `json:"no_atimes"`
	Watch            string   `json:"watch"`     // auto, fanotify, inotify or none; empty: auto
	Workers          int      `json:"workers"`   // at most, of a scan; 0: the default
	ScanRate         int      `json:"scan_rate"` // entries a second; 0: no bound
	IOIdle           bool     `json:"io_idle"`
}

// The types of senders.
const (
	Store  = "store"
	Upload = "upload"
	HTTP   = "http"
	Echo   = "echo"
	// OpenAPI posts events to any server that publishes an OpenAPI document.
	OpenAPI = "openapi"
)

// Sender is where segments go.
type Sender struct {
	Type   string `json:"type"`
	Ingest string `json:"ingest"` // URL
	Store  string `json:"store"`  // URL, of type store
	Key    string `json:"key"`
	// Of type openapi: the document (URL, or absolute path of a file), the server's URL in place of the document's, and the
	// operations by role, as agent/openapi has them.
	Document   string             `json:"document,omitempty"`
	Server     string             `json:"server,omitempty"`
	Operations openapi.Operations `json:"operations,omitzero"`
}

// Pipe feeds one view from one source through one sender. A pipe of the file with several senders becomes several.
type Pipe struct {
	Name      string         `json:"-"` // with @SENDER where the file's pipe has several
	From, To  string         `json:"-"` // names of the source and the sender
	Source    Source         `json:"source"`
	Sender    Sender         `json:"sender"`
	View      string         `json:"view"`
	Task      string         `json:"task"`       // empty: one of the process alone
	SpoolSize int64          `json:"spool_size"` // bytes; 0: no spool
	Fields    []record.Field `json:"fields"`     // what echo prints and openapi sends; nil: events as they are
	// SameTreeAs is the path of a source before it in the file that feeds the same view; empty: there is none. Both must be the
	// same directory when the pipe begins: see CheckTree.
	SameTreeAs string `json:"same_tree_as,omitempty"`
}

// CheckTree checks that the pipe's tree is the directory that it has to be.
func (p *Pipe) CheckTree() error {
	if p.SameTreeAs == "" {
		return nil
	}
	own, err := os.Stat(p.Source.Path)
	if err != nil {
		return err
	}
	other, err := os.Stat(p.SameTreeAs)
	if err != nil {
		return fmt.Errorf("%s must be the same directory as %s, as both feed view %s, but that cannot be looked at: %w", p.Source.Path, p.SameTreeAs, p.View, err)
	}
	if !os.SameFile(own, other) {
		return fmt.Errorf("%s and %s are different directories at present, and both feed view %s: mount the same tree at both, or give one of them a view of its own",
			p.Source.Path, p.SameTreeAs, p.View)
	}
	return nil
}

// Version changes with whatever the pipe does, its key among it.
func (p *Pipe) Version(agentID string) string {
	b, err := json.Marshal(p)
	if err != nil { // there is nothing in it that JSON does not have
		panic(err)
	}
	sum := sha256.Sum256(append(b, agentID...))
	return hex.EncodeToString(sum[:])
}

// DefaultSpoolSize is the bound of a pipe's spool, bytes.
const DefaultSpoolSize = 1 << 30

// Load reads a config file. getenv is asked for keys that are in the environment. The error is an *Error where the file
// is there and says something that cannot be.
func Load(path string, getenv func(string) string) (*Config, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	return Parse(path, body, getenv)
}

// Parse is Load of a file that was read.
func Parse(path string, body []byte, getenv func(string) string) (*Config, error) {
	l := &loader{dir: filepath.Dir(path), getenv: getenv}
	c := l.file(body)
	if len(l.problems) > 0 && v2config.Recognize(body) {
		return nil, &Error{Path: path, V2: true, Problems: []Problem{{Line: 1, Column: 1,
			Text: "this is a configuration of Fustor V2: `fustor agent import` makes a config file of it"}}}
	}
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, &Error{Path: path, Problems: l.problems}
	}
	return c, nil
}

type loader struct {
	reader
	dir     string
	getenv  func(string) string
	sources map[string]Source
	senders map[string]Sender
	used    map[string]bool      // sources and senders, as "source NAME"
	feeds   map[[2]string][]Pipe // the pipes that feed a view of an ingest
	names   map[string]bool
}

func (l *loader) file(body []byte) *Config {
	c := &Config{}
	root := l.parse(body)
	if root == nil {
		return c
	}
	l.sources, l.senders = map[string]Source{}, map[string]Sender{}
	l.used, l.feeds, l.names = map[string]bool{}, map[[2]string][]Pipe{}, map[string]bool{}
	var pipes, sources, senders ast.Node
	l.mapping(root, "the file", fields{
		"agent_id": func(n ast.Node) {
			if l.str(n, &c.AgentID); c.AgentID != "" && !layout.ValidID(c.AgentID) {
				l.problem(n, "agent_id %q: 1 to 128 of A-Z a-z 0-9 - _ . : @, with a letter or digit first", c.AgentID)
			}
		},
		"state":   func(n ast.Node) { l.directory(n, &c.State) },
		"metrics": func(n ast.Node) { l.str(n, &c.Metrics) },
		"sources": func(n ast.Node) { sources = n },
		"senders": func(n ast.Node) { senders = n },
		"pipes":   func(n ast.Node) { pipes = n },
	}, "sources", "senders", "pipes")
	if sources != nil {
		l.each(sources, "sources", func(name string, n ast.Node) { l.sources[name] = l.source(n) })
	}
	if senders != nil {
		l.each(senders, "senders", func(name string, n ast.Node) { l.senders[name] = l.sender(n) })
	}
	if pipes != nil {
		l.each(pipes, "pipes", func(name string, n ast.Node) { c.Pipes = append(c.Pipes, l.pipe(name, n)...) })
	}
	l.unused(sources, "source")
	l.unused(senders, "sender")
	return c
}

// unused reports what no pipe names: most likely a slip.
func (l *loader) unused(n ast.Node, what string) {
	if n == nil || len(l.problems) > 0 {
		return
	}
	l.each(n, what, func(name string, _ ast.Node) {
		if !l.used[what+" "+name] {
			l.problem(l.key(n, name), "no pipe has the %s %q: use it, or take it out", what, name)
		}
	})
}

func (l *loader) source(n ast.Node) Source {
	s := Source{}
	defaults, atimes := true, true
	l.mapping(n, "a source", fields{
		"path": func(n ast.Node) { l.directory(n, &s.Path) },
		"exclude": func(n ast.Node) {
			l.list(n, func(n ast.Node) {
				var glob string
				if l.str(n, &glob); glob == "" {
					return
				}
				if _, err := tree.NewExcludes([]string{glob}); err != nil {
					l.problem(n, "%v", err)
				}
				s.Exclude = append(s.Exclude, glob)
			})
		},
		"default_excludes":  func(n ast.Node) { l.boolean(n, &defaults) },
		"cross_filesystems": func(n ast.Node) { l.boolean(n, &s.CrossFilesystems) },
		"atimes":            func(n ast.Node) { l.boolean(n, &atimes) },
		"watch":             func(n ast.Node) { l.oneOf(n, &s.Watch, "auto", "fanotify", "inotify", "none") },
		"workers":           func(n ast.Node) { s.Workers = int(l.integer(n, 1, 1024)) },
		"scan_rate":         func(n ast.Node) { s.ScanRate = int(l.integer(n, 0, 1e9)) },
		"io_idle": func(n ast.Node) {
			if l.boolean(n, &s.IOIdle); s.IOIdle && !scan.CanIdle {
				l.problem(n, "io_idle is for Linux: leave it out, and bound scans with scan_rate")
			}
		},
	}, "path")
	s.NoDefaultExclude, s.NoAtimes = !defaults, !atimes
	return s
}

func (l *loader) sender(n ast.Node) Sender {
	s := Sender{}
	var typ, ingest, storeURL, document, server, operations ast.Node
	var keys []string
	keyFrom := func(form string, read func(n ast.Node, text string) string) func(ast.Node) {
		return func(n ast.Node) {
			var text string
			if l.str(n, &text); text == "" {
				return
			}
			if keys = append(keys, form); len(keys) > 1 {
				l.problem(n, "%s and %s cannot both be given", keys[0], form)
				return
			}
			if s.Key = read(n, text); strings.ContainsAny(s.Key, " \t\r\n") {
				l.problem(n, "%s does not hold one key", form)
			}
		}
	}
	l.mapping(n, "a sender", fields{
		"type":   func(n ast.Node) { typ = n; l.oneOf(n, &s.Type, Store, Upload, HTTP, Echo, OpenAPI) },
		"ingest": func(n ast.Node) { ingest = n; l.str(n, &s.Ingest) },
		"store":  func(n ast.Node) { storeURL = n; l.str(n, &s.Store) },
		"document": func(n ast.Node) {
			document = n
			if l.str(n, &s.Document); s.Document != "" && !openapi.IsURL(s.Document) && !filepath.IsAbs(s.Document) {
				s.Document = filepath.Join(l.dir, s.Document)
			}
		},
		"server":     func(n ast.Node) { server = n; l.str(n, &s.Server) },
		"operations": func(n ast.Node) { operations = n; s.Operations = l.operations(n) },
		"api_key": keyFrom("api_key", func(_ ast.Node, text string) string {
			return text
		}),
		"api_key_env": keyFrom("api_key_env", func(n ast.Node, name string) string {
			key := l.getenv(name)
			if key == "" {
				l.problem(n, "the environment variable %s is not set: set it to the key", name)
			}
			return key
		}),
		"api_key_file": keyFrom("api_key_file", func(n ast.Node, path string) string {
			if !filepath.IsAbs(path) {
				path = filepath.Join(l.dir, path)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				l.problem(n, "the key cannot be read: %v", err)
			}
			return strings.TrimSpace(string(b))
		}),
	}, "type")
	if s.Type == "" {
		return s
	}
	if ingest != nil && s.Ingest != "" && !isURL(s.Ingest) {
		l.problem(ingest, "%q is not the URL of an ingest: write http://HOST:PORT", s.Ingest)
	}
	if server != nil && s.Server != "" && !isURL(s.Server) {
		l.problem(server, "%q is not the URL of a server: write http://HOST:PORT, with the path that the document's paths are added to", s.Server)
	}
	needed := func(at ast.Node, name string, want bool) {
		switch {
		case at == nil && want:
			l.problem(typ, "a sender of type %s needs %s", s.Type, name)
		case at != nil && !want:
			l.problem(at, "a sender of type %s has no %s", s.Type, name)
		}
	}
	needed(ingest, "ingest, the URL to register with", s.Type != Echo && s.Type != OpenAPI)
	needed(storeURL, "store, the URL of the store", s.Type == Store)
	needed(document, "document, the URL or the file of an OpenAPI document", s.Type == OpenAPI)
	if s.Type != OpenAPI {
		needed(server, "server", false)
		needed(operations, "operations", false)
	}
	if s.Type == Echo && len(keys) > 0 {
		l.problem(typ, "a sender of type echo has no key")
	}
	return s
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// operations are those of an OpenAPI document, by role.
func (l *loader) operations(n ast.Node) (o openapi.Operations) {
	l.mapping(n, "operations", fields{
		"session":   func(n ast.Node) { l.str(n, &o.Session) },
		"heartbeat": func(n ast.Node) { l.str(n, &o.Heartbeat) },
		"close":     func(n ast.Node) { l.str(n, &o.Close) },
		"events": func(n ast.Node) {
			if l.str(n, &o.Events); o.Events == openapi.None {
				l.problem(n, "events needs an operation: its operationId, or METHOD PATH")
			}
		},
	})
	return o
}

func (l *loader) pipe(name string, n ast.Node) []Pipe {
	p := Pipe{Name: name, SpoolSize: DefaultSpoolSize}
	var senders []string
	var at, view, mapping ast.Node
	disabled, one := false, false
	reference := func(n ast.Node, what string, known func(string) bool) (name string) {
		if l.str(n, &name); name == "" {
			return ""
		}
		if l.used[what+" "+name] = true; !known(name) {
			l.problem(n, "there is no %s %q", what, name)
			return ""
		}
		return name
	}
	sender := func(n ast.Node) {
		if s := reference(n, "sender", func(s string) bool { _, ok := l.senders[s]; return ok }); s != "" {
			if slices.Contains(senders, s) {
				l.problem(n, "the sender %q is named twice", s)
			}
			senders = append(senders, s)
		}
	}
	l.mapping(n, "a pipe", fields{
		"source": func(n ast.Node) {
			p.From = reference(n, "source", func(s string) bool { _, ok := l.sources[s]; return ok })
			p.Source = l.sources[p.From]
		},
		"sender":  func(n ast.Node) { at, one = n, true; sender(n) },
		"senders": func(n ast.Node) { at = n; l.list(n, sender) },
		"view": func(n ast.Node) {
			view = n
			if l.str(n, &p.View); p.View != "" && !layout.ValidView(p.View) {
				l.problem(n, "view %q: 1 to 63 of a-z 0-9 - _, with a letter or digit first", p.View)
			}
		},
		"task": func(n ast.Node) {
			if l.str(n, &p.Task); p.Task != "" && !layout.ValidID(p.Task) {
				l.problem(n, "task %q: 1 to 128 of A-Z a-z 0-9 - _ . : @, with a letter or digit first", p.Task)
			}
		},
		"spool_size": func(n ast.Node) {
			var text string
			if l.scalar(n, &text); text == "" {
				return
			}
			size, err := values.ParseSize(text)
			if err != nil {
				l.problem(n, "%q is not a size: write bytes, or a number with K, M, G or T", text)
			}
			p.SpoolSize = size
		},
		"disabled":       func(n ast.Node) { l.boolean(n, &disabled) },
		"fields_mapping": func(n ast.Node) { mapping = n; p.Fields = l.fieldsMapping(n) },
	}, "source", "view")
	if !layout.ValidID(name) {
		l.problem(n, "the pipe's name %q: 1 to 128 of A-Z a-z 0-9 - _ . : @, with a letter or digit first", name)
	}
	if at == nil {
		l.problem(n, "pipe %q has no sender", name)
	}
	if disabled {
		return nil
	}
	var out []Pipe
	for _, s := range senders {
		q := p
		q.To, q.Sender = s, l.senders[s]
		if !one && len(senders) > 1 {
			q.Name += "@" + s
		}
		if l.names[q.Name] {
			l.problem(n, "there are two pipes of the name %q", q.Name)
		}
		l.names[q.Name] = true
		feed := [2]string{cmp.Or(q.Sender.Ingest, "sender "+s), q.View}
		if q.Sender.Type == Echo { // a view of its own
			feed[0] = "pipe " + q.Name
		}
		if q.View != "" {
			l.sameView(cmp.Or(view, n), l.feeds[feed], &q, feed[0])
		}
		l.feeds[feed] = append(l.feeds[feed], q)
		if mapping != nil && q.Sender.Type != Echo && q.Sender.Type != OpenAPI {
			l.problem(mapping, "fields_mapping is for senders of type echo and openapi; %q is of type %s, whose segments have fixed fields", s, q.Sender.Type)
		}
		out = append(out, q)
	}
	return out
}

// sameView checks a pipe against those that feed the same view. Two names of one directory may feed one view, as when a file
// system is mounted twice: then one pipe leads, and takes over if the other's mount is lost. Whether they are one directory shows
// when the pipe begins.
func (l *loader) sameView(n ast.Node, others []Pipe, p *Pipe, ingest string) {
	for _, o := range others {
		why := ""
		switch a, b := o.Source, p.Source; {
		case o.From == p.From:
			why = "one pipe from a source is enough for a view"
		case !slices.Equal(a.Exclude, b.Exclude) || a.NoDefaultExclude != b.NoDefaultExclude || a.CrossFilesystems != b.CrossFilesystems:
			why = fmt.Sprintf("a view has one source on a host, or several that are the same tree; sources %q and %q differ in exclude, default_excludes or cross_filesystems", o.From, p.From)
		case o.Task != "" && o.Task == p.Task:
			why = fmt.Sprintf("each needs a task of its own; both have %q", p.Task)
		default:
			p.SameTreeAs = cmp.Or(p.SameTreeAs, o.Source.Path)
			continue
		}
		l.problem(n, "pipes %q and %q feed the same view %q of %s: %s", o.Name, p.Name, p.View, ingest, why)
		return
	}
}

func (l *loader) fieldsMapping(n ast.Node) (out []record.Field) {
	seen := map[string]bool{}
	l.list(n, func(n ast.Node) {
		f := record.Field{}
		var value, typ ast.Node
		l.mapping(n, "a field", fields{
			"to":     func(n ast.Node) { l.str(n, &f.To) },
			"source": func(n ast.Node) { l.oneOf(n, &f.From, record.Sources...) },
			"type":   func(n ast.Node) { typ = n; l.oneOf(n, &f.Type, record.Types...) },
			"value":  func(n ast.Node) { value = n; f.Value = l.constant(n) },
		}, "to")
		switch {
		case f.To != "" && seen[f.To]:
			l.problem(n, "there are two fields %q", f.To)
		case value == nil && f.From == "":
			l.problem(n, "a field needs a source or a value")
		case value != nil && f.From != "":
			l.problem(n, "a field has a source or a value, not both")
		}
		if err := record.Fits(f.From, f.Type); f.From != "" && err != nil {
			l.problem(typ, "%v", err)
		}
		if typ != nil && value != nil {
			l.problem(typ, "a constant has the type that it is written in")
		}
		seen[f.To] = true
		out = append(out, f)
	})
	return out
}

// directory is an absolute path.
func (l *loader) directory(n ast.Node, to *string) {
	if l.str(n, to); *to != "" && !filepath.IsAbs(*to) {
		l.problem(n, "%q is not an absolute path", *to)
	}
}

// State is the directory that a config file names for the agent's state, empty for none, whatever else is wrong with the
// file: whoever talks to a running agent needs no more of it.
func State(path string) (string, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("config file: %w", err)
	}
	l := &loader{}
	root := l.parse(body)
	if root == nil {
		return "", &Error{Path: path, Problems: l.problems}
	}
	state := ""
	l.each(root, "the file", func(name string, n ast.Node) {
		if name == "state" {
			l.directory(n, &state)
		}
	})
	return state, nil
}
