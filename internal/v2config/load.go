package v2config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/fustor/fustor/internal/yamltree"
)

// ErrNothing: the files and directories have no configuration of V2.
var ErrNothing = errors.New("no configuration of Fustor V2")

const maxFile = 8 << 20 // bytes

// loader puts files together, as V2 does: all of them share one set of names.
type loader struct {
	config   *Config
	problems []Problem
	told     map[string]bool // deprecated names
}

func (l *loader) problemAt(p Place, format string, args ...any) {
	l.problems = append(l.problems, Problem{p, fmt.Sprintf(format, args...)})
}

// Load reads files, and directories such as V2's home or one of its directories. The error is an *Error where the files say
// something that cannot be, and ErrNothing where there is none.
func Load(paths ...string) (*Config, error) {
	var files []File
	seen := map[string]bool{}
	for _, given := range paths {
		found, err := filesOf(given)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			name, err := filepath.Abs(f.Path)
			if err != nil {
				return nil, err
			}
			if seen[name] {
				continue
			}
			seen[name] = true
			if f.Body, err = os.ReadFile(f.Path); err != nil {
				return nil, fmt.Errorf("the configuration cannot be read: %w", err)
			}
			files = append(files, f)
		}
	}
	c, err := Parse(files...)
	if errors.Is(err, ErrNothing) {
		err = fmt.Errorf("%s: %w", strings.Join(paths, ", "), err)
	}
	return c, err
}

// File is a file of V2's. Its path says what it has, unless its content does.
type File struct {
	Path string
	Body []byte
	// Found: it is in a directory that the user named, and so need not be one of V2's.
	Found bool
}

// Parse is Load of files that were read.
func Parse(files ...File) (*Config, error) {
	l := &loader{config: &Config{}, told: map[string]bool{}}
	for _, f := range files {
		l.file(f)
	}
	if len(l.problems) == 0 {
		l.references()
	}
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b Problem) int { return byPlace(a.Place, b.Place) })
		return nil, &Error{l.problems}
	}
	if !l.config.ForAgents() && !l.config.ForServer() {
		return nil, ErrNothing
	}
	for _, s := range l.config.Sources {
		if !s.Workers.Given() {
			s.Workers = l.config.ScanWorkers
		}
	}
	slices.SortStableFunc(l.config.Warnings, func(a, b Warning) int { return byPlace(a.Place, b.Place) })
	return l.config, nil
}

// references checks that what is named is there.
func (l *loader) references() {
	c := l.config
	for _, p := range c.AgentPipes {
		if c.Source(p.Source.Value) == nil {
			l.problemAt(p.Source.Place, "there is no source %q: give the file that has it, too", printable(p.Source.Value))
		}
		if c.Sender(p.Sender.Value) == nil {
			l.problemAt(p.Sender.Place, "there is no sender %q: give the file that has it, too", printable(p.Sender.Value))
		}
	}
	for _, p := range c.FusionPipes {
		for _, v := range p.Views {
			if c.View(v.Value) == nil && len(c.byGroup(v.Value)) == 0 {
				l.problemAt(v.Place, "there is no view %q: give the file that has it, too", printable(v.Value))
			}
		}
		if p.Receiver.Given() && find(c.Receivers, func(r *Receiver) bool { return r.ID == p.Receiver.Value }) == nil {
			l.problemAt(p.Receiver.Place, "there is no receiver %q: give the file that has it, too", printable(p.Receiver.Value))
		}
	}
	for _, v := range c.Views {
		for _, m := range v.Members {
			if c.View(m.Value) == nil {
				l.problemAt(m.Place, "there is no view %q: give the file that has it, too", printable(m.Value))
			}
		}
	}
	for _, r := range c.Receivers {
		for _, k := range r.Keys {
			if k.Pipe.Given() && len(c.feeds(k.Pipe.Value)) == 0 && c.FusionPipe(k.Pipe.Value) == nil && len(c.FusionPipes) > 0 {
				l.problemAt(k.Pipe.Place, "there is no pipe and no view %q: give the file that has it, too", printable(k.Pipe.Value))
			}
		}
	}
}

