package export

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/query/report"
)

// A Parquet file ends with a footer that knows of every row group, so a file that was cut off has none. Each row group is therefore
// written as a file of its own in memory, whose body is appended to the output as it is. What its footer says, with offsets moved, is the
// state of the checkpoint behind it, and the footer of all of them is written at the end.

// row is an entry as a row of Parquet; docs/export.md has the columns. Times are µs since 1970, days are since 1970.
type row struct {
	Path               string  `parquet:"path,zstd,id(1)"`
	Parent             string  `parquet:"parent,dict,zstd,id(2)"`
	Name               string  `parquet:"name,zstd,id(3)"`
	Type               string  `parquet:"type,dict,zstd,id(4)"`
	Size               int64   `parquet:"size,zstd,id(5)"`
	Allocated          *int64  `parquet:"allocated,zstd,id(6)"`
	Links              *int64  `parquet:"links,dict,zstd,id(7)"`
	Mtime              int64   `parquet:"mtime,timestamp(microsecond),zstd,id(8)"`
	Ctime              *int64  `parquet:"ctime,timestamp(microsecond),zstd,id(9)"`
	Atime              *int32  `parquet:"atime,date,zstd,id(10)"`
	Birth              *int64  `parquet:"birth,timestamp(microsecond),zstd,id(11)"`
	UID                int64   `parquet:"uid,dict,zstd,id(12)"`
	GID                int64   `parquet:"gid,dict,zstd,id(13)"`
	Owner              string  `parquet:"owner,dict,zstd,id(14)"`
	Group              string  `parquet:"group,dict,zstd,id(15)"`
	Mode               int32   `parquet:"mode,dict,zstd,id(16)"`
	Extension          *string `parquet:"extension,dict,zstd,id(17)"`
	Depth              int32   `parquet:"depth,dict,zstd,id(18)"`
	Target             *string `parquet:"target,zstd,id(19)"`
	MtimeNs            int64   `parquet:"mtime_ns,zstd,id(20)"`
	Inode              *int64  `parquet:"inode,zstd,id(21)"`
	ACL                *string `parquet:"acl,dict,zstd,id(22)"`
	SubtreeFiles       *int64  `parquet:"subtree_files,zstd,id(23)"`
	SubtreeDirectories *int64  `parquet:"subtree_directories,zstd,id(24)"`
	SubtreeBytes       *int64  `parquet:"subtree_bytes,zstd,id(25)"`
	SubtreeAllocated   *int64  `parquet:"subtree_allocated,zstd,id(26)"`
	Suspect            bool    `parquet:"suspect,zstd,id(27)"`
	Member             *string `parquet:"member,dict,zstd,id(28)"`
	PathBytes          []byte  `parquet:"path_bytes,optional,zstd,id(29)"`
	TargetBytes        []byte  `parquet:"target_bytes,optional,zstd,id(30)"`
}

var schema = parquet.SchemaOf(row{})

// GroupRows is how many rows a row group has, about: they are whole pages of the API. DuckDB's own have 122,880.
const GroupRows = 120_000

type parquetEncoder struct {
	w       io.Writer
	version string
	groups  []format.RowGroup // that are written
	end     int64             // the length of what is written; 0: not even the beginning
	fresh   int               // of the groups, those that no checkpoint has
	rows    int               // that wait
	full    int               // so many rows are a row group
	body    bytes.Buffer
	writer  *parquet.GenericWriter[row]
	one     []row // of Add
}

// Parquet is the format Parquet, with so many rows in a row group, or a page more. version is that of this program.
func Parquet(version string, rows int) Format {
	return func(w io.Writer, states [][]byte) (Encoder, error) {
		e := &parquetEncoder{w: w, version: version, full: rows, one: make([]row, 1)}
		e.begin()
		for _, state := range states {
			var more groupState
			if err := thrift.Unmarshal(&thrift.CompactProtocol{}, state, &more); err != nil {
				return nil, fmt.Errorf("the checkpoint of a row group: %w", err)
			}
			e.groups, e.end = append(e.groups, more.Groups...), more.End
		}
		return e, nil
	}
}

// groupState is what a checkpoint has: the row groups since the one before, and the length of the file.
type groupState struct {
	Groups thrift.Slice[format.RowGroup] `thrift:"1,required"`
	End    int64                         `thrift:"2,required"`
}

const magic = "PAR1"

// Add implements Encoder.
func (e *parquetEncoder) Add(n *client.Node) error {
	if e.rows >= 2*e.full { // of pages that are larger than they should be
		if _, err := e.flush(); err != nil {
			return err
		}
	}
	e.one[0] = rowOf(n)
	e.rows++
	_, err := e.writer.Write(e.one)
	return err
}

// Checkpoint implements Encoder.
func (e *parquetEncoder) Checkpoint(int64) ([]byte, bool, error) {
	if e.rows < e.full {
		return nil, false, nil
	}
	if _, err := e.flush(); err != nil {
		return nil, false, err
	}
	state, err := thrift.Marshal(&thrift.CompactProtocol{}, &groupState{e.groups[len(e.groups)-e.fresh:], e.end})
	e.fresh = 0
	return state, true, err
}

