package iceberg

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/fustor/fustor/internal/manifest"
)

// Dialect is the SQL of an engine.
type Dialect string

// The dialects of View.
const (
	DuckDB Dialect = "duckdb"
	Spark  Dialect = "spark"
	Trino  Dialect = "trino"
)

// dialect is what differs between engines. Patterns have no backslash, which their literals disagree on.
type dialect struct {
	create string // a view: its name comes next
	quote  string // of names
	micros string // a timestamp of a column of ns, in UTC, to the microsecond
	divide string // integers
}

var dialects = map[Dialect]dialect{
	DuckDB: {"CREATE OR REPLACE VIEW ", `"`, "make_timestamp(%s // 1000)", "//"},
	Spark:  {"CREATE OR REPLACE TEMPORARY VIEW ", "`", "timestamp_micros(%s div 1000)", "div"},
	Trino:  {"CREATE OR REPLACE VIEW ", `"`, "CAST(from_unixtime_nanos(%s) AS timestamp(6) with time zone)", "/"},
}

// View is SQL that makes a view of a table: its stored columns, and path, modified and observed (timestamps, to the microsecond), owner and
// group (names, or else numbers as text), allocated (bytes; NULL: not known), extension (of files; empty: none) and depth (the root has 0).
// storeURL is the store's. DuckDB reads the table from the store, the others from a catalog of that name, which must be set up. names are
// those of owners, which are written into the SQL.
func (t *Table) View(of Dialect, view, storeURL, catalog string, names *manifest.Names) string {
	d := dialects[of]
	var b strings.Builder
	from := catalog + "." + Namespace + "." + d.name(view)
	if of == DuckDB {
		from = "iceberg_scan(" + of.quoted(t.duckdbAccess(&b, storeURL)) + ")"
	}
	fmt.Fprintf(&b, "%s%s AS\n", d.create, d.name(view))
	of.query(&b, from, names)
	b.WriteString(";\n")
	return b.String()
}

// query writes what the view selects from the table.
func (of Dialect) query(b *strings.Builder, from string, names *manifest.Names) {
	d := dialects[of]
	owner, group := of.owners(b, names)
	fmt.Fprintf(b, `SELECT
  CASE WHEN t.parent = '' THEN '/' ELSE t.parent || t.name END AS path,
  %s AS modified,
  %s AS observed,
  %s AS owner,
  %s AS %s,
  CASE WHEN t.links > 0 THEN (t.size + 4095) %s 4096 * 4096 + t.allocated_excess END AS allocated,
  CASE WHEN t.type = 'file' THEN coalesce(regexp_extract(lower(t.name), '^.+[.]([a-z0-9+_~-]{1,16})$', 1), '') END AS extension,
  CAST(CASE WHEN t.parent = '' THEN 0 ELSE length(t.parent) - length(replace(t.parent, '/', '')) END AS bigint) AS depth,
  t.*
FROM %s t`, fmt.Sprintf(d.micros, "t.mtime_ns"), fmt.Sprintf(d.micros, "t.observed_at_ns"), owner.name, group.name, d.name("group"), d.divide, from)
	b.WriteString(owner.joins + group.joins)
}

// duckdbAccess writes what DuckDB needs to reach the table, and returns its location.
func (t *Table) duckdbAccess(b *strings.Builder, storeURL string) string {
	b.WriteString("INSTALL iceberg;\nLOAD iceberg;\n")
	location := strings.TrimPrefix(t.Metadata.Location, "file://")
	if config := EngineConfig(storeURL); strings.HasPrefix(location, "s3://") {
		b.WriteString("INSTALL httpfs;\nLOAD httpfs;\nINSTALL aws;\nLOAD aws;\nCREATE OR REPLACE SECRET (TYPE s3, PROVIDER credential_chain")
		if region := config["s3.region"]; region != "" {
			fmt.Fprintf(b, ", REGION %s", DuckDB.quoted(region))
		}
		if u, err := url.Parse(config["s3.endpoint"]); err == nil && u.Host != "" {
			fmt.Fprintf(b, ", ENDPOINT %s, USE_SSL %t", DuckDB.quoted(u.Host), u.Scheme == "https")
			if config["s3.path-style-access"] == "true" {
				b.WriteString(", URL_STYLE 'path'")
			}
		}
		b.WriteString(");\n")
	}
	return location
}

// named is how a view names the owner of a row, or its group.
type named struct{ name, joins string }

// owners writes the names of owners as a table within the view, and returns how they are used. A name counts everywhere, unless a source
// has another for the same number.
func (of Dialect) owners(b *strings.Builder, names *manifest.Names) (owner, group named) {
	const text = "CAST(t.%s AS varchar)"
	owner.name, group.name = fmt.Sprintf(text, "uid"), fmt.Sprintf(text, "gid")
	if of == Spark {
		owner.name, group.name = "CAST(t.uid AS string)", "CAST(t.gid AS string)"
	}
	if names == nil || names.Len() == 0 {
		return owner, group
	}
	kinds := map[bool]string{false: "user", true: "group"}
	differ := map[bool]bool{}
	join := "WITH owners (kind, source, id, name) AS (VALUES"
	for n := range names.All() {
		fmt.Fprintf(b, "%s\n  ('%s', %s, CAST(%d AS bigint), %s)", join, kinds[n.Group], of.quoted(n.Source), n.ID, of.quoted(n.Name))
		join = ","
		differ[n.Group] = differ[n.Group] || n.Source != ""
	}
	b.WriteString(")\n")
	for isGroup, to := range map[bool]*named{false: &owner, true: &group} {
		kind, column := kinds[isGroup], map[bool]string{false: "uid", true: "gid"}[isGroup]
		to.joins = fmt.Sprintf("\nLEFT JOIN owners %[1]ss ON %[1]ss.kind = '%[1]s' AND %[1]ss.source = '' AND %[1]ss.id = t.%[2]s", kind, column)
		to.name = fmt.Sprintf("coalesce(%ss.name, %s)", kind, to.name)
		if differ[isGroup] {
			to.joins += fmt.Sprintf("\nLEFT JOIN owners own_%[1]ss ON own_%[1]ss.kind = '%[1]s' AND own_%[1]ss.source = t.source AND own_%[1]ss.id = t.%[2]s", kind, column)
			to.name = fmt.Sprintf("coalesce(own_%ss.name, %s", kind, strings.TrimPrefix(to.name, "coalesce("))
		}
	}
	return owner, group
}

// name is a name as the dialect has it.
func (d dialect) name(text string) string { return d.quote + text + d.quote }

// quoted is a text as the dialect has it.
func (of Dialect) quoted(text string) string {
	if of == Spark {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}