// kind is what a file has.
type kind int

const (
	unknown    kind = iota // its content says it
	sections               // sources, senders, pipes, …
	sources                // names to sources; and so on
	senders                //
	receivers              //
	views                  //
	datastores             //
	agentPipe              // one pipe; and so on
	fusionPipe             //
	view                   //
)

// fileKinds are V2's files in its home, and dirKinds what the files in its directories have; both without what is deprecated.
var (
	fileKinds = map[string]kind{
		"sources-config": sources, "senders-config": senders, "receivers-config": receivers, "agent-config": sections, "fusion-config": sections,
		"pushers-config": senders, "datastores-config": datastores, "views-config": datastores,
	}
	dirKinds = map[string]kind{
		"agent-config": sections, "fusion-config": sections, "agent-pipes-config": agentPipe, "fusion-pipes-config": fusionPipe, "views-config": view,
		"syncs-config": agentPipe, "pipelines-config": agentPipe, "pipes-config": agentPipe,
	}
	oldFiles = map[string]string{
		"pushers-config": "senders-config.yaml", "datastores-config": "receivers-config.yaml with views-config/", "views-config": "receivers-config.yaml with views-config/",
		"agent-config": "agent-config/",
	}
	oldDirs = map[string]string{"syncs-config": "agent-pipes-config/", "pipelines-config": "agent-pipes-config/"}
)

func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

func stem(name string) string {
	return strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
}

// kindOf tells a file by its name and its directory's.
func kindOf(path string) kind {
	if dir, err := filepath.Abs(filepath.Dir(path)); err == nil {
		if k, ok := dirKinds[filepath.Base(dir)]; ok {
			return k
		}
	}
	return fileKinds[stem(path)]
}

// filesOf are the files of a path that the user gives: itself, or what a directory and V2's directories in it have.
func filesOf(path string) ([]File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	if !info.IsDir() {
		if !info.Mode().IsRegular() || info.Size() > maxFile {
			return nil, fmt.Errorf("%s is not a configuration file: it must be a regular file of at most %d MiB", path, maxFile>>20)
		}
		return []File{{Path: path}}, nil
	}
	return inDir(path, true)
}

func inDir(dir string, deeper bool) (out []File, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // config files are often links
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the configuration cannot be read: %w", err)
		}
		_, known := dirKinds[e.Name()]
		switch {
		case info.IsDir() && known && deeper:
			below, err := inDir(path, false)
			if err != nil {
				return nil, err
			}
			out = append(out, below...)
		case info.Mode().IsRegular() && (isYAML(path) || e.Name() == "agent.id") && info.Size() <= maxFile:
			out = append(out, File{Path: path, Found: true})
		}
	}
	return out, nil
}

// sectionNames are those of a file with sections, and whether they are deprecated.
var sectionNames = map[string]string{
	"sources": "", "senders": "", "pipes": "", "receivers": "", "views": "", "agent-pipes": "", "fusion-pipes": "", "agent_pipes": "", "fusion_pipes": "",
	"pushers": "senders", "syncs": "pipes", "pipelines": "pipes", "datastores": "receivers and views",
}