// flush writes the rows that wait as a row group, and returns the footer of the file that they were in memory.
func (e *parquetEncoder) flush() (made format.FileMetaData, err error) {
	if err := e.writer.Close(); err != nil {
		return made, err
	}
	file := e.body.Bytes()
	tail := len(file) - 8
	footer := bytes.Clone(file[tail-int(binary.LittleEndian.Uint32(file[tail:])) : tail]) // what is decoded refers to it
	if err := thrift.Unmarshal(&thrift.CompactProtocol{}, footer, &made); err != nil {
		return made, fmt.Errorf("a row group: %w", err)
	}
	end := int64(len(magic))
	for _, group := range made.RowGroups {
		end += group.TotalCompressedSize
	}
	body := file[:end] // with the magic number of the beginning, if this is that; without the page indexes behind the row group
	if e.end > 0 {
		body = body[len(magic):]
	}
	by := max(0, e.end-int64(len(magic)))
	for _, group := range made.RowGroups {
		if group.NumRows == 0 {
			continue
		}
		move(&group, by)
		group.Ordinal = int16(len(e.groups))
		e.groups = append(e.groups, group)
		e.fresh++
	}
	if e.rows > 0 || e.end == 0 {
		if _, err := e.w.Write(body); err != nil {
			return made, err
		}
		e.end += int64(len(body))
	}
	if len(e.groups) > maxGroups {
		return made, fmt.Errorf("a Parquet file has at most %d row groups; export parts of the tree into files of their own", maxGroups)
	}
	e.rows = 0
	e.begin()
	return made, nil
}

// begin begins the file of a row group in memory. A writer of before is not used again: Reset loses the paths of its columns.
func (e *parquetEncoder) begin() {
	e.body.Reset()
	e.writer = parquet.NewGenericWriter[row](&e.body, schema, parquet.CreatedBy("fustor", e.version, "export"))
}

// maxGroups is how many row groups a Parquet file can have: the footer numbers them with 16 bits.
const maxGroups = 32767

// move adds to the offsets of a row group. Page indexes do not move along: readers want those of all row groups in one place.
func move(group *format.RowGroup, by int64) {
	add := func(offset *int64) {
		if *offset > 0 { // 0: there is none
			*offset += by
		}
	}
	add(&group.FileOffset)
	for i := range group.Columns {
		c := &group.Columns[i]
		c.OffsetIndexOffset, c.OffsetIndexLength, c.ColumnIndexOffset, c.ColumnIndexLength = 0, 0, 0, 0
		for _, offset := range []*int64{&c.FileOffset, &c.MetaData.DataPageOffset, &c.MetaData.DictionaryPageOffset, &c.MetaData.IndexPageOffset} {
			add(offset)
		}
	}
}

// End implements Encoder.
func (e *parquetEncoder) End() error {
	made, err := e.flush()
	if err != nil {
		return err
	}
	made.RowGroups, made.NumRows = e.groups, 0
	for i := range e.groups {
		made.NumRows += e.groups[i].NumRows
	}
	footer, err := thrift.Marshal(&thrift.CompactProtocol{}, &made)
	if err != nil {
		return err
	}
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	_, err = e.w.Write(append(footer, magic...))
	return err
}

// rowOf is an entry as a row.
func rowOf(n *client.Node) row {
	slash := strings.LastIndexByte(n.Path, '/')
	r := row{Path: readable(n.Path), Parent: readable(n.Path[:slash+1]), Name: readable(n.Path[slash+1:]), Type: n.Type, Size: n.Size,
		Mtime: floorDiv(n.MtimeNs, 1000), MtimeNs: n.MtimeNs, UID: int64(n.UID), GID: int64(n.GID), Mode: int32(n.Mode), Suspect: n.Suspect,
		Owner: n.Owner, Group: n.Group, Depth: int32(strings.Count(n.Path, "/")), PathBytes: unreadable(n.Path)}
	if n.Path == "/" {
		r.Parent, r.Depth = "", 0
	}
	if n.Links > 0 {
		links, ctime := int64(n.Links), floorDiv(n.CtimeNs, 1000)
		allocated := n.Allocated
		r.Allocated, r.Links, r.Ctime = &allocated, &links, &ctime
	}
	if day, err := time.Parse(time.DateOnly, n.AtimeDay); err == nil {
		days := int32(floorDiv(day.Unix(), 86400))
		r.Atime = &days
	}
	if n.BirthNs != 0 {
		birth := floorDiv(n.BirthNs, 1000)
		r.Birth = &birth
	}
	if inode, err := strconv.ParseUint(n.Inode, 10, 64); err == nil {
		bits := int64(inode)
		r.Inode = &bits
	}
	switch n.Letter() {
	case 'f':
		extension := report.Extension(n.Path[slash+1:])
		r.Extension = &extension
	case 'l':
		target := readable(n.Target)
		r.Target, r.TargetBytes = &target, unreadable(n.Target)
	}
	if s := n.Subtree; s != nil {
		sums := *s
		r.SubtreeFiles, r.SubtreeDirectories, r.SubtreeBytes = &sums.Files, &sums.Directories, &sums.Bytes
		if s.Unmeasured == 0 {
			r.SubtreeAllocated = &sums.Allocated
		}
	}
	r.ACL, r.Member = known(n.ACL), known(n.Member)
	return r
}

// known is a text, or nil for an empty one.
func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// readable is a text as a column of UTF-8 has it, and unreadable are its bytes if that is not all; both as the layers have them.
func readable(text string) string { return strings.ToValidUTF8(text, string(utf8.RuneError)) }

func unreadable(text string) []byte {
	if utf8.ValidString(text) {
		return nil
	}
	return []byte(text)
}
