package manifest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// Names are what the hosts of a view's agents call owners and groups, per source. A Names never changes; With makes another.
//
// Sources mostly agree. Where they do not, the name of a row's owner is that of the row's own source. A source that has no name for it
// takes the newest of the others. nil has no names.
type Names struct {
	sources map[string]*sourceNames
	users   lookup
	groups  lookup
}

// MaxNames bounds the names of a view. The newest ones stay.
const MaxNames = 100_000

type sourceNames struct{ users, groups map[uint32]resolved }

type resolved struct {
	name string
	at   int64 // ns, the store's time
}

// newer reports whether r replaces o. Of two of one time any counts, but always the same one.
func (r resolved) newer(o resolved) bool { return r.at > o.at || r.at == o.at && r.name > o.name }

// lookup is the names of users, or of groups.
type lookup struct {
	newest  map[uint32]resolved          // of all sources
	differs map[string]map[uint32]string // by source: those that are other than in newest
}

type namesJSON struct {
	Format  int          `json:"format"`
	Sources []sourceJSON `json:"sources"`
}

type sourceJSON struct {
	Source []byte     `json:"source"` // base64 in JSON, as it may hold a path
	Users  []nameJSON `json:"users,omitempty"`
	Groups []nameJSON `json:"groups,omitempty"`
}

type nameJSON struct {
	ID   uint32 `json:"id"`
	Name string `json:"name"`
	At   int64  `json:"resolved_at_ns"`
}

const namesFormat = 1

// DecodeNames reads the names of a view, which are the object of that key.
func DecodeNames(object string, body []byte) (*Names, error) {
	body, err := unpack(body)
	if err == nil {
		body, err = seal.Open(object, body)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", object, ErrFormat, err)
	}
	var j namesJSON
	if err := json.Unmarshal(body, &j); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", object, ErrFormat, err)
	}
	if j.Format != namesFormat {
		return nil, fmt.Errorf("%s: %w: its format is %d, this build reads %d", object, ErrFormat, j.Format, namesFormat)
	}
	n := &Names{sources: map[string]*sourceNames{}}
	for _, s := range j.Sources {
		of := &sourceNames{map[uint32]resolved{}, map[uint32]resolved{}}
		for _, part := range []struct {
			from []nameJSON
			to   map[uint32]resolved
		}{{s.Users, of.users}, {s.Groups, of.groups}} {
			for _, name := range part.from {
				if event.ValidOwnerName(name.Name) {
					part.to[name.ID] = resolved{name.Name, name.At}
				}
			}
		}
		n.sources[string(s.Source)] = of
	}
	n.index()
	return n, nil
}

// Encode writes the names as DecodeNames reads them from an object. Equal names have equal bytes.
func (n *Names) Encode(object string) ([]byte, error) {
	j := namesJSON{Format: namesFormat}
	for _, source := range slices.Sorted(maps.Keys(n.sources)) {
		of := n.sources[source]
		j.Sources = append(j.Sources, sourceJSON{[]byte(source), namesInOrder(of.users), namesInOrder(of.groups)})
	}
	body, err := seal.JSON(object, &j)
	if err != nil {
		return nil, err
	}
	return pack(body)
}

func namesInOrder(names map[uint32]resolved) (list []nameJSON) {
	for _, id := range slices.Sorted(maps.Keys(names)) {
		list = append(list, nameJSON{id, names[id].name, names[id].at})
	}
	return list
}

// ReadNames reads the names object of that id.
func ReadNames(ctx context.Context, st store.Store, view, id string) (*Names, error) {
	key := layout.Names(view, id)
	o, err := st.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return DecodeNames(key, o.Body)
}

// NewestNames are the names of the owners in a view's newest version; nil: none are known.
func NewestNames(ctx context.Context, st store.Store, view string) (*Names, error) {
	m, _, err := LoadRoot(ctx, st, view)
	if errors.Is(err, ErrNoHead) || err == nil && m.Names == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := ReadNames(ctx, st, view, m.Names)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrFormat) { // as elsewhere, numbers are better than nothing
		return nil, nil
	}
	return names, err
}

