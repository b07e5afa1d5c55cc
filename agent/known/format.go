package known

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/scan"
)

// The whole file: the header's line; for each directory, in the order of a walk, its depth, how many bytes its name shares
// with that of the directory before it in the same one, the rest of the name, and its mtime; the end; and eight bytes, the
// xxhash of everything before. Numbers are varints. An mtime is 0, or one more than the zigzag difference from the one
// before that was not 0.
//
// The log: the header's line; then blocks of four bytes length, eight bytes xxhash, and records: a session, or a directory
// that was listed, with the names of all its subdirectories.

var (
	errOther   = errors.New("it belongs to another tree or view")
	errDamaged = errors.New("it is damaged")
)

const endDepth = 1 << 20 // deeper than any path

// Kinds of records in the log.
const (
	kindSession = 1
	kindListed  = 2
)

func appendSession(to []byte, session string) []byte {
	return appendText(append(to, kindSession), session)
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

func appendListed(to []byte, before, path string, mtime int64, subdirectories iter.Seq[string]) []byte {
	shared := sharedPrefix(before, path)
	to = binary.AppendUvarint(append(to, kindListed), uint64(shared))
	to = appendText(to, path[shared:])
	to = binary.AppendVarint(to, mtime)
	for name := range subdirectories {
		to = appendText(to, name)
	}
	return appendText(to, "") // no name is empty
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// encode is the whole file.
func encode(h header, root *scan.Known) []byte {
	head, err := json.Marshal(h)
	if err != nil { // there is nothing in it that JSON does not have
		panic(err)
	}
	e := encoder{out: append(head, '\n')}
	e.directory(root, 0, "")
	e.out = binary.AppendUvarint(e.out, endDepth)
	return binary.LittleEndian.AppendUint64(e.out, xxhash.Sum64(e.out))
}

type encoder struct {
	out   []byte
	mtime int64
}

func (e *encoder) directory(k *scan.Known, depth int, sibling string) {
	shared := sharedPrefix(sibling, k.Name)
	e.out = binary.AppendUvarint(e.out, uint64(depth))
	e.out = binary.AppendUvarint(e.out, uint64(shared))
	e.out = appendText(e.out, k.Name[shared:])
	if k.Mtime == 0 {
		e.out = append(e.out, 0)
	} else {
		d := k.Mtime - e.mtime
		e.out = binary.AppendUvarint(e.out, uint64(d<<1^d>>63)+1)
		e.mtime = k.Mtime
	}
	sibling = ""
	for _, c := range k.Dirs {
		e.directory(c, depth+1, sibling)
		sibling = c.Name
	}
}

// record is what one entry of a file says. In the whole file its directory is in depth below the one before; in the log it
// has a path and all its subdirectories.
type record struct {
	depth   int // -1: of the log
	name    string
	path    string
	mtime   int64
	subdirs []string
}

// state is what both files have beside directories.
type state struct {
	sessions          []string
	baseSize          int64
	logSize, logBytes int64 // what of the log is whole, and how long it is
}

// read gives every record of both files to add.
func read(path string, id Identity, add func(record)) (state, error) {
	var s state
	log, err := os.ReadFile(path + ".log")
	if err != nil {
		return s, err
	}
	s.logBytes = int64(len(log))
	_, rest, err := readHeader(log, logFormat, id)
	if err != nil {
		return s, fmt.Errorf("%s.log: %w", path, err)
	}
	base, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return s, err
	default:
		h, err := readBase(base, id, add)
		if err != nil {
			return s, fmt.Errorf("%s: %w", path, err)
		}
		s.sessions, s.baseSize = h.Sessions, int64(len(base))
	}
	whole := readLog(rest, func(session string) { s.sessions = append(s.sessions, session) }, add)
	s.logSize = s.logBytes - int64(len(rest)) + int64(whole)
	return s, nil
}

func readHeader(b []byte, format string, id Identity) (h header, rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte{'\n'})
	if !ok || json.Unmarshal(line, &h) != nil || h.Format != format {
		return h, nil, errDamaged
	}
	if !h.Identity.equal(id) {
		return h, nil, errOther
	}
	return h, rest, nil
}

