package iceberg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"
)

// Manifests and manifest lists are Avro object container files. Readers go by the field ids, which the specification fixes ("Manifests",
// "Manifest Lists").

const (
	contentData    = 0
	contentDeletes = 1

	statusExisting = 0
	statusAdded    = 1
)

// entry is a file in a manifest.
type entry struct {
	Status             int32    `avro:"status"`
	SnapshotID         *int64   `avro:"snapshot_id"`
	SequenceNumber     *int64   `avro:"sequence_number"`
	FileSequenceNumber *int64   `avro:"file_sequence_number"`
	File               dataFile `avro:"data_file"`
}

type dataFile struct {
	Content          int32       `avro:"content"`
	Path             string      `avro:"file_path"`
	Format           string      `avro:"file_format"`
	Partition        struct{}    `avro:"partition"`
	Records          int64       `avro:"record_count"`
	Bytes            int64       `avro:"file_size_in_bytes"`
	ColumnSizes      *[]idNumber `avro:"column_sizes"`
	ValueCounts      *[]idNumber `avro:"value_counts"`
	NullCounts       *[]idNumber `avro:"null_value_counts"`
	Lower            *[]idBytes  `avro:"lower_bounds"`
	Upper            *[]idBytes  `avro:"upper_bounds"`
	SplitOffsets     *[]int64    `avro:"split_offsets"`
	SortOrderID      *int32      `avro:"sort_order_id"`
	ReferencedToFile *string     `avro:"referenced_data_file"`
}

type idNumber struct {
	Key   int32 `avro:"key"`
	Value int64 `avro:"value"`
}

type idBytes struct {
	Key   int32  `avro:"key"`
	Value []byte `avro:"value"`
}

// listed is a manifest in a manifest list.
type listed struct {
	Path              string `avro:"manifest_path"`
	Length            int64  `avro:"manifest_length"`
	SpecID            int32  `avro:"partition_spec_id"`
	Content           int32  `avro:"content"`
	SequenceNumber    int64  `avro:"sequence_number"`
	MinSequenceNumber int64  `avro:"min_sequence_number"`
	AddedSnapshotID   int64  `avro:"added_snapshot_id"`
	AddedFiles        int32  `avro:"added_files_count"`
	ExistingFiles     int32  `avro:"existing_files_count"`
	DeletedFiles      int32  `avro:"deleted_files_count"`
	AddedRows         int64  `avro:"added_rows_count"`
	ExistingRows      int64  `avro:"existing_rows_count"`
	DeletedRows       int64  `avro:"deleted_rows_count"`
}

func keyed(name string, id int, key, value int, of string) string {
	return fmt.Sprintf(`{"name":%q,"type":["null",{"type":"array","logicalType":"map","items":{"type":"record","name":"k%d_v%d","fields":[`+
		`{"name":"key","type":"int","field-id":%d},{"name":"value","type":%q,"field-id":%d}]}}],"default":null,"field-id":%d}`,
		name, key, value, key, of, value, id)
}

var entrySchema = `{"type":"record","name":"manifest_entry","fields":[
{"name":"status","type":"int","field-id":0},
{"name":"snapshot_id","type":["null","long"],"default":null,"field-id":1},
{"name":"sequence_number","type":["null","long"],"default":null,"field-id":3},
{"name":"file_sequence_number","type":["null","long"],"default":null,"field-id":4},
{"name":"data_file","field-id":2,"type":{"type":"record","name":"r2","fields":[
{"name":"content","type":"int","field-id":134},
{"name":"file_path","type":"string","field-id":100},
{"name":"file_format","type":"string","field-id":101},
{"name":"partition","type":{"type":"record","name":"r102","fields":[]},"field-id":102},
{"name":"record_count","type":"long","field-id":103},
{"name":"file_size_in_bytes","type":"long","field-id":104},
` + keyed("column_sizes", 108, 117, 118, "long") + `,
` + keyed("value_counts", 109, 119, 120, "long") + `,
` + keyed("null_value_counts", 110, 121, 122, "long") + `,
` + keyed("lower_bounds", 125, 126, 127, "bytes") + `,
` + keyed("upper_bounds", 128, 129, 130, "bytes") + `,
{"name":"split_offsets","type":["null",{"type":"array","items":"long","element-id":133}],"default":null,"field-id":132},
{"name":"sort_order_id","type":["null","int"],"default":null,"field-id":140},
{"name":"referenced_data_file","type":["null","string"],"default":null,"field-id":143}
]}}]}`

