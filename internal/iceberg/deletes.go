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

// ahead is how many row groups of a layer are read together at most: as many as mostly fit into one request, so that changes that are
// scattered over a view do not take a request for each.
const ahead = 8

// seeker finds keys, which come in ascending order, in a layer. It reads the row groups that may have them.
type seeker struct {
	rows
	groups []layer.Group
	starts []int64 // the position of each row group's first row
	group  int
	block  *layer.Block // nil: not read
	row    int
	held   layer.Held // read ahead
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

// find notes the position of the key of row i of a block, if the layer has it. The keys after it are those that are sought next.
func (s *seeker) find(ctx context.Context, sought *layer.Block, i int) error {
	k := sought.Key(i)
	if s.group < len(s.groups) && s.groups[s.group].Last.Compare(k) < 0 {
		rest := s.groups[s.group:]
		s.group += sort.Search(len(rest), func(i int) bool { return rest[i].Last.Compare(k) >= 0 })
		s.block, s.row = nil, 0
	}
	if s.group == len(s.groups) || s.groups[s.group].First.Compare(k) > 0 {
		return nil
	}
	if s.block == nil {
		if err := s.read(ctx, sought, i); err != nil {
			return err
		}
	}
	s.row = s.block.SearchFrom(s.row, k)
	if s.row < s.block.Len() && s.block.Key(s.row) == k {
		s.positions = append(s.positions, s.starts[s.group]+int64(s.row))
	}
	return nil
}

// read reads the row group that the seeker is at, and with it the next ones that keys from row i on may be in.
func (s *seeker) read(ctx context.Context, sought *layer.Block, i int) (err error) {
	at := layer.GroupRef{Layer: s.layer, Group: s.group}
	if s.held[at] == nil {
		if s.held, err = layer.Fetch(ctx, s.next(sought, i)); err != nil {
			return err
		}
	}
	s.block = s.held[at]
	delete(s.held, at)
	return s.block.LoadKeys()
}

// next are row groups that the keys from row i on may be in, the one that the seeker is at first.
func (s *seeker) next(sought *layer.Block, i int) (groups []layer.GroupRef) {
	for g := s.group; g < len(s.groups) && i < sought.Len() && len(groups) < ahead; {
		if i = sought.SearchFrom(i, s.groups[g].First); i == sought.Len() {
			break
		}
		if k := sought.Key(i); s.groups[g].Last.Compare(k) < 0 {
			rest := s.groups[g:]
			g += sort.Search(len(rest), func(i int) bool { return rest[i].Last.Compare(k) >= 0 })
			continue
		}
		groups = append(groups, layer.GroupRef{Layer: s.layer, Group: g})
		g++
	}
	return groups
}

// each reads row groups of a layer, some together, and hands them over in order, with their keys.
func each(ctx context.Context, l *layer.Layer, groups []int, use func(group int, b *layer.Block) error) error {
	for chunk := range slices.Chunk(groups, ahead) {
		refs := make([]layer.GroupRef, len(chunk))
		for i, g := range chunk {
			refs[i] = layer.GroupRef{Layer: l, Group: g}
		}
		held, err := layer.Fetch(ctx, refs)
		if err != nil {
			return err
		}
		for i, g := range chunk {
			b := held[refs[i]]
			delete(held, refs[i])
			if err := b.LoadKeys(); err != nil {
				return err
			}
			if err := use(g, b); err != nil {
				return err
			}
		}
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
	near := map[int][]*seeker{}
	var wanted []int
	for g := range groups {
		for _, s := range seekers {
			if info := s.layer.Info(); info.First.Compare(groups[g].Last) <= 0 && groups[g].First.Compare(info.Last) <= 0 {
				near[g] = append(near[g], s)
			}
		}
		if near[g] != nil {
			wanted = append(wanted, g)
		}
	}
	err = each(ctx, newer, wanted, func(g int, b *layer.Block) error {
		for i := range b.Len() {
			for _, s := range near[g] {
				if err := s.find(ctx, b, i); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
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
func tombstones(ctx context.Context, l *layer.Layer) (found rows, err error) {
	found.layer = l
	groups, err := l.Groups(ctx)
	if err != nil {
		return found, err
	}
	starts := startsOf(groups)
	var with []int
	for g := range groups {
		if groups[g].Removed > 0 {
			with = append(with, g)
		}
	}
	err = each(ctx, l, with, func(g int, b *layer.Block) error {
		removed, err := b.Numbers(layer.ColumnRemoved)
		if err != nil {
			return err
		}
		for i := range b.Len() {
			if removed.At(i) != 0 {
				found.positions = append(found.positions, starts[g]+int64(i))
			}
		}
		return nil
	})
	return found, err
}

// deletedRow is a row of a position-delete file.
type deletedRow struct {
	Path     string `parquet:"file_path"`
	Position int64  `parquet:"pos"`
}

func newDeleteSchema() *parquet.Schema {
	z := newSmallWindow()
	return parquet.NewSchema("table", parquet.Group{
		"file_path": parquet.FieldID(parquet.Compressed(parquet.Encoded(parquet.String(), &parquet.RLEDictionary), z), deletePathID),
		"pos":       parquet.FieldID(parquet.Compressed(parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked), z), deletePositionID),
	})
}

// encodeDeletes is a position-delete file, sorted by path and position as the specification asks.
func encodeDeletes(found []rows, path func(*layer.Layer) string) ([]byte, error) {
	slices.SortFunc(found, func(a, b rows) int { return strings.Compare(path(a.layer), path(b.layer)) })
	var out bytes.Buffer
	w := parquet.NewGenericWriter[deletedRow](&out, newDeleteSchema(), parquet.CreatedBy("fustor", "3.0.0", "deletes"))
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
