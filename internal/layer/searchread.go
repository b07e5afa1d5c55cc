package layer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/diskcache"
)

// MayHave are the row groups that may have a name as n says; all of them (nil) where n is empty or the layer has no search
// index. It takes at most one request, and one more where trigrams leave many columns, as long as the pages that n needs
// lie close to each other, as they do. A damaged index is a FormatError; the row groups can be read all the same.
func (l *Layer) MayHave(ctx context.Context, n *Needle) (*GroupSet, error) {
	return l.mayHave(ctx, n, fewColumns)
}

// mayHave is MayHave, and asks for parts and bridges where trigrams leave more than few columns.
func (l *Layer) mayHave(ctx context.Context, n *Needle, few int) (*GroupSet, error) {
	if n.Empty() {
		return nil, nil
	}
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	s := &x.search
	if s.span == 0 {
		return nil, nil
	}
	first, more := n.in(s)
	if len(first)+len(more) == 0 {
		return nil, nil
	}
	columns := s.columns(len(x.groups))
	out := &GroupSet{span: s.span, columns: make([]byte, (columns+7)/8)}
	for i := range columns {
		out.columns[i/8] |= 1 << (i % 8)
	}
	if err := l.narrow(ctx, s, out, columns, first); err != nil {
		return nil, err
	}
	if out.count() > few {
		if err := l.narrow(ctx, s, out, columns, more); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// narrow keeps those columns of a set that have the bits of all slots, which are in order.
func (l *Layer) narrow(ctx context.Context, s *searchSection, set *GroupSet, columns int, slots []uint32) error {
	if len(slots) == 0 {
		return nil
	}
	pages, err := l.searchPages(ctx, s, pagesOf(slots))
	if err != nil {
		return err
	}
	width := len(set.columns)
	plain, at, first := []byte(nil), -1, 0
	for _, slot := range slots {
		if page := pageOf(slot); page != at {
			if plain, err = l.plainPage(s, page, pages[page], columns, plain[:0]); err != nil {
				return err
			}
			at = page
			first, _ = pageSlots(page)
		}
		row := plain[(int(slot)-first)*width:][:width]
		for i, b := range row {
			set.columns[i] &= b
		}
	}
	return nil
}

// pagesOf are the pages that have some slots.
func pagesOf(slots []uint32) (pages []int) {
	for _, s := range slots {
		if p := pageOf(s); len(pages) == 0 || pages[len(pages)-1] != p {
			pages = append(pages, p)
		}
	}
	return pages
}

// searchKey is the cache's key of a page of the search index.
func (l *Layer) searchKey(page int) cacheKey { return l.cacheKey(-2 - page) }

// searchPages are pages of the search index, compressed.
func (l *Layer) searchPages(ctx context.Context, s *searchSection, pages []int) (map[int][]byte, error) {
	keys := make([]cacheKey, len(pages))
	for i, p := range pages {
		keys[i] = l.searchKey(p)
	}
	found, err := l.cache.loadMany(ctx, keys, func(ctx context.Context, missing []cacheKey) (map[cacheKey]cached, error) {
		return l.readSearchPages(ctx, s, missing)
	})
	if err != nil {
		return nil, err
	}
	out := make(map[int][]byte, len(pages))
	for i, p := range pages {
		out[p] = found[keys[i]].page
	}
	return out, nil
}

// readSearchPages reads pages, and those between them, as they come with the same request.
func (l *Layer) readSearchPages(ctx context.Context, s *searchSection, keys []cacheKey) (map[cacheKey]cached, error) {
	first, last := searchPages, 0
	for _, k := range keys {
		page := -2 - k.group
		first, last = min(first, page), max(last, page)
	}
	var wanted []byteRange
	for page := first; page <= last; page++ {
		wanted = append(wanted, s.pages[page].extent())
	}
	if len(keys) < len(wanted) && s.pages[last].offset-s.pages[first].offset > CoalesceGap {
		return l.readSearchPagesApart(ctx, s, keys)
	}
	out := make(map[cacheKey]cached, len(wanted))
	bodies := make([][]byte, len(wanted))
	err := l.readRanges(ctx, diskcache.Indexes, wanted, func(i int, body []byte) error {
		bodies[i] = body
		return l.checkPage(&s.pages[first+i], body)
	})
	for i, body := range bodies {
		out[l.searchKey(first+i)] = cached{page: body}
	}
	return out, err
}

// readSearchPagesApart is for search indexes so large that reading them whole costs more than another request.
func (l *Layer) readSearchPagesApart(ctx context.Context, s *searchSection, keys []cacheKey) (map[cacheKey]cached, error) {
	slices.SortFunc(keys, func(a, b cacheKey) int { return b.group - a.group })
	wanted := make([]byteRange, len(keys))
	for i, k := range keys {
		wanted[i] = s.pages[-2-k.group].extent()
	}
	bodies := make([][]byte, len(keys))
	err := l.readRanges(ctx, diskcache.Indexes, wanted, func(i int, body []byte) error {
		bodies[i] = body
		return l.checkPage(&s.pages[-2-keys[i].group], body)
	})
	out := make(map[cacheKey]cached, len(keys))
	for i, k := range keys {
		out[k] = cached{page: bodies[i]}
	}
	return out, err
}

func (p *searchPage) extent() byteRange { return byteRange{p.offset, p.bytes, p.hash} }

func (l *Layer) checkPage(p *searchPage, body []byte) error {
	if xxhash.Sum64(body) != p.hash {
		return l.searchFault(p, errors.New("its checksum differs"))
	}
	return nil
}

func (l *Layer) searchFault(p *searchPage, err error) error {
	return &FormatError{Object: l.object(), Reason: fmt.Sprintf("the page of the search index at %d+%d is damaged: %v", p.offset, p.bytes, err)}
}

// plainPage decompresses a page.
func (l *Layer) plainPage(s *searchSection, page int, body []byte, columns int, to []byte) ([]byte, error) {
	z, err := decompressor()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	plain, err := z.DecodeAll(body, to)
	if _, slots := pageSlots(page); err == nil && len(plain) != slots*((columns+7)/8) {
		err = fmt.Errorf("it has %d bytes", len(plain))
	}
	if err != nil {
		return nil, l.searchFault(&s.pages[page], err)
	}
	return plain, nil
}

// searchColumns is the whole search index by columns, for copying row groups into a new layer. It is nil if there is none, it
// cannot be read, or it is of an earlier version: then the names themselves are indexed again, and the copy has a good one.
func (l *Layer) searchColumns(ctx context.Context, x *index) []*slotSet {
	if known := l.grams.Load(); known != nil {
		return *known
	}
	columns, err := l.readSearchColumns(ctx, x)
	if err != nil {
		columns = nil
	}
	if err == nil || isFormat(err) {
		l.grams.Store(&columns)
	}
	return columns
}

func (l *Layer) readSearchColumns(ctx context.Context, x *index) ([]*slotSet, error) {
	s := &x.search
	if s.span == 0 || s.version < foldVersion {
		return nil, nil
	}
	columns := make([]*slotSet, s.columns(len(x.groups)))
	for i := range columns {
		columns[i] = &slotSet{}
	}
	extents := make([]byteRange, searchPages)
	for i := range s.pages {
		extents[i] = s.pages[i].extent()
	}
	bodies := make([][]byte, searchPages)
	err := l.readRanges(ctx, diskcache.Indexes, extents, func(i int, body []byte) error {
		bodies[i] = body
		return l.checkPage(&s.pages[i], body)
	})
	plain := []byte(nil)
	for i := 0; err == nil && i < searchPages; i++ {
		if plain, err = l.plainPage(s, i, bodies[i], len(columns), plain[:0]); err == nil {
			addPage(columns, i, plain)
		}
	}
	return columns, err
}

func isFormat(err error) bool {
	var f *FormatError
	return errors.As(err, &f)
}