const listSchema = `{"type":"record","name":"manifest_file","fields":[
{"name":"manifest_path","type":"string","field-id":500},
{"name":"manifest_length","type":"long","field-id":501},
{"name":"partition_spec_id","type":"int","field-id":502},
{"name":"content","type":"int","field-id":517},
{"name":"sequence_number","type":"long","field-id":515},
{"name":"min_sequence_number","type":"long","field-id":516},
{"name":"added_snapshot_id","type":"long","field-id":503},
{"name":"added_files_count","type":"int","field-id":504},
{"name":"existing_files_count","type":"int","field-id":505},
{"name":"deleted_files_count","type":"int","field-id":506},
{"name":"added_rows_count","type":"long","field-id":512},
{"name":"existing_rows_count","type":"long","field-id":513},
{"name":"deleted_rows_count","type":"long","field-id":514}
]}`

// Parsed when first needed: only publishing needs them.
var (
	parsedEntry = sync.OnceValues(func() (*avro.Schema, error) { return avro.Parse(entrySchema) })
	parsedList  = sync.OnceValues(func() (*avro.Schema, error) { return avro.Parse(listSchema) })
)

// encodeAvro is an object container file of some records.
func encodeAvro[T any](parsed func() (*avro.Schema, error), text string, records []T, metadata map[string][]byte) ([]byte, error) {
	schema, err := parsed()
	if err != nil {
		return nil, fmt.Errorf("parse an Avro schema: %w", err)
	}
	var out bytes.Buffer
	w, err := ocf.NewWriter(&out, schema, ocf.WithSchema(text), ocf.WithCodec(ocf.DeflateCodec(6)), ocf.WithMetadata(metadata))
	if err != nil {
		return nil, fmt.Errorf("begin an Avro file: %w", err)
	}
	for i := range records {
		if err := w.Encode(&records[i]); err != nil {
			return nil, fmt.Errorf("encode an Avro record: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("end an Avro file: %w", err)
	}
	return out.Bytes(), nil
}

// encodeManifest is a manifest of files of one content.
func encodeManifest(of Schema, content int, entries []entry) ([]byte, error) {
	schema, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	name := "data"
	if content == contentDeletes {
		name = "deletes"
	}
	return encodeAvro(parsedEntry, entrySchema, entries, map[string][]byte{
		"schema": schema, "schema-id": []byte("0"), "partition-spec": []byte("[]"), "partition-spec-id": []byte("0"),
		"format-version": []byte("2"), "content": []byte(name),
	})
}

// decodeManifest is the inverse of encodeManifest.
func decodeManifest(body []byte) (entries []entry, err error) {
	r, err := ocf.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("decode an Avro file: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		var e entry
		switch err := r.Decode(&e); {
		case errors.Is(err, io.EOF):
			return entries, nil
		case err != nil:
			return nil, fmt.Errorf("decode an Avro record: %w", err)
		}
		entries = append(entries, e)
	}
}

// encodeList is the manifest list of a snapshot.
func encodeList(version uint64, manifests []listed) ([]byte, error) {
	number := fmt.Append(nil, version)
	return encodeAvro(parsedList, listSchema, manifests, map[string][]byte{
		"snapshot-id": number, "parent-snapshot-id": []byte("null"), "sequence-number": number, "format-version": []byte("2"),
	})
}
