package query

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/query/report"
)

// nodeWriter writes rows as the nodes of docs/api.md. Only it knows their members.
type nodeWriter struct {
	now      int64 // ns, the store's time: decides which entries are suspect
	onlyPath bool  // name, path and content_type alone, and what is unreadable
	oddities bool  // and what is odd about the entry; its row has all columns
	atime    bool  // and the day of the last access
	// member is the member of a forest that the next row is of; empty: of no forest.
	member   string
	versions versions // of which the rows are
	names    *rowNames
}

// rowNames are the names of owners for the row that is written.
type rowNames struct{ *manifest.Names }

// open appends the row's node without its closing brace, so that children may follow.
func (w nodeWriter) open(b []byte, r *evidence.Row) []byte {
	if w.member == "" {
		b = append(b, `{"name":`...)
	} else { // a view's name needs no escape
		b = append(append(append(b, `{"member":"`...), w.member...), `","name":`...)
	}
	b = appendString(b, r.Name)
	b = append(b, `,"path":"`...)
	if r.Parent == "" {
		b = append(b, '/')
	}
	b = appendText(appendText(b, r.Parent), r.Name)
	b = append(b, '"')
	if !utf8.ValidString(r.Name) || !utf8.ValidString(r.Parent) {
		b = appendBase64(b, `,"path_b64":"`, r.Path())
	}
	b = append(b, `,"content_type":"`...)
	b = append(b, r.Type.String()...)
	b = append(b, '"')
	switch {
	case r.Hidden&evidence.HiddenAttributes != 0:
		return append(b, `,"attributes_hidden":true`...)
	case !w.onlyPath:
		b = w.attributes(b, r)
	}
	if r.Type != event.Directory {
		return b
	}
	if !w.onlyPath && r.Hidden&evidence.HiddenTotals == 0 {
		b = append(b, `,"subtree":`...)
		b = appendTotals(b, r.Sub)
	}
	if n := w.versions.unreadable(w.member, r.Path()); n > 0 {
		b = append(b, `,"unreadable":`...)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return b
}

// node appends the row's whole node.
func (w nodeWriter) node(b []byte, r *evidence.Row) []byte {
	b = w.open(b, r)
	if w.oddities {
		for i, word := range report.OdditiesOf(r).Words() { // words need no escape
			b = append(append(append(b, oddityJoin[min(i, 1)]...), word...), '"')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// oddityJoin is what comes before the first oddity, and before each other.
var oddityJoin = [2]string{`,"oddities":["`, `,"`}

func (w nodeWriter) attributes(b []byte, r *evidence.Row) []byte {
	b = append(b, `,"type":"`...)
	b = append(b, r.Type.Letter()...)
	b = append(b, `","size":`...)
	b = strconv.AppendInt(b, r.Size, 10)
	b = append(b, `,"modified_time":`...)
	b = appendSeconds(b, r.MtimeNs)
	b = append(b, `,"mtime_ns":`...)
	b = strconv.AppendInt(b, r.MtimeNs, 10)
	if w.atime && r.ObservedAt != 0 { // nothing is known of a directory that is assumed
		b = append(b, `,"atime_day":"`...)
		b = time.Unix(int64(r.AtimeDay)*86400, 0).UTC().AppendFormat(b, time.DateOnly)
		b = append(b, '"')
	}
	b = append(b, `,"created_time":`...)
	if r.BirthS == 0 {
		b = append(b, `null`...)
	} else {
		b = appendSeconds(b, r.BirthNs())
	}
	b = append(b, `,"integrity_suspect":`...)
	b = strconv.AppendBool(b, r.SuspectUntil > w.now)
	b = append(b, `,"agent_missing":`...)
	b = strconv.AppendBool(b, r.AgentMissing)
	b = append(b, `,"audit_skipped":false,"last_agent_id":`...) // an audit here confirms every directory it passes
	b = appendString(b, r.Agent)
	b = append(b, `,"source_uri":`...)
	b = appendString(b, r.Source)
	b = append(b, `,"mode":`...)
	b = strconv.AppendUint(b, uint64(r.Mode), 10)
	b = append(b, `,"uid":`...)
	b = strconv.AppendUint(b, uint64(r.UID), 10)
	b = append(b, `,"gid":`...)
	b = strconv.AppendUint(b, uint64(r.GID), 10)
	b = w.owner(append(b, `,"owner":`...), false, r, r.UID)
	b = w.owner(append(b, `,"group":`...), true, r, r.GID)
	if r.Measured() {
		b = appendInode(b, &r.Inode)
	}
	if r.Type == event.Symlink {
		b = append(b, `,"target":`...)
		b = appendString(b, r.Target)
		if !utf8.ValidString(r.Target) {
			b = appendBase64(b, `,"target_b64":"`, r.Target)
		}
	}
	return b
}

// owner appends the name of the row's owner, or group; without one, its number.
func (w nodeWriter) owner(b []byte, group bool, r *evidence.Row, id uint32) []byte {
	if name := w.names.Name(group, r.Source, id); name != "" {
		return appendString(b, name)
	}
	return append(strconv.AppendUint(append(b, '"'), uint64(id), 10), '"')
}

// appendInode appends what is known of the inode, with a leading comma.
func appendInode(b []byte, n *event.Inode) []byte {
	b = append(b, `,"allocated":`...)
	b = strconv.AppendInt(b, n.Allocated, 10)
	b = append(b, `,"links":`...)
	b = strconv.AppendUint(b, uint64(n.Links), 10)
	b = append(b, `,"ctime_ns":`...)
	b = strconv.AppendInt(b, n.CtimeNs, 10)
	if n.BirthS != 0 {
		b = append(b, `,"birth_ns":`...)
		b = strconv.AppendInt(b, n.BirthNs(), 10)
	}
	if n.ACL != "" {
		b = append(b, `,"acl":"`...)
		b = append(b, n.ACL.String()...)
		b = append(b, '"')
	}
	if n.ID == 0 {
		return b
	}
	b = append(b, `,"inode":"`...) // all 64 bits count, and JavaScript has 53
	b = strconv.AppendUint(b, n.ID, 10)
	return append(b, '"')
}

func appendTotals(b []byte, t evidence.Totals) []byte {
	b = append(b, `{"files":`...)
	b = strconv.AppendInt(b, t.Files, 10)
	b = append(b, `,"directories":`...)
	b = strconv.AppendInt(b, t.Directories, 10)
	b = append(b, `,"others":`...)
	b = strconv.AppendInt(b, t.Others, 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, t.Bytes, 10)
	b = append(b, `,"allocated":`...)
	b = strconv.AppendInt(b, t.Allocated, 10)
	b = append(b, `,"linked_allocated":`...)
	b = strconv.AppendInt(b, t.LinkedAllocated, 10)
	b = append(b, `,"unmeasured":`...)
	b = strconv.AppendInt(b, t.Unmeasured, 10)
	if t.Saturated() {
		b = append(b, `,"saturated":true`...)
	}
	b = append(b, `,"latest_mtime":`...)
	if t.LatestMtimeNs == evidence.NoMtime {
		return append(b, `null,"latest_mtime_ns":null}`...)
	}
	b = appendSeconds(b, t.LatestMtimeNs)
	b = append(b, `,"latest_mtime_ns":`...)
	b = strconv.AppendInt(b, t.LatestMtimeNs, 10)
	return append(b, '}')
}

func appendBase64(b []byte, field, s string) []byte {
	b = append(b, field...)
	b = base64.RawURLEncoding.AppendEncode(b, []byte(s))
	return append(b, '"')
}
