package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/v2config"
)

// The ways in which an imported file has its keys.
const (
	KeysInline = "inline" // api_key
	KeysFile   = "file"   // api_key_file, beside the config file
	KeysEnv    = "env"    // api_key_env
)

// Import says how a configuration of V2's becomes a config file.
type Import struct {
	Ingest string            // URL of the new server; empty: where V2's senders send
	View   string            // of pipes that no other rule finds one for
	Views  map[string]string // of pipes, by name
	Keys   string            // one of KeysInline, KeysFile and KeysEnv
}

// Imported is the config file.
type Imported struct {
	Body     []byte
	Secret   bool              // the body has keys in it
	KeyFiles map[string]string // the files that the body names, and the keys that they must hold
	KeyEnv   map[string]string // the variables that the body names, and the senders whose keys they must hold
	Warnings []v2config.Warning
}

// ErrNoAgent: the configuration is of a server alone.
var ErrNoAgent = errors.New("the files configure a server of Fustor V2, and no agent")

// ErrNoPipe: nothing is left that an agent would do. The Imported has the warnings that say why.
var ErrNoPipe = errors.New("no pipe of the files can be imported")

// FromV2 makes a config file of V2's. What it returns is one that Parse accepts, if its keys are in place.
func FromV2(c *v2config.Config, o Import) (*Imported, error) {
	if !c.ForAgents() {
		return nil, ErrNoAgent
	}
	m := &importer{v2: c, o: o, out: &Imported{Warnings: c.WarningsFor(v2config.Agents), KeyFiles: map[string]string{}, KeyEnv: map[string]string{}}}
	if id := c.AgentID; id.Given() {
		if m.agentID = validID(id.Value, map[string]bool{}); m.agentID != id.Value {
			m.warn(id.Place, "agent_id", "it is changed to %s: names have A-Z a-z 0-9 - _ . : @ alone", m.agentID)
		}
	}
	m.drivers()
	m.pipes()
	m.unused()
	slices.SortStableFunc(m.out.Warnings, func(a, b v2config.Warning) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	if len(m.kept) == 0 {
		return m.out, ErrNoPipe
	}
	m.write()
	return m.out, nil
}

// keptPipe is a pipe that is imported.
type keptPipe struct {
	*v2config.AgentPipe
	name, view string
	source     *v2config.Source
	sender     *v2config.Sender
	disabled   bool
	fields     []record.Field
	constants  map[string]string // of fields, as they are written
}

type importer struct {
	v2      *v2config.Config
	o       Import
	out     *Imported
	agentID string
	kept    []keptPipe
	globs   map[*v2config.Source][]string // of the sources of kept pipes
	without map[string]bool               // sources and senders that have no counterpart
}

func (m *importer) warn(p v2config.Place, about, format string, args ...any) {
	m.out.Warnings = append(m.out.Warnings, v2config.Warning{Place: p, Side: v2config.Agents, About: about, Text: about + ": " + fmt.Sprintf(format, args...)})
}

// pipes decides what becomes of each pipe.
func (m *importer) pipes() {
	m.globs = map[*v2config.Source][]string{}
	feeds, names := map[[2]string]string{}, map[string]bool{}
	for _, p := range m.v2.AgentPipes {
		k := keptPipe{AgentPipe: p, source: m.v2.Source(p.Source.Value), sender: m.v2.Sender(p.Sender.Value), constants: map[string]string{}}
		if m.without[k.source.About()] || m.without[k.sender.About()] {
			continue
		}
		k.name = validID(p.ID, names)
		if k.name != p.ID {
			m.warn(p.Place, p.About(), "the name is changed to %s: names have A-Z a-z 0-9 - _ . : @ alone", k.name)
		}
		if k.view = m.view(k); k.view == "" {
			continue
		}
		k.disabled = p.Disabled || k.source.Disabled || k.sender.Disabled
		m.settings(k)
		m.fields(&k)
		feed := [2]string{m.ingest(k.sender), k.view}
		if k.sender.Driver.Value == v2config.OpenAPI {
			feed[0] = "sender " + k.sender.ID
		}
		if other := feeds[feed]; other != "" && !k.disabled && k.sender.Driver.Value != v2config.Echo {
			k.disabled = true
			m.warn(p.Place, p.About(), "it feeds the same view %s as pipe %s, so it is disabled: a view has one source on a host. Give it a view of its own, and a key for that", k.view, other)
		}
		if !k.disabled {
			feeds[feed] = k.name
		}
		if _, done := m.globs[k.source]; !done {
			m.globs[k.source] = m.goodGlobs(k.source)
		}
		m.kept = append(m.kept, k)
	}
}

// drivers tells of the sources and senders that have no counterpart.
func (m *importer) drivers() {
	m.without = map[string]bool{}
	for _, s := range m.v2.Sources {
		if s.Driver.Value != v2config.FS {
			m.without[s.About()] = true
			m.warn(s.Place, s.About(), "the driver %q has no counterpart, because Fustor indexes file trees alone: its pipes are left out", s.Driver.Value)
		}
	}
	for _, s := range m.v2.Senders {
		switch s.Driver.Value {
		case v2config.Fusion, v2config.HTTP, v2config.Echo:
		case v2config.OpenAPI:
			m.warn(s.Place, s.About(), "the operations of its document are found by other rules than V2's x-fustor_agent-… fields: the agent logs what it found, and operations in the file names others")
		default:
			m.without[s.About()] = true
			m.warn(s.Place, s.About(), "the driver %q has no counterpart: its pipes are left out", s.Driver.Value)
		}
	}
}

// ingest is the URL of a sender.
func (m *importer) ingest(s *v2config.Sender) string {
	return strings.TrimRight(cmp.Or(m.o.Ingest, s.URL.Value), "/")
}

// view is the view of a pipe: the one that the user names, or that its key is for, or the pipe's own name.
func (m *importer) view(k keptPipe) string {
	if v := m.o.Views[k.ID]; v != "" {
		return v
	}
	id, known := m.v2.FedBy(k.sender)
	switch {
	case known:
	case m.o.View != "":
		return m.o.View
	default:
		id = k.ID
	}
	view := v2config.ViewName(id)
	switch {
	case view == "":
		m.warn(k.Place, k.About(), "no view's name can be made of %q: name one with --view %s=VIEW. The pipe is left out", id, k.name)
	case !known && k.sender.Driver.Value != v2config.Echo && k.sender.Driver.Value != v2config.OpenAPI:
		m.warn(k.Place, k.About(), "agents of V2 do not name their view, so %s is assumed: it must be the view of the sender's key. Name another with --view %s=VIEW, or import the server's files, too", view, k.name)
	case view != id:
		m.warn(k.Place, k.About(), "the view %q is %s here: views' names are in small letters", id, view)
	}
	return view
}

// settings tells of what is a setting of the view here.
func (m *importer) settings(k keptPipe) {
	for _, s := range []struct {
		v2config.Number
		what, flag string
	}{
		{k.Audit, "how often the tree is audited", "audit-interval"},
		{k.Sentinel, "how often suspect files are observed", "sentinel-interval"},
		{k.SessionTimeout, "the time-out of sessions", "session-timeout"},
	} {
		if s.Given() {
			m.warn(s.Place, k.About(), "%s is a setting of the view here: `fustor admin view configure %s --%s %s`", s.what, k.view, s.flag, seconds(s.Value))
		}
	}
}

// seconds is a duration as the flags take it.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second)).String()
	if strings.HasSuffix(d, "m0s") {
		d = strings.TrimSuffix(d, "0s")
	}
	if strings.HasSuffix(d, "h0m") {
		d = strings.TrimSuffix(d, "0m")
	}
	return d
}

