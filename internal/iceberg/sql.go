package iceberg

import (
	"fmt"
	"net/url"
	"strings"
)

// duckdbColumns are what people ask for beside the stored columns.
const duckdbColumns = `
  CASE WHEN parent = '' THEN '/' ELSE parent || name END AS path,
  make_timestamp(mtime_ns // 1000) AS modified,
  make_timestamp(observed_at_ns // 1000) AS observed,
  CASE WHEN links > 0 THEN (size + 4095) // 4096 * 4096 + allocated_excess END AS allocated,
  CASE WHEN type = 'file' THEN regexp_extract(lower(name), '^.+\.([a-z0-9+_~-]{1,16})$', 1) END AS extension,
  CASE WHEN parent = '' THEN 0 ELSE length(parent) - length(replace(parent, '/', '')) END AS depth,`

// DuckDB is SQL that makes a view of DuckDB of a table: its stored columns, and path, modified, observed (timestamps in UTC, to the
// microsecond), allocated (bytes; NULL: not known), extension (of files; empty: none) and depth (the root has 0). storeURL is the store's.
func (t *Table) DuckDB(view, storeURL string) string {
	var b strings.Builder
	b.WriteString("INSTALL iceberg;\nLOAD iceberg;\n")
	location := strings.TrimPrefix(t.Metadata.Location, "file://")
	if config := EngineConfig(storeURL); strings.HasPrefix(location, "s3://") {
		b.WriteString("INSTALL httpfs;\nLOAD httpfs;\nINSTALL aws;\nLOAD aws;\nCREATE OR REPLACE SECRET (TYPE s3, PROVIDER credential_chain")
		if region := config["s3.region"]; region != "" {
			fmt.Fprintf(&b, ", REGION %s", quoted(region))
		}
		if u, err := url.Parse(config["s3.endpoint"]); err == nil && u.Host != "" {
			fmt.Fprintf(&b, ", ENDPOINT %s, USE_SSL %t", quoted(u.Host), u.Scheme == "https")
			if config["s3.path-style-access"] == "true" {
				b.WriteString(", URL_STYLE 'path'")
			}
		}
		b.WriteString(");\n")
	}
	fmt.Fprintf(&b, "CREATE OR REPLACE VIEW \"%s\" AS\nSELECT%s\n  *\nFROM iceberg_scan(%s);\n", view, duckdbColumns, quoted(location))
	return b.String()
}

// quoted is a text as SQL has it.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
