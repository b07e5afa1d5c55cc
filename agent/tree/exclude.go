package tree

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/glob"
)

// DefaultExcludes are the base names under which file servers show their snapshots: NetApp and GPFS, ZFS, Ceph, Isilon
// and snapper, Windows shares, VAST. Each of them would repeat the whole tree.
var DefaultExcludes = []string{".snapshot", ".snapshots", ".zfs", ".snap", ".ckpt", "~snapshot"}

// Excludes decide what does not belong to a view at all. An excluded directory takes its subtree along.
//
// The patterns are those of gitignore(5), and the last one that matches an entry decides. Beyond gitignore, {a,b} are
// alternatives, and ? and [...] stand for a character where git takes a byte. As on git's command line, # begins no comment
// and trailing blanks count.
type Excludes struct {
	patterns []string
	rules    []rule
	literals map[string][]int // the rules whose last component is that name, in order
	globs    []int            // the other rules, in order
}

// rule is one alternative of a pattern.
type rule struct {
	pattern     int       // of Excludes.patterns
	includes    bool      // !: it takes back what earlier rules leave out
	directories bool      // it is for directories alone
	anchored    bool      // it has a slash: the directory must match parents
	parents     []segment // from the root down
	name        segment
}

// segment matches one component of a path, or any number of directories.
type segment struct {
	literal string // if globs is nil
	suffix  bool   // names that end in literal, as in *.tmp
	globs   []string
	deep    bool // **
}

func (s *segment) matches(name string) bool {
	switch {
	case s.suffix:
		return strings.HasSuffix(name, s.literal)
	case s.globs == nil:
		return name == s.literal
	}
	for _, g := range s.globs {
		if glob.Match(g, name) {
			return true
		}
	}
	return false
}

// NewExcludes compiles patterns. It is an error if one can match nothing, such as "./x", or is no glob.
func NewExcludes(patterns []string) (*Excludes, error) {
	x := &Excludes{patterns: patterns, literals: map[string][]int{}}
	for i, p := range patterns {
		if err := x.add(i, p); err != nil {
			return nil, fmt.Errorf("exclude pattern %q: %w", p, err)
		}
	}
	return x, nil
}

func (x *Excludes) add(pattern int, text string) error {
	text, includes := strings.CutPrefix(text, "!")
	alternatives, err := glob.Alternatives(text)
	if err != nil {
		return err
	}
	for _, a := range alternatives {
		r, err := newRule(a)
		if err != nil {
			return err
		}
		r.pattern, r.includes = pattern, includes
		if r.name.globs == nil && !r.name.suffix {
			x.literals[r.name.literal] = append(x.literals[r.name.literal], len(x.rules))
		} else {
			x.globs = append(x.globs, len(x.rules))
		}
		x.rules = append(x.rules, r)
	}
	return nil
}

func newRule(text string) (r rule, err error) {
	text, r.directories = strings.CutSuffix(text, "/")
	r.anchored = strings.Contains(text, "/")
	components := strings.Split(strings.TrimPrefix(text, "/"), "/")
	for i, c := range components {
		s, err := newSegment(c)
		if err != nil {
			return rule{}, err
		}
		last := i == len(components)-1
		if s.deep && last { // "a/**" is everything below a
			s.deep = false
			if r.anchored {
				r.parents = append(r.parents, segment{deep: true})
			}
		}
		if last {
			r.name = s
		} else {
			r.parents = append(r.parents, s)
		}
	}
	return r, nil
}

func newSegment(text string) (segment, error) {
	switch text {
	case "":
		return segment{}, errors.New("it has an empty name; a pattern such as /a/b begins at the root of the view, and a/ is for directories")
	case ".", "..":
		return segment{}, fmt.Errorf("it matches nothing, as no entry is named %q; a pattern such as /a/b begins at the root of the view", text)
	case "**":
		return segment{globs: []string{"*"}, deep: true}, nil
	}
	globs, err := glob.Expand(text)
	if err != nil {
		return segment{}, err
	}
	if rest, ok := strings.CutPrefix(text, "*"); ok && !strings.ContainsAny(rest, "*?[") {
		return segment{literal: unescape(rest), suffix: true}, nil
	}
	if strings.ContainsAny(text, "*?[") {
		return segment{globs: globs}, nil
	}
	return segment{literal: unescape(text)}, nil
}