// file reads one file into the config.
func (l *loader) file(f File) {
	if filepath.Base(f.Path) == "agent.id" {
		if id := strings.TrimSpace(string(f.Body)); id != "" && !l.config.AgentID.Given() {
			l.config.AgentID = Text{Place{f.Path, 1, 1}, printable(id)}
		}
		return
	}
	tree, problems := yamltree.Parse(f.Body)
	r := &reader{loader: l, file: f.Path, tree: tree}
	for _, p := range problems {
		l.problemAt(Place{f.Path, p.Line, p.Column}, "%s", printable(p.Text))
	}
	if len(problems) > 0 || tree.Root == nil || r.null(tree.Root) {
		if len(problems) == 0 && !f.Found {
			l.problemAt(Place{f.Path, 1, 1}, "the file is empty")
		}
		return
	}
	if _, mapping := tree.Pairs(tree.Root); !mapping {
		l.problemAt(Place{f.Path, 1, 1}, "this is no configuration of Fustor V2: it must be a mapping of names to values")
		return
	}
	pairs := r.pairs(tree.Root, "the file")
	k := kindOf(f.Path)
	if k == unknown || k.one() && hasSection(r, pairs) {
		k = r.guess(pairs)
	}
	if k == unknown {
		text := "cannot tell what of Fustor V2 this file configures"
		if !f.Found {
			l.problemAt(Place{f.Path, 1, 1}, "%s: rename it as V2 does, such as sources-config.yaml or agent-config/default.yaml", text)
		} else {
			l.config.Warnings = append(l.config.Warnings, Warning{Place{f.Path, 1, 1}, Both, "", text + ": it is left out"})
		}
		return
	}
	l.config.Files = append(l.config.Files, f.Path)
	r.on(k.side(), func() { r.oldName(f.Path) })
	r.content(f.Path, k, pairs)
}

// oldName warns of a deprecated file or directory.
func (r *reader) oldName(path string) {
	base, dir := stem(path), filepath.Base(filepath.Dir(path))
	if instead, old := oldDirs[dir]; old {
		r.deprecated(r.tree.Root, dir+"/", instead)
	} else if _, in := dirKinds[dir]; !in && oldFiles[base] != "" {
		r.deprecated(r.tree.Root, base+".yaml", oldFiles[base])
	}
}

// side says who imports what a file or a section has.
func (k kind) side() Side {
	switch k {
	case sources, senders, agentPipe:
		return Agents
	case receivers, views, datastores, fusionPipe, view:
		return Server
	}
	return Both
}

func (k kind) one() bool { return k == agentPipe || k == fusionPipe || k == view }

// content reads what a file of a known kind has.
func (r *reader) content(path string, k kind, pairs []pair) {
	if k.one() {
		name, key := stem(path), ast.Node(r.tree.Root)
		ids := []string{"id", "pipe_id", "pipeline_id", "sync_id"}
		if k == view {
			ids = []string{"id", "view_id", "datastore_id"}
		}
		for i := len(ids) - 1; i >= 0; i-- {
			for _, p := range pairs {
				var id Text
				if p.name == ids[i] && !r.null(p.value) {
					if r.text(&id)(p.value); id.Given() {
						name, key = id.Value, p.key
					}
				}
			}
		}
		if k == agentPipe && isFusionPipe(pairs) {
			k = fusionPipe
		}
		r.on(k.side(), func() {
			switch k {
			case agentPipe:
				r.agentPipe(name, key, pairs)
			case fusionPipe:
				r.fusionPipe(name, key, pairs)
			default:
				r.view(name, key, pairs)
			}
		})
		return
	}
	for _, p := range pairs {
		_, section := sectionNames[p.name]
		switch {
		case section && (k == sections || r.mappingOfMappings(p.value)):
			r.section(p.name, p.key, p.value)
		case k == sections:
			r.global(p)
		case k == datastores && stem(path) == "views-config" && !r.hasField(p.value, "api_key"):
			r.entry(views, p.name, p.key, p.value)
		default:
			r.entry(k, p.name, p.key, p.value)
		}
	}
}

func (r *reader) mappingOfMappings(n ast.Node) bool {
	if r.null(n) {
		return true
	}
	pairs, ok := r.tree.Pairs(n)
	return ok && !slices.ContainsFunc(pairs, func(p *ast.MappingValueNode) bool {
		_, mapping := r.tree.Pairs(p.Value)
		return !mapping && !r.null(p.Value)
	})
}

func (r *reader) hasField(n ast.Node, name string) bool {
	pairs, _ := r.tree.Pairs(n)
	return slices.ContainsFunc(pairs, func(p *ast.MappingValueNode) bool { return yamltree.KeyText(p.Key) == name })
}

