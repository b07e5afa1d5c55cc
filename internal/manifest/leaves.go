package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// A view of many partitions has head in two levels: head names leaves, and each leaf is an object with a run of base partitions.
//
//	head, manifest   [ L1 │ L2 │ L3 ]     counts, sessions, deltas
//	leaves             │    │    └──────▶ [ P513 … P768 ]
//	                   │    └───────────▶ [ P257 … P512 ]
//	                   └────────────────▶ [ P1 … P256 ]
//
// A commit writes the leaves that changed: a fold changes none, and a step of a merge one or two. All others the new version has in common
// with the one that it was made from. So the versions that have a leaf follow each other without a gap, like those that have a layer, and
// retention keeps and removes leaves by the same rules. A leaf has a unique name and never changes, so readers keep what they have read.

const (
	// InlinePartitions is how many base partitions a version has in head itself at most, a billion rows: readers of smaller views ask for no
	// leaves.
	InlinePartitions = 1000
	// leafPartitions is about how many base partitions a leaf has.
	leafPartitions = 256
	// leafReads bounds the leaves that one call reads or writes at once: those of 16,000 partitions are one round.
	leafReads = 64
	// leavesFormat is the manifest's format from which on versions have leaves; leafFormat that of a leaf itself.
	leavesFormat = 2
	leafFormat   = 1
)

// Leaf is what a version says of a run of its base partitions.
type Leaf struct {
	ID         string    `json:"id"` // ULID; names the object
	First      layer.Key `json:"first"`
	Last       layer.Key `json:"last"`
	Partitions int       `json:"partitions"`
	// Rows, Removed and Bytes are the sums of its partitions'.
	Rows    int64 `json:"rows"`
	Removed int64 `json:"removed,omitempty"`
	Bytes   int64 `json:"bytes"`
	// Marks are those of its partitions together; nil where one has none.
	Marks *layer.Marks `json:"marks,omitempty"`
	// Sum is that of the partitions' ids, in order. What a layer's Info says never changes, so leaves of one sum are of one content.
	Sum string `json:"ids_sha256"`
}

// leafObject is the object of a leaf.
type leafObject struct {
	Format     int          `json:"format"`
	Partitions []layer.Info `json:"partitions"`
}