// unescape is a component without the backslashes before its characters.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Match reports whether the entry name of directory dir is excluded by itself, whatever is said of dir. directory: the entry is
// one.
func (x *Excludes) Match(dir, name string, directory bool) bool {
	r := x.last(dir, name, directory)
	return r >= 0 && !x.rules[r].includes
}

// MatchPath is Match of a path; the root is not excluded.
func (x *Excludes) MatchPath(path string, directory bool) bool {
	if path == "/" {
		return false
	}
	parent, name := event.Split(path)
	return x.Match(parent, name, directory)
}

// last is the last rule that matches an entry; -1: none.
func (x *Excludes) last(dir, name string, directory bool) int {
	best := -1
	if len(x.literals) > 0 {
		best = x.lastOf(x.literals[name], best, dir, name, directory)
	}
	return x.lastOf(x.globs, best, dir, name, directory)
}

// lastOf is the last of these rules that matches, if it comes after the rule best, otherwise best.
func (x *Excludes) lastOf(rules []int, best int, dir, name string, directory bool) int {
	for i := len(rules) - 1; i >= 0 && rules[i] > best; i-- {
		r := &x.rules[rules[i]]
		if (directory || !r.directories) && r.name.matches(name) && (!r.anchored || below(r.parents, strings.Trim(dir, "/"))) {
			return rules[i]
		}
	}
	return best
}

// below reports whether the segments match all of a path, which has no slash at its ends.
func below(segments []segment, path string) bool {
	for len(segments) > 0 {
		if segments[0].deep {
			for {
				if below(segments[1:], path) {
					return true
				}
				if path == "" {
					return false
				}
				_, path, _ = strings.Cut(path, "/")
			}
		}
		if path == "" {
			return false
		}
		var name string
		name, path, _ = strings.Cut(path, "/")
		if !segments[0].matches(name) {
			return false
		}
		segments = segments[1:]
	}
	return path == ""
}

// LeaveOut drops the names of an open directory that are excluded. It appends the pattern of each name that a pattern decided on to
// decided, for a Tally.
func (x *Excludes) LeaveOut(d Dir, path string, names *Names, decided []int) []int {
	kept := names.refs[:0]
	for i, ref := range names.refs {
		name := names.At(i)
		r := x.last(path, name, ref.dir == IsDirectory)
		if ref.dir == UnknownType { // the file system does not tell
			if asDirectory := x.last(path, name, true); asDirectory != r {
				if info, err := d.Lstat(names, i); err == nil && info.Entry.Type == event.Directory {
					r = asDirectory
				}
			}
		}
		if r >= 0 {
			decided = append(decided, x.rules[r].pattern)
		}
		if r < 0 || x.rules[r].includes {
			kept = append(kept, ref)
		}
	}
	names.refs = kept
	return decided
}

// Tally counts the entries that each pattern decided on: left out, or for a pattern with ! taken in again. What is below an
// excluded directory is not counted. It is safe for concurrent use.
type Tally struct {
	patterns []string
	matched  []atomic.Uint64
}

// Tally makes one.
func (x *Excludes) Tally() *Tally {
	return &Tally{patterns: x.patterns, matched: make([]atomic.Uint64, len(x.patterns))}
}

// Add takes in what LeaveOut says of a directory. t may be nil.
func (t *Tally) Add(decided []int) {
	if t == nil {
		return
	}
	for _, pattern := range decided {
		t.matched[pattern].Add(1)
	}
}

// Each gives the patterns in order, with the number of entries.
func (t *Tally) Each(yield func(pattern string, entries uint64) bool) {
	for i, p := range t.patterns {
		if !yield(p, t.matched[i].Load()) {
			return
		}
	}
}
