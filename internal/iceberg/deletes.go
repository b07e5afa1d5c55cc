package iceberg

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/fustor/fustor/internal/layer"
)

// The field ids that the specification reserves for the columns of a position-delete file.
const (
	deletePathID     = 2147483546
	deletePositionID = 2147483545
)

// rows are positions of rows in one layer's file, ascending.
type rows struct {
	layer     *layer.Layer
	positions []int64
}

// seeker finds keys, which come in ascending order, in a layer. It reads the row groups that may have them.
type seeker struct {
	rows
	groups []layer.Group
	starts []int64 // the position of each row group's first row
	group  int
	block  *layer.Block // nil: not read
	row    int
}

func newSeeker(ctx context.Context, l *layer.Layer) (*seeker, error) {
	groups, err := l.Groups(ctx)
	if err != nil {
		return nil, err
	}
	return &seeker{rows: rows{layer: l}, groups: groups, starts: startsOf(groups)}, nil
}

func startsOf(groups []layer.Group) []int64 {
	starts, at := make([]int64, len(groups)), int64(0)
	for i := range groups {
		starts[i] = at
		at += int64(groups[i].Rows)
	}
	return starts
}

// find notes the position of a key, if the layer has it.
func (s *seeker) find(ctx context.Context, k layer.Key) error {
	if s.group < len(s.groups) && s.groups[s.group].Last.Compare(k) < 0 {
		rest := s.groups[s.group:]
		s.group += sort.Search(len(rest), func(i int) bool { return rest[i].Last.Compare(k) >= 0 })
		s.block, s.row = nil, 0
	}
	if s.group == len(s.groups) || s.groups[s.group].First.Compare(k) > 0 {
		return nil
	}
	if s.block == nil {
		b, err := s.layer.Block(ctx, s.group)
		if err != nil {
			return err
		}
		s.block = b
	}
	s.row = s.block.SearchFrom(s.row, k)
	if s.row < s.block.Len() && s.block.Key(s.row) == k {
		s.positions = append(s.positions, s.starts[s.group]+int64(s.row))
	}
	return nil
}

// superseded finds the rows of older layers whose keys a newer layer has. It reads the keys of the newer one, and of the older ones the
// row groups that may have them.
func superseded(ctx context.Context, newer *layer.Layer, older []*layer.Layer) ([]rows, error) {
	groups, err := newer.Groups(ctx)
	if err != nil {
		return nil, err
	}
	seekers := make([]*seeker, 0, len(older))
	for _, l := range older {
		s, err := newSeeker(ctx, l)
		if err != nil {
			return nil, err
		}
		seekers = append(seekers, s)
	}
	for g := range groups {
		var near []*seeker
		for _, s := range seekers {
			if info := s.layer.Info(); info.First.Compare(groups[g].Last) <= 0 && groups[g].First.Compare(info.Last) <= 0 {
				near = append(near, s)
			}
		}
		if len(near) == 0 {
			continue
		}
		b, err := newer.Block(ctx, g)
		if err != nil {
			return nil, err
		}
		for i := range b.Len() {
			k := b.Key(i)
			for _, s := range near {
				if err := s.find(ctx, k); err != nil {
					return nil, err
				}
			}
		}
	}
	var found []rows
	for _, s := range seekers {
		if len(s.positions) > 0 {
			found = append(found, s.rows)
		}
	}
	return found, nil
}

// tombstones finds a layer's own tombstones. It reads the row groups that have any.
func tombstones(ctx context.Context, l *layer.Layer) (rows, error) {
	found := rows{layer: l}
	groups, err := l.Groups(ctx)
	if err != nil {
		return found, err
	}
	starts := startsOf(groups)
	for g := range groups {
		if groups[g].Removed == 0 {
			continue
		}
		b, err := l.Block(ctx, g)
		if err != nil {
			return found, err
		}
		removed, err := b.Numbers(layer.ColumnRemoved)
		if err != nil {
			return found, err
		}
		for i := range b.Len() {
			if removed.At(i) != 0 {
				found.positions = append(found.positions, starts[g]+int64(i))
			}
		}
	}
	return found, nil
}

// deletedRow is a row of a position-delete file.
type deletedRow struct {
	Path     string `parquet:"file_path"`
	Position int64  `parquet:"pos"`
}

var deleteSchema = parquet.NewSchema("table", parquet.Group{
	"file_path": parquet.FieldID(parquet.Compressed(parquet.Encoded(parquet.String(), &parquet.RLEDictionary), &parquet.Zstd), deletePathID),
	"pos":       parquet.FieldID(parquet.Compressed(parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked), &parquet.Zstd), deletePositionID),
})

// encodeDeletes is a position-delete file, sorted by path and position as the specification asks.
func encodeDeletes(found []rows, path func(*layer.Layer) string) ([]byte, error) {
	slices.SortFunc(found, func(a, b rows) int { return strings.Compare(path(a.layer), path(b.layer)) })
	var out bytes.Buffer
	w := parquet.NewGenericWriter[deletedRow](&out, deleteSchema, parquet.CreatedBy("fustor", "3.0.0", "deletes"))
	buffer := make([]deletedRow, 0, 4096)
	for _, r := range found {
		for chunk := range slices.Chunk(r.positions, cap(buffer)) {
			buffer = buffer[:0]
			for _, p := range chunk {
				buffer = append(buffer, deletedRow{path(r.layer), p})
			}
			if _, err := w.Write(buffer); err != nil {
				return nil, fmt.Errorf("write a position-delete file: %w", err)
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end a position-delete file: %w", err)
	}
	return out.Bytes(), nil
}
