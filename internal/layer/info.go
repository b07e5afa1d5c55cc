package layer

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/fustor/fustor/internal/event"
)

// Key is a row's position in a view's order: by Parent, then by Name, as plain bytes.
type Key struct{ Parent, Name string }

// KeyOf is the key of a path ("/" or "/a/b").
func KeyOf(path string) Key {
	p, n := event.Split(path)
	return Key{p, n}
}

// Compare is negative, zero or positive as k stands before, at or after o.
func (k Key) Compare(o Key) int {
	if c := strings.Compare(k.Parent, o.Parent); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

// clone is the key in memory of its own: that of a row holds all text of the row's row group.
func (k Key) clone() Key { return Key{strings.Clone(k.Parent), strings.Clone(k.Name)} }

// Path is the key's path: "/" for the root.
func (k Key) Path() string {
	if k.Parent == "" {
		return "/"
	}
	return k.Parent + k.Name
}

// MarshalText writes the key as its path, percent-escaped so that any bytes survive JSON; the root is empty.
func (k Key) MarshalText() ([]byte, error) {
	return []byte(strings.ReplaceAll(url.PathEscape(k.Parent+k.Name), "%2F", "/")), nil
}

// UnmarshalText undoes MarshalText.
func (k *Key) UnmarshalText(text []byte) error {
	p, err := url.PathUnescape(string(text))
	if err != nil {
		return fmt.Errorf("layer key %q: %w", text, err)
	}
	i := strings.LastIndexByte(p, '/')
	if i < 0 && p != "" || p != "" && p[0] != '/' {
		return fmt.Errorf("layer key %q: not a path", text)
	}
	k.Parent, k.Name = p[:i+1], p[i+1:]
	return nil
}

// Info is what a manifest keeps of a layer: enough to know whether a key can be in it, and to find its index.
type Info struct {
	ID      string `json:"id"` // ULID; names the objects
	First   Key    `json:"first"`
	Last    Key    `json:"last"`
	Rows    int64  `json:"rows"`              // removed ones included
	Removed int64  `json:"removed,omitempty"` // tombstones among them
	Bytes   int64  `json:"bytes"`             // of the Parquet object
	// Index is the layer's index itself where it is small; otherwise it is an object of IndexBytes beside the layer.
	Index      []byte `json:"index,omitempty"`
	IndexBytes int64  `json:"index_bytes,omitempty"`
	// Marks are of its rows, removed ones included; nil where the layer is older than they are.
	Marks *Marks `json:"marks,omitempty"`
	// Hash is the XXH64 of the whole Parquet object, in hex; empty where the layer is older than it is.
	Hash string `json:"xxh64,omitempty"`
}

// Marks sum up what is doubtful in a layer, so that layers without a doubtful row need not be read.
type Marks struct {
	AgentMissing   int64 `json:"agent_missing,omitempty"`    // rows with the mark
	SuspectUntilNs int64 `json:"suspect_until_ns,omitempty"` // the latest; 0 if none ever was suspect
}

// Marks are those of a row group.
func (g *Group) Marks() Marks { return Marks{int64(g.AgentMissing), g.SuspectUntilNs} }

func (m *Marks) add(g *Group) {
	of := g.Marks()
	m.AgentMissing += of.AgentMissing
	m.SuspectUntilNs = max(m.SuspectUntilNs, of.SuspectUntilNs)
}

// Covers reports whether k lies between the layer's first and last key.
func (i *Info) Covers(k Key) bool { return i.First.Compare(k) <= 0 && k.Compare(i.Last) <= 0 }
