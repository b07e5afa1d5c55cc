package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/fustor/fustor/internal/diskcache"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Layer is a published layer. It is safe for concurrent use.
type Layer struct {
	st     store.Store
	view   string
	info   Info
	cache  *Cache
	loaded atomic.Pointer[index]
	grams  atomic.Pointer[[]*slotSet] // the search index, once row groups were taken for copying
}

// New is a layer of which nothing is read before it is needed.
func New(st store.Store, view string, info Info, c *Cache) *Layer {
	return &Layer{st: st, view: view, info: info, cache: c}
}

// Open is New with the index read and checked: one GET, or none where the index is in info.
func Open(ctx context.Context, st store.Store, view string, info Info, c *Cache) (*Layer, error) {
	l := New(st, view, info, c)
	_, err := l.index(ctx)
	return l, err
}

// Info is what the manifest says of the layer.
func (l *Layer) Info() Info { return l.info }

// Groups are the layer's row groups, in key order. They must not be changed.
func (l *Layer) Groups(ctx context.Context) ([]Group, error) {
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	return x.groups, nil
}

func (l *Layer) object() string          { return layout.Layer(l.view, l.info.ID) }
func (l *Layer) cacheKey(i int) cacheKey { return cacheKey{view: l.view, id: l.info.ID, group: i} }

func (l *Layer) index(ctx context.Context) (*index, error) {
	if x := l.loaded.Load(); x != nil {
		return x, nil
	}
	v, err := l.cache.load(ctx, l.cacheKey(-1), l.readIndex)
	if err != nil {
		return nil, err
	}
	// The cache goes by the id; the info may still be wrong.
	if err := v.index.check(&l.info); err != nil {
		return nil, &FormatError{Object: l.object(), Reason: err.Error()}
	}
	l.loaded.Store(v.index)
	return v.index, nil
}

func (l *Layer) readIndex(ctx context.Context) (cached, error) {
	if len(l.info.Index) > 0 {
		return l.parseIndex(l.object()+" (its index, in the manifest)", l.info.Index)
	}
	key := layout.LayerIndex(l.view, l.info.ID)
	part := diskcache.Part{Kind: diskcache.Indexes, Object: key, Bytes: -1}
	var found cached
	if l.cache.disk.Get(part, func(body []byte) bool {
		var err error
		found, err = l.parseIndex(key, body)
		return err == nil
	}) != nil {
		spend(ctx, Cost{Hits: 1})
		return found, nil
	}
	o, err := l.st.Get(ctx, key)
	spend(ctx, Cost{Gets: 1, Bytes: int64(len(o.Body))})
	if err != nil {
		return cached{}, readError(key, err)
	}
	if found, err = l.parseIndex(key, o.Body); err == nil {
		l.cache.disk.Put(part, o.Body)
	}
	return found, err
}

func (l *Layer) parseIndex(object string, body []byte) (cached, error) {
	x, err := decodeIndex(body, &l.info)
	if err != nil {
		return cached{}, &FormatError{Object: object, Reason: err.Error()}
	}
	return cached{index: x}, nil
}

// Block is row group i, decoded: at most one GET.
func (l *Layer) Block(ctx context.Context, i int) (*Block, error) {
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(x.groups) {
		return nil, fmt.Errorf("layer %s has no row group %d", l.info.ID, i)
	}
	v, err := l.cache.load(ctx, l.cacheKey(i), func(ctx context.Context) (cached, error) {
		g := &x.groups[i]
		body, err := l.readPart(ctx, diskcache.Rows, g.extent())
		if err != nil {
			return cached{}, err
		}
		spend(ctx, Cost{Groups: 1})
		b, err := decodeBlock(RawGroup{Group: *g, Data: body, object: l.object()})
		return cached{block: b}, err
	})
	if err != nil {
		return nil, err
	}
	return v.block, v.block.LoadKeys()
}

// decoded is the block of a row group that was read already.
func (l *Layer) decoded(ctx context.Context, i int, raw RawGroup) (*Block, error) {
	v, err := l.cache.load(ctx, l.cacheKey(i), func(context.Context) (cached, error) {
		b, err := decodeBlock(raw)
		return cached{block: b}, err
	})
	if err != nil {
		return nil, err
	}
	return v.block, v.block.LoadKeys()
}

// RawGroup is row group i as it is stored, for Writer.AppendGroup: one GET.
func (l *Layer) RawGroup(ctx context.Context, i int) (RawGroup, error) {
	raw, err := l.RawGroups(ctx, i, i+1)
	if err != nil {
		return RawGroup{}, err
	}
	return raw[0], nil
}

// BlockToCopy is row group i, decoded, for Writer.AppendBlock: one GET. It is not cached, and knows what the search index has of it.
func (l *Layer) BlockToCopy(ctx context.Context, i int) (*Block, error) {
	raw, err := l.RawGroup(ctx, i)
	if err != nil {
		return nil, err
	}
	return decodeBlock(raw)
}

// RawGroups are the row groups from to to-1, read with one GET. They are not cached, and checked when they are used.
func (l *Layer) RawGroups(ctx context.Context, from, to int) ([]RawGroup, error) {
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	if from < 0 || from >= to || to > len(x.groups) {
		return nil, fmt.Errorf("layer %s has no row groups %d to %d", l.info.ID, from, to)
	}
	raw, err := l.readGroups(ctx, x, from, to)
	if err != nil {
		return nil, err
	}
	if columns := l.searchColumns(ctx, x); columns != nil {
		for i := range raw {
			raw[i].grams = columns[(from+i)/x.search.span]
		}
	}
	return raw, nil
}

func (l *Layer) readGroups(ctx context.Context, x *index, from, to int) ([]RawGroup, error) {
	first, last := &x.groups[from], &x.groups[to-1]
	body, err := l.readRange(ctx, first.Offset, last.Offset+last.Bytes-first.Offset)
	if err != nil {
		return nil, err
	}
	spend(ctx, Cost{Groups: int64(to - from)})
	out := make([]RawGroup, 0, to-from)
	for i := from; i < to; i++ {
		g := &x.groups[i]
		at := g.Offset - first.Offset
		out = append(out, RawGroup{Group: *g, Data: body[at : at+g.Bytes : at+g.Bytes], object: l.object()})
	}
	return out, nil
}

// readRange reads a part of the layer's object.
func (l *Layer) readRange(ctx context.Context, offset, n int64) ([]byte, error) {
	body, err := l.st.GetRange(ctx, l.object(), offset, n)
	spend(ctx, Cost{Gets: 1, Bytes: int64(len(body))})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, &FormatError{Object: l.object(), Err: err, Reason: fmt.Sprintf("the object ends before byte %d, which its index refers to", offset+n)}
	}
	if err != nil {
		return nil, readError(l.object(), err)
	}
	if int64(len(body)) != n {
		return nil, &FormatError{Object: l.object(), Reason: fmt.Sprintf("the store sent %d bytes instead of %d", len(body), n)}
	}
	return body, nil
}
