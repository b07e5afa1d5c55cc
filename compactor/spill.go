package compactor

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// rowBuffer holds rows until they are written in key order. When it has limit rows, these are sorted and appended as a run
// to a temporary file, so that what one event expands to, such as the deletion of a large directory, takes disk and not
// memory. At the end the runs and the rest in memory are merged with a heap (eachRow):
//
//	add   3 1 | 5 2 | 4 9 8 | 6          limit 2 or 3, | is a spill
//	file  [1 3] [2 5] [4 8 9]            a run each; one whose rows all follow the last run's extends that run
//	read  heap of the runs and [6] → 1 2 3 4 5 6 8 9
//
// Most changes come in key order already. All of them are then one run, and reading needs one decoder.
//
// The file has no name once it is open, so its space is freed when the process ends, however it ends.
type rowBuffer struct {
	dir   string // of the file; empty: the system's
	limit int    // rows in memory

	rows []evidence.Row
	file *os.File
	size int64
	runs []spilledRun
	last evidence.Row // the last row of the last run
	zstd *zstd.Encoder
	raw  []byte // the block being filled
	out  []byte
}

// spilledRun is a part of the file whose rows are in key order.
type spilledRun struct{ offset, bytes int64 }

// spillBlock is about how many bytes of rows are compressed at once.
const spillBlock = 64 << 10

func (s *rowBuffer) add(row *evidence.Row) error {
	if len(s.rows) >= s.limit {
		if err := s.spill(); err != nil {
			return fmt.Errorf("spill rows to a temporary file (--temp says where): %w", err)
		}
	}
	s.rows = append(s.rows, *row)
	return nil
}

func (s *rowBuffer) sort() {
	for i := 1; i < len(s.rows); i++ {
		if compareRows(&s.rows[i-1], &s.rows[i]) > 0 {
			slices.SortFunc(s.rows, func(a, b evidence.Row) int { return compareRows(&a, &b) })
			return
		}
	}
}

// open makes the file.
func (s *rowBuffer) open() error {
	if s.file != nil {
		return nil
	}
	f, err := os.CreateTemp(s.dir, "fustor-spill-*")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return err
	}
	s.file = f
	s.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(spillBlock))
	return err
}

