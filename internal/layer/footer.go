package layer

import (
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const parquetMagic = "PAR1"

// createdBy says which schema wrote the file, in the form that parquet-java (Spark, Trino, Hive) takes apart: "application version X (build
// Y)". It ignores the minima and maxima of a file whose writer it cannot tell. It has the schema's version rather than the program's, so
// that equal rows make equal bytes whoever writes them.
var createdBy = fmt.Sprintf("fustor version %d.0.0 (build schema-%d)", SchemaVersion, SchemaVersion)

// maxGroups is how many row groups a Parquet file can have: the footer numbers them with 16 bits.
const maxGroups = 32767

// rowGroup is the footer's part of a row group that begins at offset.
func rowGroup(chunks *[columns]chunk, g *Group, ordinal int) format.RowGroup {
	out := format.RowGroup{
		NumRows: int64(g.Rows), FileOffset: g.Offset, TotalCompressedSize: g.Bytes, Ordinal: int16(ordinal),
		Columns: make(thrift.Slice[format.ColumnChunk], columns),
	}
	for i := range chunks {
		c := &chunks[i]
		m := &out.Columns[i].MetaData
		m.Type = specs[i].physical
		m.PathInSchema = thrift.Slice[string]{specs[i].name}
		m.NumValues = int64(g.Rows)
		m.TotalCompressedSize, m.TotalUncompressedSize = int64(c.end-c.start), int64(c.plainSize())
		m.DataPageOffset = g.Offset + int64(c.dataHeader)
		m.Encoding = thrift.Slice[format.Encoding]{c.dataSize.encoding}
		if c.dictionary > 0 {
			m.DictionaryPageOffset = g.Offset + int64(c.start)
			m.Encoding = thrift.Slice[format.Encoding]{format.Plain, c.dataSize.encoding}
		}
		m.Codec = format.Zstd
		m.Statistics = format.Statistics{MinValue: c.min, MaxValue: c.max}
		out.TotalByteSize += m.TotalUncompressedSize
	}
	if !g.NotUTF8 { // otherwise the readable texts may be in another order than the bytes they stand for
		out.SortingColumns = thrift.Slice[format.SortingColumn]{{ColumnIdx: int32(ColumnParent)}, {ColumnIdx: int32(ColumnName)}}
	}
	return out
}

// appendFooter ends a Parquet file.
func appendFooter(to []byte, groups []format.RowGroup, rows int64, id string) ([]byte, error) {
	meta := format.FileMetaData{
		Version: 2, Schema: schema(), NumRows: rows, RowGroups: groups, CreatedBy: createdBy,
		KeyValueMetadata: thrift.Slice[format.KeyValue]{
			{Key: "fustor.layer", Value: id}, {Key: "fustor.schema", Value: fmt.Sprint(SchemaVersion)},
		},
		ColumnOrders: make(thrift.Slice[format.ColumnOrder], columns),
	}
	for i := range meta.ColumnOrders {
		meta.ColumnOrders[i].Value = &format.TypeDefinedOrder{}
	}
	footer, err := thrift.Marshal(&thrift.CompactProtocol{}, &meta)
	if err != nil {
		return nil, fmt.Errorf("encode the Parquet footer: %w", err)
	}
	to = append(to, footer...)
	to = binary.LittleEndian.AppendUint32(to, uint32(len(footer)))
	return append(to, parquetMagic...), nil
}