func hasSection(r *reader, pairs []pair) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool {
		_, section := sectionNames[p.name]
		return section && !r.null(p.value) && r.mappingOfMappings(p.value)
	})
}

// guess tells a file by its content.
func (r *reader) guess(pairs []pair) kind {
	has := map[string]bool{}
	for _, p := range pairs {
		has[p.name] = true
	}
	switch {
	case hasSection(r, pairs):
		return sections
	case has["source"] && (has["sender"] || has["pusher"]):
		return agentPipe
	case has["receiver"] && has["views"]:
		return fusionPipe
	case has["driver"] && (has["view_id"] || has["datastore_id"] || has["hot_file_threshold"] || has["live_mode"]):
		return view
	}
	return unknown
}

func isFusionPipe(pairs []pair) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool { return p.name == "receiver" || p.name == "views" })
}

// section reads the entries of sources, senders and so on.
func (r *reader) section(name string, key, n ast.Node) {
	of := map[string]kind{"sources": sources, "senders": senders, "pushers": senders, "receivers": receivers, "views": views, "datastores": datastores,
		"pipes": agentPipe, "syncs": agentPipe, "pipelines": agentPipe, "agent-pipes": agentPipe, "agent_pipes": agentPipe,
		"fusion-pipes": fusionPipe, "fusion_pipes": fusionPipe}[name]
	if instead := sectionNames[name]; instead != "" {
		r.on(of.side(), func() { r.deprecated(key, name, instead) })
	}
	r.entries(n, name, func(name string, key, value ast.Node) { r.entry(of, name, key, value) })
}

// entry reads one entry of a section.
func (r *reader) entry(k kind, name string, key, n ast.Node) {
	if r.null(n) {
		r.problem(key, "%q is empty", printable(name))
		return
	}
	if k == agentPipe && isFusionPipe(r.pairs(n, "pipe "+printable(name))) { // a server's pipes are in a section of the same name
		k = fusionPipe
	}
	r.on(k.side(), func() {
		switch k {
		case sources:
			r.source(name, key, n)
		case senders:
			r.sender(name, key, n)
		case receivers:
			r.receiver(name, key, n)
		case datastores:
			r.datastore(name, key, n)
		case views:
			r.view(name, key, r.pairs(n, "view "+printable(name)))
		case agentPipe:
			r.agentPipe(name, key, r.pairs(n, "pipe "+printable(name)))
		case fusionPipe:
			r.fusionPipe(name, key, r.pairs(n, "pipe "+printable(name)))
		}
	})
}

// serverGlobals are fields beside the sections that are a server's.
var serverGlobals = map[string]string{
	"fusion": "--listen says where the server listens", "host": "--listen says where the server listens", "port": "--listen says where the server listens",
	"session_cleanup_interval": "sessions end by their time-out",
}

// global reads a field of a file with sections that is none.
func (r *reader) global(p pair) {
	if r.null(p.value) {
		return
	}
	side := Agents
	if _, server := serverGlobals[p.name]; server {
		side = Server
	} else if p.name == "logging" {
		side = Both
	}
	other := map[string]string{"logging": "--log-level and --log-format say what the log has", "agent": ""}
	maps.Copy(other, serverGlobals)
	r.on(side, func() {
		r.readPairs([]pair{p}, shape{what: "the file", take: map[string]func(ast.Node){
			"agent_id":        r.text(&r.config.AgentID),
			"fs_scan_workers": r.number(&r.config.ScanWorkers, 1, 1024),
		}, other: other})
	})
}

// replace puts an entry into the others, in place of one of its name, which it warns of.
func replace[T any](r *reader, all []*T, key ast.Node, what, name string, id func(*T) string, entry *T) []*T {
	for i, other := range all {
		if id(other) == name {
			r.warn(key, what+" "+printable(name), "%s %q is defined again: the last one counts, as in V2", what, printable(name))
			all[i] = entry
			return all
		}
	}
	return append(all, entry)
}
