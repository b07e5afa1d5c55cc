package layer

import (
	"math"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/fustor/fustor/internal/event"
)

// Column is a column of a layer, in the order of the file.
type Column int

// The columns. docs/formats-layer.md says what is in them.
const (
	ColumnParent Column = iota
	ColumnName
	ColumnType // event.Type
	ColumnMode
	ColumnUID
	ColumnGID
	ColumnAtimeDay
	ColumnSize
	ColumnMtimeNs
	ColumnTarget
	ColumnRemoved // 0 or 1
	ColumnObservedAtNs
	ColumnEvidence     // event.Evidence
	ColumnAgentMissing // 0 or 1
	ColumnSuspectUntilNs
	ColumnWatermarkNs
	ColumnEndedAtNs
	ColumnAgent
	ColumnSource
	ColumnHistory
	ColumnSubFiles
	ColumnSubDirectories
	ColumnSubOthers
	ColumnSubBytes
	ColumnSubLatestMtimeNs
	columnParentRaw
	columnNameRaw
	columnTargetRaw
	columnSourceRaw
	// Of schema 2. Row groups of schema 1 end before them.
	ColumnLinks           // 0: nothing is known of the inode
	ColumnAllocatedExcess // allocated bytes minus size rounded up to 4096
	ColumnCtimeNs         // asMtime: as mtime_ns
	ColumnInode           // of a file with several names
	ColumnSubAllocated
	ColumnSubLinkedAllocated
	ColumnSubUnmeasured
	// Of schema 3. Row groups of schema 2 end before them.
	ColumnBirth // how many whole seconds the ctime is later than the birth; noBirth: not known
	ColumnACL   // storedACL
	// Of schema 4. Row groups of schema 3 end before it.
	ColumnSubClosed // 0 or 1
	columns         // how many

	columns1 = ColumnLinks     // how many schema 1 has
	columns2 = ColumnBirth     // how many schema 2 has
	columns3 = ColumnSubClosed // how many schema 3 has
)

// form is how a column's values are held and written.
type form uint8

const (
	formKey   form = iota // parent and name, which Block holds in ways of their own
	formText              // strings in a dictionary
	formEnum              // numbers here, their names in the file's dictionary
	formDict              // numbers in a dictionary
	formDelta             // numbers as differences
	formPlain             // numbers as they are
	formFlag              // bits
)

// asMtime stands in the column ctime_ns for the mtime: most files were never changed after they were written.
const asMtime = math.MinInt64

// noBirth stands in the column birth_seconds_before_ctime for a birth that is not known.
const noBirth = math.MinInt64

// unknownACL stands in the column acl for what nobody tells. Nearly all directories tell that they have no ACL, and nearly all other
// entries tell nothing: both have the empty text, so that the column is empty but for exceptions.
const unknownACL = "\x00"

// storedACL is an entry's ACL as the column has it.
func storedACL(t event.Type, a event.ACL) string {
	switch {
	case a == "" && t == event.Directory:
		return unknownACL
	case a == event.NoACL && t == event.Directory:
		return ""
	}
	return string(a)
}

// aclOf is the inverse of storedACL.
func aclOf(t event.Type, stored string) event.ACL {
	switch {
	case stored == unknownACL:
		return ""
	case stored == "" && t == event.Directory:
		return event.NoACL
	}
	return event.ACL(stored)
}

// columnSpec is a column in the file.
type columnSpec struct {
	name     string
	form     form
	physical format.Type
	logical  format.LogicalTypeValue
	names    []string // formEnum: of the numbers 0, 1, …
	bounds   bool     // whether the file has its minimum and maximum
	noise    bool     // zstd's fastest level does as well or better
}

var utf8Type = &format.StringType{}