func readBase(b []byte, id Identity, add func(record)) (header, error) {
	h, _, err := readHeader(b, baseFormat, id)
	if err != nil {
		return h, err
	}
	if len(b) < 8 || xxhash.Sum64(b[:len(b)-8]) != binary.LittleEndian.Uint64(b[len(b)-8:]) {
		return h, errDamaged
	}
	_, rest, _ := bytes.Cut(b[:len(b)-8], []byte{'\n'})
	d := decoder{b: rest}
	var names []string
	mtime := int64(0)
	for {
		depth := d.number()
		if d.bad || depth == endDepth {
			break
		}
		if depth > uint64(len(names)) {
			return h, errDamaged
		}
		shared, rest := d.number(), d.text()
		sibling := ""
		if int(depth) < len(names) {
			sibling = names[depth]
		}
		if shared > uint64(len(sibling)) {
			return h, errDamaged
		}
		r := record{depth: int(depth), name: sibling[:shared] + rest}
		names = append(names[:depth], r.name)
		if m := d.number(); m != 0 {
			m--
			mtime += int64(m>>1) ^ -int64(m&1)
			r.mtime = mtime
		}
		if d.bad {
			break
		}
		add(r)
	}
	if d.bad || len(d.b) != 0 {
		return h, errDamaged
	}
	return h, nil
}

// readLog reads what is whole of the blocks, and returns how long that is.
func readLog(b []byte, session func(string), add func(record)) (whole int) {
	const head = 12
	for len(b)-whole >= head {
		at := b[whole:]
		size := int(binary.LittleEndian.Uint32(at))
		if size > len(at)-head || xxhash.Sum64(at[head:head+size]) != binary.LittleEndian.Uint64(at[4:]) {
			break
		}
		d := decoder{b: at[head : head+size]}
		path := ""
		for len(d.b) > 0 && !d.bad {
			switch d.number() {
			case kindSession:
				session(d.text())
			case kindListed:
				path = d.listed(path, add)
			default:
				d.bad = true
			}
		}
		if d.bad {
			break
		}
		whole += head + size
	}
	return whole
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) listed(before string, add func(record)) (path string) {
	shared := d.number()
	if shared > uint64(len(before)) {
		d.bad = true
		return ""
	}
	r := record{depth: -1, path: before[:shared] + d.text()}
	m, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return ""
	}
	d.b, r.mtime = d.b[n:], m
	for !d.bad {
		name := d.text()
		if name == "" {
			break
		}
		r.subdirs = append(r.subdirs, name)
	}
	if !d.bad && strings.HasPrefix(r.path, "/") {
		add(r)
	}
	return r.path
}

// builder puts the records together.
type builder struct {
	root  *scan.Known
	stack []*scan.Known // of the whole file
}

func (t *builder) add(r record) {
	if r.depth < 0 {
		t.listed(r)
		return
	}
	k := &scan.Known{Name: r.name, Mtime: r.mtime}
	if r.depth == 0 {
		t.root = k
	} else {
		above := t.stack[r.depth-1]
		above.Dirs = append(above.Dirs, k)
	}
	t.stack = append(t.stack[:r.depth], k)
}

// listed takes in a directory with its subdirectories: of those that it had, those that are not among them are gone.
func (t *builder) listed(r record) {
	if t.root == nil {
		t.root = &scan.Known{}
	}
	k := t.root
	for name := range strings.SplitSeq(strings.Trim(r.path, "/"), "/") {
		if name == "" {
			continue
		}
		c := k.Child(name)
		if c == nil {
			c = &scan.Known{Name: name}
			k.Insert(c)
		}
		k = c
	}
	k.Mtime = r.mtime
	dirs := make([]*scan.Known, len(r.subdirs))
	for i, name := range r.subdirs {
		if dirs[i] = k.Child(name); dirs[i] == nil {
			dirs[i] = &scan.Known{Name: name}
		}
	}
	k.Dirs = dirs
}