// rows are V2's fields of a row, and what they are here.
var rows = map[string]string{"path": "path", "file_path": "path", "file_name": "name", "size": "size", "modified_time": "mtime_ns", "is_directory": "type"}

var types = map[string]string{
	"": "", "string": "string", "str": "string", "integer": "integer", "int": "integer", "number": "number", "float": "number", "boolean": "boolean", "bool": "boolean",
}

// fields takes over a fields_mapping, where the sender has one.
func (m *importer) fields(k *keptPipe) {
	if driver := k.sender.Driver.Value; len(k.Fields) > 0 && driver != v2config.Echo && driver != v2config.OpenAPI {
		m.warn(k.Fields[0].Place, k.About(), "fields_mapping is left out: what an agent sends has fixed fields")
		return
	}
	for _, f := range k.Fields {
		to := f.To.Value
		if _, twice := k.constants[to]; twice || slices.ContainsFunc(k.fields, func(r record.Field) bool { return r.To == to }) {
			m.warn(f.Place, k.About(), "the second rule for the field %q is left out", to)
			continue
		}
		if strings.Contains(to, ".") {
			m.warn(f.To.Place, k.About(), "the field %q is written under that name, not as an object in an object", to)
		}
		if f.Constant != nil {
			k.constants[to] = f.Value.Value
			if _, text := f.Constant.(string); text {
				k.constants[to] = quote(f.Value.Value)
			}
			k.fields = append(k.fields, record.Field{To: to})
			continue
		}
		r := record.Field{To: to, From: rows[f.Source.Value], Type: types[f.Type]}
		switch r.From {
		case "":
			m.warn(f.Source.Place, k.About(), "no event has the field %q: its rule is left out", f.Source.Value)
			continue
		case "mtime_ns":
			r.Type = "seconds" // as V2 has it
		case "type":
			r.Type = ""
			m.warn(f.Source.Place, k.About(), "is_directory becomes the type of the entry, which is a word")
		}
		if record.Fits(r.From, r.Type) != nil {
			m.warn(f.Source.Place, k.About(), "%s stays as it is, because it cannot be made into %s", f.Source.Value, r.Type)
			r.Type = ""
		}
		k.fields = append(k.fields, r)
	}
}