var specs = [columns]columnSpec{
	ColumnParent:           {name: "parent", form: formKey, physical: format.ByteArray, logical: utf8Type, bounds: true},
	ColumnName:             {name: "name", form: formKey, physical: format.ByteArray, logical: utf8Type, bounds: true},
	ColumnType:             {name: "type", form: formEnum, physical: format.ByteArray, logical: utf8Type, names: typeNames(), bounds: true},
	ColumnMode:             {name: "mode", form: formDict, physical: format.Int32},
	ColumnUID:              {name: "uid", form: formDict, physical: format.Int64, bounds: true},
	ColumnGID:              {name: "gid", form: formDict, physical: format.Int64},
	ColumnAtimeDay:         {name: "atime_day", form: formPlain, physical: format.Int32, logical: &format.DateType{}, bounds: true},
	ColumnSize:             {name: "size", form: formPlain, physical: format.Int64, bounds: true, noise: true},
	ColumnMtimeNs:          {name: "mtime_ns", form: formPlain, physical: format.Int64, bounds: true},
	ColumnTarget:           {name: "target", form: formText, physical: format.ByteArray, logical: utf8Type},
	ColumnRemoved:          {name: "removed", form: formFlag, physical: format.Boolean, bounds: true},
	ColumnObservedAtNs:     {name: "observed_at_ns", form: formDelta, physical: format.Int64, bounds: true},
	ColumnEvidence:         {name: "evidence", form: formEnum, physical: format.ByteArray, logical: utf8Type, names: evidenceNames()},
	ColumnAgentMissing:     {name: "agent_missing", form: formFlag, physical: format.Boolean, bounds: true},
	ColumnSuspectUntilNs:   {name: "suspect_until_ns", form: formDelta, physical: format.Int64, bounds: true},
	ColumnWatermarkNs:      {name: "watermark_ns", form: formDelta, physical: format.Int64},
	ColumnEndedAtNs:        {name: "ended_at_ns", form: formDelta, physical: format.Int64},
	ColumnAgent:            {name: "agent", form: formText, physical: format.ByteArray, logical: utf8Type},
	ColumnSource:           {name: "source", form: formText, physical: format.ByteArray, logical: utf8Type},
	ColumnHistory:          {name: "history", form: formText, physical: format.ByteArray},
	ColumnSubFiles:         {name: "sub_files", form: formDict, physical: format.Int64, bounds: true},
	ColumnSubDirectories:   {name: "sub_directories", form: formDict, physical: format.Int64},
	ColumnSubOthers:        {name: "sub_others", form: formDict, physical: format.Int64},
	ColumnSubBytes:         {name: "sub_bytes", form: formDict, physical: format.Int64, bounds: true},
	ColumnSubLatestMtimeNs: {name: "sub_latest_mtime_ns", form: formDict, physical: format.Int64},
	columnParentRaw:        {name: "parent_raw", form: formText, physical: format.ByteArray},
	columnNameRaw:          {name: "name_raw", form: formText, physical: format.ByteArray},
	columnTargetRaw:        {name: "target_raw", form: formText, physical: format.ByteArray},
	columnSourceRaw:        {name: "source_raw", form: formText, physical: format.ByteArray},

	ColumnLinks:              {name: "links", form: formDict, physical: format.Int64},
	ColumnAllocatedExcess:    {name: "allocated_excess", form: formDict, physical: format.Int64},
	ColumnCtimeNs:            {name: "ctime_ns", form: formPlain, physical: format.Int64},
	ColumnInode:              {name: "inode", form: formDict, physical: format.Int64},
	ColumnSubAllocated:       {name: "sub_allocated", form: formDict, physical: format.Int64},
	ColumnSubLinkedAllocated: {name: "sub_linked_allocated", form: formDict, physical: format.Int64},
	ColumnSubUnmeasured:      {name: "sub_unmeasured", form: formDict, physical: format.Int64},
	ColumnBirth:              {name: "birth_seconds_before_ctime", form: formDict, physical: format.Int64},
	ColumnACL:                {name: "acl", form: formText, physical: format.ByteArray},
	ColumnSubClosed:          {name: "sub_closed", form: formFlag, physical: format.Boolean},
}

// typeNames are those of event.Type; a tombstone of a path that was never seen has none.
func typeNames() []string {
	names := []string{"unknown"}
	for t := event.File; t <= event.Other; t++ {
		names = append(names, t.String())
	}
	return names
}

// evidenceNames are those of event.Evidence; a directory that nobody has seen yet is assumed.
func evidenceNames() []string {
	names := []string{"assumed"}
	for e := event.Realtime; e <= event.OnDemand; e++ {
		names = append(names, e.String())
	}
	return names
}

// FieldID is the id of a column that table formats know it by (Iceberg). Ids are for ever: a column keeps its own.
func (c Column) FieldID() int { return int(c) + 1 }

// schema is the tree that Parquet readers see: flat, all columns required.
func schema() thrift.Slice[format.SchemaElement] {
	root := format.SchemaElement{Name: "fustor", NumChildren: thrift.New(int32(columns))}
	elements := thrift.Slice[format.SchemaElement]{root}
	for i := range specs {
		s := &specs[i]
		e := format.SchemaElement{Name: s.name, Type: thrift.New(s.physical), RepetitionType: thrift.New(format.Required), FieldID: int32(Column(i).FieldID())}
		switch s.logical.(type) {
		case *format.StringType:
			e.ConvertedType = thrift.New(deprecated.UTF8)
			e.LogicalType.Value = s.logical
		case *format.DateType:
			e.ConvertedType = thrift.New(deprecated.Date)
			e.LogicalType.Value = s.logical
		}
		elements = append(elements, e)
	}
	return elements
}