// sumOf is the Leaf.Sum of a run of partitions: the first 16 bytes of the SHA-256 of their ids, each with a newline, in hex.
func sumOf(parts []layer.Info) string {
	h := sha256.New()
	for i := range parts {
		_, _ = io.WriteString(h, parts[i].ID)
		_, _ = io.WriteString(h, "\n")
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// leafOf is the leaf of a run of partitions.
func leafOf(id string, parts []layer.Info) Leaf {
	f := sumsOf(parts)
	f.ID, f.First, f.Last, f.Sum, f.Marks = id, parts[0].First, parts[len(parts)-1].Last, sumOf(parts), marksOf(parts)
	return f
}

// sumsOf are the sums of partitions.
func sumsOf(parts []layer.Info) (f Leaf) {
	f.Partitions = len(parts)
	for i := range parts {
		f.Rows += parts[i].Rows
		f.Removed += parts[i].Removed
		f.Bytes += parts[i].Bytes
	}
	return f
}

// marksOf are the marks of partitions together; nil where one has none.
func marksOf(parts []layer.Info) *layer.Marks {
	all := &layer.Marks{}
	for i := range parts {
		of := parts[i].Marks
		if of == nil {
			return nil
		}
		all.AgentMissing += of.AgentMissing
		all.SuspectUntilNs = max(all.SuspectUntilNs, of.SuspectUntilNs)
	}
	return all
}

// says reports whether a run of partitions is what the version says of the leaf.
func (f *Leaf) says(parts []layer.Info) bool {
	if len(parts) == 0 {
		return false
	}
	is, said := leafOf(f.ID, parts), *f
	if (is.Marks == nil) != (said.Marks == nil) || is.Marks != nil && *is.Marks != *said.Marks {
		return false
	}
	is.Marks, said.Marks = nil, nil
	return is == said
}

// matches reports whether a run of as many partitions as the leaf has is the leaf's.
func (f *Leaf) matches(parts []layer.Info) bool {
	return parts[0].First == f.First && parts[len(parts)-1].Last == f.Last && sumOf(parts) == f.Sum
}

// decodeLeaf reads the partitions of a leaf, which is the object of that key.
func decodeLeaf(object string, body []byte, of *Leaf) ([]layer.Info, error) {
	var leaf leafObject
	body, err := unpack(body)
	if err == nil {
		body, err = seal.Open(object, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &leaf)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %v", object, ErrFormat, err)
	case leaf.Format != leafFormat:
		return nil, fmt.Errorf("%s: %w: its format is %d, this build reads %d", object, ErrFormat, leaf.Format, leafFormat)
	case !of.says(leaf.Partitions):
		return nil, fmt.Errorf("%s: %w: it has other partitions than the version says", object, ErrFormat)
	}
	for i := 1; i < len(leaf.Partitions); i++ {
		if a, b := &leaf.Partitions[i-1], &leaf.Partitions[i]; a.Last.Compare(b.First) >= 0 {
			return nil, fmt.Errorf("%s: %w: its partitions %s and %s overlap", object, ErrFormat, a.ID, b.ID)
		}
	}
	return leaf.Partitions, nil
}

// encodeLeaf writes partitions as decodeLeaf reads them.
func encodeLeaf(object string, parts []layer.Info) ([]byte, error) {
	body, err := seal.JSON(object, leafObject{leafFormat, parts})
	if err != nil {
		return nil, err
	}
	return pack(body)
}

// checkLeaves refuses a list of leaves that no build writes.
func (m *Manifest) checkLeaves() error {
	if len(m.Leaves) > 0 && (m.Format < leavesFormat || len(m.Base) > 0) {
		return errors.New("it has leaves beside partitions, or before there were any")
	}
	for i := range m.Leaves {
		f := &m.Leaves[i]
		if f.Partitions < 1 || i > 0 && m.Leaves[i-1].Last.Compare(f.First) >= 0 {
			return fmt.Errorf("leaf %s is empty, or out of order", f.ID)
		}
		if _, err := ulid.ParseStrict(f.ID); err != nil {
			return fmt.Errorf("leaf %q: %v", f.ID, err)
		}
	}
	return nil
}

// newLeaf is a leaf that is to be written.
type newLeaf struct {
	*Leaf
	parts []layer.Info
}

// layOut divides the base into leaves, or into none if it has at most so many partitions as may be inline, and returns those that are to be
// written. Leaves at the beginning and at the end that are as they were in the version before stay, and what is between them is divided
// anew, with a neighbour if it is short.
func (m *Manifest) layOut(inline, size int) (fresh []newLeaf) {
	old := m.Leaves
	m.Leaves = nil
	if len(m.Base) <= inline {
		return nil
	}
	from, head := 0, 0 // the first partition, and the first leaf, that do not stay
	for ; head < len(old); head++ {
		end := from + old[head].Partitions
		if end > len(m.Base) || !old[head].matches(m.Base[from:end]) {
			break
		}
		from = end
	}
	end, tail := len(m.Base), len(old)
	for ; tail > head; tail-- {
		begin := end - old[tail-1].Partitions
		if begin < from || !old[tail-1].matches(m.Base[begin:end]) {
			break
		}
		end = begin
	}
	if end-from > 0 && end-from < size/2 {
		switch {
		case head > 0:
			head--
			from -= old[head].Partitions
		case tail < len(old):
			end += old[tail].Partitions
			tail++
		}
	}
	leaves := append([]Leaf(nil), old[:head]...)
	for pieces := (end - from + size - 1) / size; pieces > 0; pieces-- {
		n := (end - from) / pieces
		parts := m.Base[from : from+n]
		leaves = append(leaves, leafOf(m.leafID(len(fresh)), parts))
		fresh = append(fresh, newLeaf{parts: parts})
		from += n
	}
	m.Leaves = append(leaves, old[tail:]...)
	for i := range fresh {
		fresh[i].Leaf = &m.Leaves[head+i]
	}
	return fresh
}

// leafID names the i-th leaf that is written for a version: a ULID of the time when it was made, and otherwise of its key, which is unique.
func (m *Manifest) leafID(i int) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(0, m.FoldedAt/1e6)))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", m.Key(), i))
	_ = id.SetEntropy(sum[:10])
	return id.String()
}

