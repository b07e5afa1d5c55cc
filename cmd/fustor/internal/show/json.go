package show

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/client"
)

// AppendEntry appends the entry as find --json and its like print it, without a newline.
func AppendEntry(b []byte, n *client.Node) []byte {
	b = append(b, '{')
	if n.Member != "" {
		b = append(AppendName(b, "member", n.Member), ',')
	}
	b = AppendName(b, "path", n.Path)
	b = append(b, `,"type":"`...)
	b = append(b, n.Letter(), '"')
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, n.Size, 10)
	b = append(b, `,"mtime_ns":`...)
	b = strconv.AppendInt(b, n.MtimeNs, 10)
	b = append(b, `,"mode":`...)
	b = strconv.AppendUint(b, uint64(n.Mode), 10)
	b = append(b, `,"uid":`...)
	b = strconv.AppendUint(b, uint64(n.UID), 10)
	b = append(b, `,"gid":`...)
	b = strconv.AppendUint(b, uint64(n.GID), 10)
	if n.Owner != "" {
		b = append(b, `,"owner":`...)
		b = appendString(b, n.Owner)
		b = append(b, `,"group":`...)
		b = appendString(b, n.Group)
	}
	if n.Links > 0 {
		b = append(b, `,"allocated":`...)
		b = strconv.AppendInt(b, n.Allocated, 10)
		b = append(b, `,"links":`...)
		b = strconv.AppendUint(b, uint64(n.Links), 10)
		b = append(b, `,"ctime_ns":`...)
		b = strconv.AppendInt(b, n.CtimeNs, 10)
	}
	if n.AtimeDay != "" {
		b = append(append(append(b, `,"atime_day":"`...), n.AtimeDay...), '"')
	}
	if n.BirthNs != 0 {
		b = append(b, `,"birth_ns":`...)
		b = strconv.AppendInt(b, n.BirthNs, 10)
	}
	if n.ACL != "" {
		b = append(b, `,"acl":`...)
		b = appendString(b, n.ACL)
	}
	if n.Inode != "" {
		b = append(b, `,"inode":`...)
		b = appendString(b, n.Inode)
	}
	if n.Letter() == 'l' {
		b = append(b, ',')
		b = AppendName(b, "target", n.Target)
	}
	return append(b, '}')
}

// AppendName appends "field":"name", and where the name is not UTF-8 also "field_b64" with the bytes in base64url
// without padding, as the API has it.
func AppendName(b []byte, field, name string) []byte {
	b = append(b, '"')
	b = append(b, field...)
	b = append(b, `":`...)
	b = appendString(b, name)
	if utf8.ValidString(name) {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, field...)
	b = append(b, `_b64":"`...)
	b = base64.RawURLEncoding.AppendEncode(b, []byte(name))
	return append(b, '"')
}

// appendString appends a JSON string. Nearly all names need no escapes.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// AppendSubtree appends the fields of a directory's sums, without braces.
func AppendSubtree(b []byte, s *client.Subtree) []byte {
	b = append(b, `"files":`...)
	b = strconv.AppendInt(b, s.Files, 10)
	b = append(b, `,"directories":`...)
	b = strconv.AppendInt(b, s.Directories, 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, s.Bytes, 10)
	b = append(b, `,"allocated":`...)
	b = strconv.AppendInt(b, s.Allocated, 10)
	b = append(b, `,"linked_allocated":`...)
	b = strconv.AppendInt(b, s.LinkedAllocated, 10)
	b = append(b, `,"unmeasured":`...)
	b = strconv.AppendInt(b, s.Unmeasured, 10)
	if s.Saturated() {
		b = append(b, `,"saturated":true`...)
	}
	b = append(b, `,"latest_mtime_ns":`...)
	if !s.HasMtime {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, s.LatestMtimeNs, 10)
}

// AppendUnreadable appends how much of a directory could not be read, if any, with a leading comma.
func AppendUnreadable(b []byte, n *client.Node) []byte {
	if n.Unreadable == 0 {
		return b
	}
	return strconv.AppendInt(append(b, `,"unreadable":`...), n.Unreadable, 10)
}

// AppendSummed is AppendEntry, and of a directory that has sums also these.
func AppendSummed(b []byte, n *client.Node) []byte {
	b = AppendEntry(b, n)
	if n.Subtree == nil {
		return b
	}
	b = append(AppendSubtree(append(b[:len(b)-1], `,"subtree":{`...), n.Subtree), '}')
	return append(AppendUnreadable(b, n), '}')
}

// AppendDetails appends all that is known of the entry, as stat --json prints it.
func AppendDetails(b []byte, n *client.Node) []byte {
	b = AppendSummed(b, n)
	b = append(b[:len(b)-1], `,"integrity_suspect":`...)
	b = strconv.AppendBool(b, n.Suspect)
	b = append(b, `,"agent_missing":`...)
	b = strconv.AppendBool(b, n.AgentMissing)
	b = append(b, `,"audit_skipped":`...)
	b = strconv.AppendBool(b, n.AuditSkipped)
	b = append(b, ',')
	b = AppendName(b, "last_agent_id", n.LastAgent)
	b = append(b, ',')
	b = AppendName(b, "source_uri", n.Source)
	return append(b, '}')
}
