package iceberg

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

// Namespace is where a catalog has the tables of views.
const Namespace = "fustor"

// ViewMetadata is a view of SQL, as Iceberg's view specification has it.
type ViewMetadata struct {
	UUID             string            `json:"view-uuid"`
	FormatVersion    int               `json:"format-version"`
	Location         string            `json:"location"`
	Schemas          []Schema          `json:"schemas"`
	CurrentVersionID int               `json:"current-version-id"`
	Versions         []ViewVersion     `json:"versions"`
	VersionLog       []ViewLogEntry    `json:"version-log"`
	Properties       map[string]string `json:"properties"`
}

// ViewVersion is the one version that a view has.
type ViewVersion struct {
	ID               int               `json:"version-id"`
	SchemaID         int               `json:"schema-id"`
	TimestampMs      int64             `json:"timestamp-ms"`
	Summary          map[string]string `json:"summary"`
	Representations  []Representation  `json:"representations"`
	DefaultNamespace []string          `json:"default-namespace"`
}

// Representation is a view in the SQL of an engine.
type Representation struct {
	Type    string  `json:"type"` // sql
	SQL     string  `json:"sql"`
	Dialect Dialect `json:"dialect"`
}

// ViewLogEntry says from when on a version was the current one.
type ViewLogEntry struct {
	TimestampMs int64 `json:"timestamp-ms"`
	VersionID   int   `json:"version-id"`
}

// ViewMetadata is a view of SQL over the table, with the columns that View has, for a catalog. Spark finds the table in the catalog that
// the view is in; the other engines have to know its name, which is catalog. names are those of owners; they are written into the SQL.
func (t *Table) ViewMetadata(view, catalog string, names *manifest.Names) ViewMetadata {
	sum := sha256.Sum256([]byte("view " + t.Metadata.UUID))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562, version 8
	at := t.Metadata.LastUpdatedMs
	v := ViewVersion{ID: 1, TimestampMs: at, Summary: map[string]string{"operation": "replace", "engine-name": "fustor"}, DefaultNamespace: []string{Namespace}}
	for _, of := range []Dialect{Spark, Trino, DuckDB} {
		from := Namespace + "." + dialects[of].name(view)
		if of != Spark {
			from = catalog + "." + from
		}
		var b strings.Builder
		of.query(&b, from, names)
		v.Representations = append(v.Representations, Representation{"sql", b.String(), of})
	}
	return ViewMetadata{
		UUID: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]), FormatVersion: 1, Location: t.Metadata.Location + "/view",
		Schemas: []Schema{viewSchema()}, CurrentVersionID: 1, Versions: []ViewVersion{v}, VersionLog: []ViewLogEntry{{at, 1}}, Properties: map[string]string{"fustor.view": view},
	}
}

// viewSchema has the columns that View computes, and those of the table.
func viewSchema() Schema {
	s := Schema{Type: "struct"}
	for i, f := range [][2]string{{"path", "string"}, {"modified", "timestamptz"}, {"observed", "timestamptz"}, {"owner", "string"}, {"group", "string"},
		{"allocated", "long"}, {"extension", "string"}, {"depth", "long"}} {
		s.Fields = append(s.Fields, SchemaField{ID: len(layer.Fields()) + 1 + i, Name: f[0], Type: f[1], Doc: computed[f[0]]})
	}
	return Schema{Type: s.Type, Fields: slices.Concat(s.Fields, tableSchema().Fields)}
}

// computed says what the columns are that View computes.
var computed = map[string]string{
	"path": "the whole path from the root of the view", "modified": "mtime_ns as a timestamp, to the microsecond", "observed": "observed_at_ns as a timestamp",
	"owner": "what the hosts call the owner, or else uid as text", "group": "what they call the group, or else gid as text",
	"allocated": "the bytes that the entry occupies; NULL: not known", "extension": "of a file: what follows the last point, in lower case; empty: there is none",
	"depth": "how many directories the path is below the root, which has 0",
}