// spill writes what is in memory as a run.
func (s *rowBuffer) spill() error {
	if err := s.open(); err != nil {
		return err
	}
	s.sort()
	if len(s.runs) == 0 || compareRows(&s.last, &s.rows[0]) >= 0 { // else these rows extend the last run
		s.runs = append(s.runs, spilledRun{offset: s.size})
	}
	s.last = s.rows[len(s.rows)-1]
	w := bufio.NewWriterSize(s.file, 256<<10)
	parent := ""
	for i := range s.rows {
		s.raw = appendRow(s.raw, &s.rows[i], parent)
		parent = s.rows[i].Parent
		if len(s.raw) >= spillBlock || i == len(s.rows)-1 {
			if err := s.block(w); err != nil {
				return err
			}
			parent = ""
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	run := &s.runs[len(s.runs)-1]
	run.bytes = s.size - run.offset
	clear(s.rows)
	s.rows = s.rows[:0]
	return nil
}

func (s *rowBuffer) block(w io.Writer) error {
	s.out = s.zstd.EncodeAll(s.raw, append(s.out[:0], make([]byte, 4)...))
	binary.LittleEndian.PutUint32(s.out, uint32(len(s.out)-4))
	s.raw, s.size = s.raw[:0], s.size+int64(len(s.out))
	_, err := w.Write(s.out)
	return err
}

// close frees the disk space.
func (s *rowBuffer) close() {
	if s.file != nil {
		s.file.Close()
	}
	s.rows, s.runs, s.file = nil, nil, nil
}

// sources are the runs and what is in memory, each in key order.
func (s *rowBuffer) sources() ([]rowSource, error) {
	s.sort()
	all := []rowSource{&rowsInMemory{rows: s.rows}}
	for _, r := range s.runs {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil, err
		}
		all = append(all, &rowsInFile{zstd: d, file: bufio.NewReaderSize(io.NewSectionReader(s.file, r.offset, r.bytes), 64<<10)})
	}
	return all, nil
}

// eachRow calls yield with the rows of some buffers, in key order.
func eachRow(yield func(*evidence.Row) error, buffers ...*rowBuffer) error {
	var h rowHeap
	for _, s := range buffers {
		sources, err := s.sources()
		if err != nil {
			return err
		}
		for _, source := range sources {
			row, err := source.next()
			if err != nil {
				return err
			}
			if row != nil {
				h = append(h, rowHead{row, source})
			}
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := yield(h[0].row); err != nil {
			return err
		}
		row, err := h[0].source.next()
		if err != nil {
			return err
		}
		if h[0].row = row; row == nil {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return nil
}

// rowSource yields rows; nil at its end. A row is valid until the next one.
type rowSource interface {
	next() (*evidence.Row, error)
}

type rowsInMemory struct{ rows []evidence.Row }

func (r *rowsInMemory) next() (*evidence.Row, error) {
	if len(r.rows) == 0 {
		return nil, nil
	}
	row := &r.rows[0]
	r.rows = r.rows[1:]
	return row, nil
}

type rowsInFile struct {
	file   *bufio.Reader
	zstd   *zstd.Decoder
	packed []byte
	rest   string // of the block
	row    evidence.Row
}

func (r *rowsInFile) next() (*evidence.Row, error) {
	parent := r.row.Parent
	if r.rest == "" {
		var head [4]byte
		if _, err := io.ReadFull(r.file, head[:]); err != nil {
			r.zstd.Close()
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			return nil, err
		}
		r.packed = slices.Grow(r.packed[:0], int(binary.LittleEndian.Uint32(head[:])))[:binary.LittleEndian.Uint32(head[:])]
		if _, err := io.ReadFull(r.file, r.packed); err != nil {
			return nil, err
		}
		plain, err := r.zstd.DecodeAll(r.packed, nil)
		if err != nil {
			return nil, err
		}
		r.rest, parent = string(plain), ""
	}
	r.rest = takeRow(r.rest, &r.row, parent)
	return &r.row, nil
}

type rowHead struct {
	row    *evidence.Row
	source rowSource
}

type rowHeap []rowHead

func (h rowHeap) Len() int           { return len(h) }
func (h rowHeap) Less(i, j int) bool { return compareRows(h[i].row, h[j].row) < 0 }
func (h rowHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rowHeap) Push(x any)        { *h = append(*h, x.(rowHead)) }
func (h *rowHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// numbersOf are the numbers of a row, as they are written to the file.
func numbersOf(r *evidence.Row) [22]int64 {
	return [22]int64{
		int64(r.Mode), int64(r.UID), int64(r.GID), int64(r.AtimeDay), r.Size, r.MtimeNs, r.ObservedAt, r.SuspectUntil, r.Watermark, r.EndedAt,
		int64(r.Links), r.Allocated, r.CtimeNs, int64(r.ID), r.BirthS,
		r.Sub.Files, r.Sub.Directories, r.Sub.Others, r.Sub.Bytes, r.Sub.Allocated, r.Sub.LinkedAllocated, r.Sub.Unmeasured,
	}
}

const (
	spilledRemoved = 1 << iota
	spilledMissing
	spilledSameParent
	spilledOpen
)

// appendRow writes a row that follows one with this parent; takeRow reads it. The format lives no longer than the process.
func appendRow(b []byte, r *evidence.Row, parent string) []byte {
	flags := byte(0)
	if r.Removed {
		flags |= spilledRemoved
	}
	if r.AgentMissing {
		flags |= spilledMissing
	}
	if r.Open {
		flags |= spilledOpen
	}
	if r.Parent == parent && parent != "" {
		flags |= spilledSameParent
	}
	b = append(b, flags, byte(r.Type), byte(r.Evidence))
	if flags&spilledSameParent == 0 {
		b = appendText(b, r.Parent)
	}
	for _, s := range [...]string{r.Name, r.Target, r.Agent, r.Source, r.History, string(r.ACL)} {
		b = appendText(b, s)
	}
	for _, v := range numbersOf(r) {
		b = binary.AppendVarint(b, v)
	}
	return binary.AppendVarint(b, r.Sub.LatestMtimeNs)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func takeRow(s string, r *evidence.Row, parent string) string {
	uint := func() (v uint64) {
		for shift := 0; ; shift += 7 {
			c := s[0]
			s = s[1:]
			v |= uint64(c&0x7f) << shift
			if c < 0x80 {
				return v
			}
		}
	}
	int := func() int64 {
		v := uint()
		return int64(v>>1) ^ -int64(v&1)
	}
	text := func() string {
		n := uint()
		t := s[:n]
		s = s[n:]
		return t
	}
	flags := s[0]
	*r = evidence.Row{Parent: parent, Type: event.Type(s[1]), Evidence: event.Evidence(s[2])}
	s = s[3:]
	r.Removed, r.AgentMissing, r.Open = flags&spilledRemoved != 0, flags&spilledMissing != 0, flags&spilledOpen != 0
	if flags&spilledSameParent == 0 {
		r.Parent = text()
	}
	r.Name, r.Target, r.Agent, r.Source, r.History = text(), text(), text(), text(), text()
	r.ACL = event.ACL(text())
	r.Mode, r.UID, r.GID, r.AtimeDay = uint32(int()), uint32(int()), uint32(int()), int32(int())
	r.Size, r.MtimeNs, r.ObservedAt, r.SuspectUntil, r.Watermark, r.EndedAt = int(), int(), int(), int(), int(), int()
	r.Links, r.Allocated, r.CtimeNs, r.ID, r.BirthS = uint32(int()), int(), int(), uint64(int()), int()
	r.Sub = evidence.Totals{
		Files: int(), Directories: int(), Others: int(), Bytes: int(), Allocated: int(), LinkedAllocated: int(), Unmeasured: int(), LatestMtimeNs: int(),
	}
	return s
}
