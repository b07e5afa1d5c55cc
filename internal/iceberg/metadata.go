package iceberg

import (
	"encoding/json"
	"fmt"

	"github.com/fustor/fustor/internal/layer"
)

// Metadata is a table's metadata, as Iceberg's specification has it; fields that Fustor's tables do not have are left out.
type Metadata struct {
	FormatVersion      int               `json:"format-version"`
	UUID               string            `json:"table-uuid"`
	Location           string            `json:"location"`
	LastSequenceNumber int64             `json:"last-sequence-number"`
	LastUpdatedMs      int64             `json:"last-updated-ms"`
	LastColumnID       int               `json:"last-column-id"`
	Schemas            []Schema          `json:"schemas"`
	CurrentSchemaID    int               `json:"current-schema-id"`
	PartitionSpecs     []PartitionSpec   `json:"partition-specs"`
	DefaultSpecID      int               `json:"default-spec-id"`
	LastPartitionID    int               `json:"last-partition-id"`
	SortOrders         []SortOrder       `json:"sort-orders"`
	DefaultSortOrderID int               `json:"default-sort-order-id"`
	Properties         map[string]string `json:"properties"`
	CurrentSnapshotID  int64             `json:"current-snapshot-id"`
	Snapshots          []Snapshot        `json:"snapshots"`
	SnapshotLog        []LogEntry        `json:"snapshot-log"`
	MetadataLog        []struct{}        `json:"metadata-log"`
	Refs               map[string]Ref    `json:"refs"`
}

// Schema is the table's columns.
type Schema struct {
	Type   string        `json:"type"` // struct
	ID     int           `json:"schema-id"`
	Fields []SchemaField `json:"fields"`
}

// SchemaField is one column.
type SchemaField struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	Required bool   `json:"required"`
	Type     string `json:"type"`
	Doc      string `json:"doc,omitempty"`
}

// PartitionSpec says how the table is partitioned: not at all, as its files are ranges of paths already.
type PartitionSpec struct {
	ID     int        `json:"spec-id"`
	Fields []struct{} `json:"fields"`
}

// SortOrder says how files are sorted.
type SortOrder struct {
	ID     int         `json:"order-id"`
	Fields []SortField `json:"fields"`
}

// SortField is one column of it.
type SortField struct {
	Transform string `json:"transform"`
	SourceID  int    `json:"source-id"`
	Direction string `json:"direction"`
	NullOrder string `json:"null-order"`
}

// Snapshot is one version of the view.
type Snapshot struct {
	ID             int64             `json:"snapshot-id"` // the version's number
	Parent         int64             `json:"parent-snapshot-id,omitempty"`
	SequenceNumber int64             `json:"sequence-number"` // the same number
	TimestampMs    int64             `json:"timestamp-ms"`
	ManifestList   string            `json:"manifest-list"`
	Summary        map[string]string `json:"summary"`
	SchemaID       int               `json:"schema-id"`
}

// LogEntry says from when on a snapshot was the current one.
type LogEntry struct {
	TimestampMs int64 `json:"timestamp-ms"`
	SnapshotID  int64 `json:"snapshot-id"`
}

// Ref names a snapshot.
type Ref struct {
	SnapshotID int64  `json:"snapshot-id"`
	Type       string `json:"type"` // branch or tag
}

const (
	mainBranch  = "main"
	sortedOrder = 1 // by parent and name
	// stateProperty of a table's metadata is the key of its state.
	stateProperty = "fustor.state"
)

// newMetadata is a table without a snapshot.
func newMetadata(uuid, location, view string) (Metadata, error) {
	schema := tableSchema()
	names, err := json.Marshal(mappingOf(schema))
	if err != nil {
		return Metadata{}, fmt.Errorf("encode the name mapping: %w", err)
	}
	return Metadata{
		FormatVersion: 2, UUID: uuid, Location: location, CurrentSnapshotID: -1,
		LastColumnID: len(layer.Fields()), Schemas: []Schema{schema},
		PartitionSpecs: []PartitionSpec{{Fields: []struct{}{}}}, LastPartitionID: 999,
		SortOrders: []SortOrder{{ID: sortedOrder, Fields: []SortField{
			{"identity", layer.ColumnParent.FieldID(), "asc", "nulls-first"}, {"identity", layer.ColumnName.FieldID(), "asc", "nulls-first"},
		}}}, DefaultSortOrderID: sortedOrder,
		Properties: map[string]string{
			"schema.name-mapping.default": string(names), "fustor.view": view,
			"gc.enabled": "false", // its files are a view's: the compactor removes them
		},
		MetadataLog: []struct{}{}, Refs: map[string]Ref{},
	}, nil
}

type nameMapping struct {
	ID    int      `json:"field-id"`
	Names []string `json:"names"`
}

// mappingOf gives the columns of files without field ids theirs, by their names.
func mappingOf(s Schema) []nameMapping {
	mapping := make([]nameMapping, 0, len(s.Fields))
	for _, f := range s.Fields {
		mapping = append(mapping, nameMapping{f.ID, []string{f.Name}})
	}
	return mapping
}

// tableSchema is the one schema that the table has. Columns that older layers lack are optional: null says that nothing is known.
func tableSchema() Schema {
	s := Schema{Type: "struct"}
	for _, f := range fields() {
		s.Fields = append(s.Fields, SchemaField{ID: f.ID, Name: f.Name, Required: !f.Later, Type: f.Type})
	}
	return s
}

// snapshot is the snapshot of a version; nil if the table does not have it.
func (m *Metadata) snapshot(version uint64) *Snapshot {
	for i := range m.Snapshots {
		if m.Snapshots[i].ID == int64(version) {
			return &m.Snapshots[i]
		}
	}
	return nil
}