// putLeaves writes the leaves of a version that are not there yet.
func (m *Manifest) putLeaves(ctx context.Context, st store.Store, fresh []newLeaf) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(leafReads)
	for _, f := range fresh {
		g.Go(func() error {
			key := layout.Leaf(m.View, f.ID)
			body, err := encodeLeaf(key, f.parts)
			if err == nil {
				_, err = st.Put(ctx, key, body)
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", key, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Leaves reads and publishes versions. It remembers, for each view, the partitions of the version that it read or published last, so that
// of the next one it reads only the leaves that changed. It is safe for concurrent use. A nil *Leaves remembers nothing.
type Leaves struct {
	inline, size int
	budget       int64

	mu    sync.Mutex
	known map[string]assembled // by view
	bytes int64                // of those known, about
}

// assembled are the partitions of one version, of which nothing is ever changed.
type assembled struct {
	leaves []Leaf
	base   []layer.Info
	bytes  int64
}

// NewLeaves remembers about budget bytes of partitions; beyond that it drops those of other views, in no order. inline is how many base
// partitions a version that it publishes has in head itself, 0: InlinePartitions. Fewer make leaves smaller, too: tests ask for that.
func NewLeaves(budget int64, inline int) *Leaves {
	l := &Leaves{inline: InlinePartitions, size: leafPartitions, budget: budget, known: map[string]assembled{}}
	if inline > 0 {
		l.inline, l.size = inline, min(inline, leafPartitions)
	}
	return l
}

func (l *Leaves) limits() (inline, size int) {
	if l == nil {
		return InlinePartitions, leafPartitions
	}
	return l.inline, l.size
}

func (l *Leaves) get(view string) assembled {
	if l == nil {
		return assembled{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[view]
}

// remember notes the partitions of a version that is read or published.
func (l *Leaves) remember(m *Manifest) {
	if l == nil {
		return
	}
	a := assembled{m.Leaves, m.Base[:len(m.Base):len(m.Base)], 0}
	if len(m.Leaves) > 0 {
		a.bytes = MemoryOf(m.Base)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	drop := func(view string) {
		l.bytes -= l.known[view].bytes
		delete(l.known, view)
	}
	drop(m.View)
	for view := range l.known {
		if l.bytes+a.bytes <= l.budget {
			break
		}
		drop(view)
	}
	if len(m.Leaves) > 0 && a.bytes <= l.budget {
		l.known[m.View] = a
		l.bytes += a.bytes
	}
}

// MemoryOf is about how many bytes layers take in memory.
func MemoryOf(layers []layer.Info) (n int64) {
	for i := range layers {
		l := &layers[i]
		n += 256 + int64(len(l.Index)+len(l.First.Parent)+len(l.First.Name)+len(l.Last.Parent)+len(l.Last.Name))
	}
	return n
}

// ReadLeaf reads the partitions of a leaf. store.ErrNotFound where it is missing.
func ReadLeaf(ctx context.Context, st store.Store, view string, f *Leaf) ([]layer.Info, error) {
	key := layout.Leaf(view, f.ID)
	o, err := st.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return decodeLeaf(key, o.Body, f)
}

// fill gives a version the partitions of its leaves. It reads those that are not remembered, at once. store.ErrNotFound where one is
// missing.
func (l *Leaves) fill(ctx context.Context, st store.Store, m *Manifest) error {
	if !m.unread {
		return nil
	}
	before := l.get(m.View)
	known, at := map[string][]layer.Info{}, 0
	for i := range before.leaves {
		end := at + before.leaves[i].Partitions
		known[before.leaves[i].ID] = before.base[at:end]
		at = end
	}
	parts := make([][]layer.Info, len(m.Leaves))
	total, same := 0, len(m.Leaves) == len(before.leaves)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(leafReads)
	for i := range m.Leaves {
		f := &m.Leaves[i]
		total += f.Partitions
		if p, ok := known[f.ID]; ok && f.Partitions == len(p) {
			parts[i], same = p, same && before.leaves[i].ID == f.ID
			continue
		}
		same = false
		g.Go(func() error {
			var err error
			parts[i], err = ReadLeaf(gctx, st, m.View, f)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	m.unread = false
	if same {
		m.Base = before.base
		return nil
	}
	m.Base = make([]layer.Info, 0, total)
	for _, p := range parts {
		m.Base = append(m.Base, p...)
	}
	l.remember(m)
	return nil
}