// With is the names with those that a source's host has told since, of which the newest count; changed is false if they say nothing new.
func (n *Names) With(told map[string][]event.OwnerName) (_ *Names, changed bool) {
	next := &Names{sources: map[string]*sourceNames{}}
	if n != nil {
		next.sources = maps.Clone(n.sources)
	}
	for source, names := range told {
		of := &sourceNames{map[uint32]resolved{}, map[uint32]resolved{}}
		if old := next.sources[source]; old != nil {
			of.users, of.groups = maps.Clone(old.users), maps.Clone(old.groups)
		}
		for _, name := range names {
			to := of.users
			if name.Group {
				to = of.groups
			}
			r := resolved{name.Name, name.ResolvedAt}
			if old, known := to[name.ID]; !known || r.newer(old) {
				to[name.ID], changed = r, true
			}
		}
		next.sources[source] = of
	}
	if !changed {
		return n, false
	}
	next.bound(MaxNames)
	next.index()
	return next, true
}

// bound drops the oldest names beyond most.
func (n *Names) bound(most int) {
	type named struct {
		source string
		group  bool
		id     uint32
		resolved
	}
	var all []named
	for source, of := range n.sources {
		for id, r := range of.users {
			all = append(all, named{source, false, id, r})
		}
		for id, r := range of.groups {
			all = append(all, named{source, true, id, r})
		}
	}
	if len(all) <= most {
		return
	}
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(a.id, b.id), strings.Compare(a.source, b.source))
	})
	n.sources = map[string]*sourceNames{} // the maps of those before may be shared, and must not change
	for _, name := range all[:most] {
		of := n.sources[name.source]
		if of == nil {
			of = &sourceNames{map[uint32]resolved{}, map[uint32]resolved{}}
			n.sources[name.source] = of
		}
		if name.group {
			of.groups[name.id] = name.resolved
		} else {
			of.users[name.id] = name.resolved
		}
	}
}

// index makes what look-ups need.
func (n *Names) index() {
	n.users = n.lookup(func(s *sourceNames) map[uint32]resolved { return s.users })
	n.groups = n.lookup(func(s *sourceNames) map[uint32]resolved { return s.groups })
}

func (n *Names) lookup(part func(*sourceNames) map[uint32]resolved) lookup {
	l := lookup{newest: map[uint32]resolved{}, differs: map[string]map[uint32]string{}}
	for _, of := range n.sources {
		for id, r := range part(of) {
			if old, known := l.newest[id]; !known || r.newer(old) {
				l.newest[id] = r
			}
		}
	}
	for source, of := range n.sources {
		for id, r := range part(of) {
			if r.name == l.newest[id].name {
				continue
			}
			if l.differs[source] == nil {
				l.differs[source] = map[uint32]string{}
			}
			l.differs[source][id] = r.name
		}
	}
	return l
}

// Len is how many names there are.
func (n *Names) Len() (sum int) {
	for _, of := range n.sources {
		sum += len(of.users) + len(of.groups)
	}
	return sum
}

// OwnerName is the name of a user, or of a group.
type OwnerName struct {
	Group  bool
	Source string // where it has this name; empty: wherever no other has been told of
	ID     uint32
	Name   string
}

// All are the names by which Name decides, users first, by number.
func (n *Names) All() iter.Seq[OwnerName] {
	return func(yield func(OwnerName) bool) {
		for _, group := range []bool{false, true} {
			l := &n.users
			if group {
				l = &n.groups
			}
			for _, id := range slices.Sorted(maps.Keys(l.newest)) {
				if !yield(OwnerName{group, "", id, l.newest[id].name}) {
					return
				}
			}
			for _, source := range slices.Sorted(maps.Keys(l.differs)) {
				for _, id := range slices.Sorted(maps.Keys(l.differs[source])) {
					if !yield(OwnerName{group, source, id, l.differs[source][id]}) {
						return
					}
				}
			}
		}
	}
}

func (l *lookup) name(source string, id uint32) string {
	if name, differs := l.differs[source][id]; differs {
		return name
	}
	return l.newest[id].name
}

// Name is what a user, or a group, is called where the source is; empty: it has no name.
func (n *Names) Name(group bool, source string, id uint32) string {
	if n == nil {
		return ""
	}
	if group {
		return n.groups.name(source, id)
	}
	return n.users.name(source, id)
}

// Shown is Name, or else the number.
func (n *Names) Shown(group bool, source string, id uint32) string {
	if name := n.Name(group, source, id); name != "" {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// IDs are the uids, or gids, that have the name in some source, in order.
func (n *Names) IDs(group bool, name string) []uint32 {
	if n == nil {
		return nil
	}
	l := &n.users
	if group {
		l = &n.groups
	}
	found := map[uint32]bool{}
	for id, r := range l.newest {
		if r.name == name {
			found[id] = true
		}
	}
	for _, differs := range l.differs {
		for id, other := range differs {
			if other == name {
				found[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