// unused tells of sources and senders that no pipe names.
func (m *importer) unused() {
	named := map[string]bool{}
	for _, p := range m.v2.AgentPipes {
		named[m.v2.Source(p.Source.Value).About()], named[m.v2.Sender(p.Sender.Value).About()] = true, true
	}
	for _, s := range m.v2.Sources {
		if !named[s.About()] && !m.without[s.About()] {
			m.warn(s.Place, s.About(), "no pipe uses it: it is left out")
		}
	}
	for _, s := range m.v2.Senders {
		if !named[s.About()] && !m.without[s.About()] {
			m.warn(s.Place, s.About(), "no pipe uses it: it is left out")
		}
	}
}

// validID makes a name of what V2 allows, other than those that are taken.
func validID(name string, taken map[string]bool) string {
	id := strings.Map(func(c rune) rune {
		if layout.ValidID("a" + string(c)) {
			return c
		}
		return '-'
	}, name)
	id = strings.TrimLeft(id, "-_.:@")
	id = cmp.Or(id[:min(len(id), 120)], "pipe")
	for n := 2; taken[id]; n++ {
		id = fmt.Sprintf("%s-%d", strings.TrimRight(id, "-0123456789"), n)
		if strings.TrimRight(id, "-0123456789") == "" {
			id = fmt.Sprintf("pipe-%d", n)
		}
	}
	taken[id] = true
	return id
}

// goodGlobs are the patterns of a source that mean something here.
func (m *importer) goodGlobs(s *v2config.Source) (globs []string) {
	for _, e := range s.Exclude {
		if _, err := tree.NewExcludes([]string{e.Value}); err != nil {
			m.warn(e.Place, s.About(), "%v: it is left out", err)
			continue
		}
		globs = append(globs, e.Value)
	}
	return globs
}
