package client

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// decoder reads nodes from JSON objects. It is written for the one shape that the API sends, as a stream of a million
// lines spends most of its time here; what it does not know it skips, and what it cannot read is an error.
type decoder struct {
	b []byte
	i int
	// agent, source, owners and ACL repeat from line to line; keeping the last saves allocations.
	agent, source, member, owner, group, acl, day string
}

var errSyntax = errors.New("malformed JSON")

// node reads one object into n. Fields that it lacks are zero.
func (d *decoder) node(line []byte, n *Node) error {
	*n = Node{}
	d.b, d.i = line, 0
	var broke Error
	err := d.object(func(key []byte) error { return d.field(key, n, &broke) })
	if err != nil {
		return err
	}
	if d.space(); d.i != len(d.b) {
		return errSyntax
	}
	if n.Path == "" && broke.Detail != "" { // a stream's last line, where the server failed in the middle of it
		return &broke
	}
	if n.Path == "" || n.Path[0] != '/' || n.Type == "" {
		return errors.New("an entry without path or content_type")
	}
	return nil
}

func (d *decoder) field(key []byte, n *Node, broke *Error) (err error) {
	switch string(key) {
	case "member":
		n.Member, err = d.repeated(&d.member)
	case "path":
		if n.Path != "" { // path_b64 came first
			return d.skip()
		}
		n.Path, err = d.str()
	case "path_b64":
		n.Path, err = d.base64()
	case "content_type":
		n.Type, err = d.contentType()
	case "size":
		n.Size, err = d.integer()
	case "mtime_ns":
		n.MtimeNs, err = d.integer()
	case "mode":
		n.Mode, err = d.uint32()
	case "uid":
		n.UID, err = d.uint32()
	case "gid":
		n.GID, err = d.uint32()
	case "owner":
		n.Owner, err = d.repeated(&d.owner)
	case "group":
		n.Group, err = d.repeated(&d.group)
	case "allocated":
		n.Allocated, err = d.integer()
	case "links":
		n.Links, err = d.uint32()
	case "ctime_ns":
		n.CtimeNs, err = d.integer()
	case "atime_day":
		n.AtimeDay, err = d.repeated(&d.day)
	case "birth_ns":
		n.BirthNs, err = d.integer()
	case "acl":
		n.ACL, err = d.repeated(&d.acl)
	case "inode":
		n.Inode, err = d.str()
	case "target":
		if n.Target != "" {
			return d.skip()
		}
		n.Target, err = d.str()
	case "target_b64":
		n.Target, err = d.base64()
	case "integrity_suspect":
		n.Suspect, err = d.boolean()
	case "agent_missing":
		n.AgentMissing, err = d.boolean()
	case "audit_skipped":
		n.AuditSkipped, err = d.boolean()
	case "last_agent_id":
		n.LastAgent, err = d.repeated(&d.agent)
	case "source_uri":
		n.Source, err = d.repeated(&d.source)
	case "subtree":
		n.Subtree, err = d.subtree()
	case "unreadable":
		n.Unreadable, err = d.integer()
	case "oddities":
		n.Oddities, err = d.words()
	case "detail":
		broke.Detail, err = d.line()
	case "hint":
		broke.Hint, err = d.line()
	default:
		return d.skip()
	}
	return err
}

func (d *decoder) subtree() (*Subtree, error) {
	if d.null() {
		return nil, nil
	}
	s := &Subtree{Unmeasured: -1}
	err := d.object(func(key []byte) (err error) {
		switch string(key) {
		case "files":
			s.Files, err = d.integer()
		case "directories":
			s.Directories, err = d.integer()
		case "bytes":
			s.Bytes, err = d.integer()
		case "others":
			s.Others, err = d.integer()
		case "allocated":
			s.Allocated, err = d.integer()
		case "linked_allocated":
			s.LinkedAllocated, err = d.integer()
		case "unmeasured":
			s.Unmeasured, err = d.integer()
		case "latest_mtime_ns":
			if d.null() {
				return nil
			}
			s.HasMtime = true
			s.LatestMtimeNs, err = d.integer()
		default:
			return d.skip()
		}
		return err
	})
	if s.Unmeasured < 0 {
		s.Unmeasured = s.Files + s.Directories + s.Others
	}
	return s, err
}

// contentType reads one of the four types without allocating.
func (d *decoder) contentType() (string, error) {
	raw, plain, err := d.rawString()
	if err != nil || !plain {
		return "", errors.Join(errSyntax, err)
	}
	switch string(raw) {
	case "file":
		return "file", nil
	case "directory":
		return "directory", nil
	case "symlink":
		return "symlink", nil
	case "other":
		return "other", nil
	}
	return "", fmt.Errorf("unknown content_type %q", raw)
}

// repeated reads a string, or null, that is likely equal to the one before it.
func (d *decoder) repeated(last *string) (string, error) {
	if d.null() {
		return "", nil
	}
	raw, plain, err := d.rawString()
	if err != nil {
		return "", err
	}
	if plain && string(raw) == *last {
		return *last, nil
	}
	*last, err = unquote(raw, plain)
	return *last, err
}

func (d *decoder) str() (string, error) {
	raw, plain, err := d.rawString()
	if err != nil {
		return "", err
	}
	return unquote(raw, plain)
}

// words reads an array of words, and joins them with commas.
func (d *decoder) words() (joined string, err error) {
	if !d.accept('[') {
		return "", errSyntax
	}
	for !d.accept(']') {
		if joined != "" {
			if !d.accept(',') {
				return "", errSyntax
			}
			joined += ","
		}
		word, err := d.str()
		if err != nil {
			return "", err
		}
		joined += word
	}
	return joined, nil
}

// line reads words for people.
func (d *decoder) line() (string, error) {
	s, err := d.str()
	return oneLine(s), err
}

func (d *decoder) base64() (string, error) {
	raw, plain, err := d.rawString()
	if err != nil || !plain {
		return "", errors.Join(errSyntax, err)
	}
	s, err := base64.RawURLEncoding.DecodeString(string(raw))
	return string(s), err
}

// unquote turns the inside of a JSON string into the string; plain says that nothing in it is escaped.
func unquote(raw []byte, plain bool) (string, error) {
	if plain {
		return string(raw), nil
	}
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	var s string
	err := json.Unmarshal(quoted, &s)
	return s, err
}

func (d *decoder) integer() (int64, error) {
	s := d.number()
	v, err := strconv.ParseInt(string(s), 10, 64)
	if err != nil {
		return 0, errSyntax
	}
	return v, nil
}

func (d *decoder) uint32() (uint32, error) {
	v, err := d.integer()
	if err != nil || v < 0 || v > 1<<32-1 {
		return 0, errSyntax
	}
	return uint32(v), nil
}

func (d *decoder) boolean() (bool, error) {
	if d.word("true") {
		return true, nil
	}
	if d.word("false") {
		return false, nil
	}
	return false, errSyntax
}
