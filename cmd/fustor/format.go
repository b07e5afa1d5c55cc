package main

import (
	"strconv"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

// formatFlags are those of commands that print rows.
type formatFlags struct {
	Format *string `enum:"table,json,ndjson,csv" xor:"form" placeholder:"table|json|ndjson|csv" help:"Print a table, a JSON array, JSON lines or CSV (default: a table on a terminal, otherwise plain lines)."`
	JSON   bool    `name:"json" xor:"form" help:"Print one JSON object per line, as --format ndjson."`
}

// word is the form that was asked for; empty: none.
func (f *formatFlags) word() string {
	if f.Format == nil {
		return ""
	}
	return *f.Format
}

// rows print a command's answer in the form that was asked for. columns are those of CSV.
func (f *formatFlags) rows(a *app, columns ...string) *show.Rows {
	r := &show.Rows{Output: a.out(), Columns: columns}
	if f.JSON {
		r.Form = show.NDJSON
	}
	switch f.word() {
	case "table":
		r.Terminal = true
	case "json":
		r.Form = show.JSON
	case "ndjson":
		r.Form = show.NDJSON
	case "csv":
		r.Form = show.CSV
	}
	if r.Form != show.Text {
		r.Terminal, r.Color = false, false
	}
	return r
}

// entryColumns are those of the commands that print entries.
var entryColumns = []string{"path", "type", "size", "allocated", "links", "mode", "uid", "gid", "owner", "group", "mtime", "ctime", "target",
	"subtree_files", "subtree_directories", "subtree_bytes", "subtree_allocated", "member", "path_b64"}

// entryFields are an entry's fields of CSV; those that are not known are empty.
func entryFields(n *client.Node) []any {
	fields := []any{n.Path, string(n.Letter()), n.Size, "", "", strconv.FormatUint(uint64(n.Mode), 8), n.UID, n.GID, owner(n.Owner, n.UID), owner(n.Group, n.GID),
		show.UTC{Ns: &n.MtimeNs}, show.UTC{},
		n.Target, "", "", "", "", n.Member, show.B64(n.Path)}
	if n.Links > 0 {
		fields[3], fields[4], fields[11] = n.Allocated, n.Links, show.UTC{Ns: &n.CtimeNs}
	}
	if s := n.Subtree; s != nil {
		fields[13], fields[14], fields[15] = s.Files, s.Directories, s.Bytes
		if s.Unmeasured == 0 {
			fields[16] = s.Allocated
		}
	}
	return fields
}

// nsOfUnix is a time of the API, in Unix seconds.
func nsOfUnix(seconds float64) show.UTC {
	ns := unixTime(seconds).UnixNano()
	return show.UTC{Ns: &ns}
}

// owner is the name that the server has for an owner, or else the number.
func owner(name string, id uint32) string {
	if name == "" {
		return strconv.FormatUint(uint64(id), 10)
	}
	return name
}

func unixTime(seconds float64) time.Time { return time.UnixMicro(int64(seconds * 1e6)) }
