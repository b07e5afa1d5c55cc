package layer

import (
	"context"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/evidence"
)

// Verify reads the whole layer and checks every checksum that there is of it, the search index included. A page of the search index that
// is damaged is reported last, as all rows can be read without it; then only is search set. It caches nothing.
func (l *Layer) Verify(ctx context.Context) (search bool, err error) {
	x, err := l.index(ctx)
	if err != nil {
		return false, err
	}
	hash, at := xxhash.New(), int64(0)
	take := func(n int64) ([]byte, error) {
		body, err := l.readRange(ctx, at, n)
		at += n
		_, _ = hash.Write(body)
		return body, err
	}
	magic, err := take(int64(len(parquetMagic)))
	if err == nil && string(magic) != parquetMagic {
		err = &FormatError{Object: l.object(), Reason: "it is not a Parquet file"}
	}
	if err != nil {
		return false, err
	}
	var row evidence.Row
	for i := range x.groups {
		g := &x.groups[i]
		body, err := take(g.Bytes)
		if err != nil {
			return false, err
		}
		b, err := decodeBlock(RawGroup{Group: *g, Data: body, object: l.object()})
		if err != nil {
			return false, err
		}
		if err := b.LoadKeys(); err != nil {
			return false, err
		}
		for j := range b.Len() {
			if err := b.Row(j, &row); err != nil {
				return false, err
			}
		}
	}
	var damaged error
	if s := &x.search; s.span > 0 {
		for i := range s.pages[:pagesIn(s.version)] {
			body, err := take(s.pages[i].bytes)
			if err != nil {
				return false, err
			}
			damaged = errors.Join(damaged, l.checkPage(&s.pages[i], body))
		}
	}
	for at < l.info.Bytes {
		if _, err := take(min(MaxRange, l.info.Bytes-at)); err != nil {
			return false, err
		}
	}
	if damaged != nil {
		return true, damaged
	}
	if got := fmt.Sprintf("%016x", hash.Sum64()); l.info.Hash != "" && got != l.info.Hash {
		return true, &FormatError{Object: l.object(), Reason: "its footer is damaged: the checksum of the whole differs"}
	}
	return false, nil
}
