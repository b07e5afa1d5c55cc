package export

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/client"
)

// ncdu's format (https://dev.yorhel.nl/ncdu/jsonfmt) is nested: a directory is an array of its own object and of what is in it. Entries come
// directory by directory, so that all entries of /a come before those of /a/b. A directory that may have entries is held until they
// come, or until the directory that it is in ends: memory is some 200 bytes for each of these, along one path.

// ncdu writes the format.
type ncdu struct {
	w     io.Writer
	buf   []byte
	root  string
	stack []*ncduDirectory
	// spared is how much is written before the next checkpoint at least, so that large states are rare.
	spared int64
}

// ncduDirectory is a directory that is open: its entries are being written.
type ncduDirectory struct {
	prefix  string            // of the paths below it: "/", "/a/"
	waiting map[string][]byte // the objects of directories in it, by name
	names   []string          // of those that are, or were, waiting, in order
}

// ncduLevel is an open directory as a checkpoint has it, from the outermost on: names are bytes.
type ncduLevel struct {
	Prefix  []byte        `json:"prefix"`
	Waiting []ncduWaiting `json:"waiting,omitempty"`
}

type ncduWaiting struct {
	Name   []byte `json:"name"`
	Object []byte `json:"object"`
}

// NCDU is ncdu's format. root is the path that the export begins at; version is that of this program, made says when the tree was so, in
// Unix seconds. Each checkpoint is at least so many bytes after the one before.
func NCDU(root, version string, made, every int64) Format {
	return func(w io.Writer, states [][]byte) (Encoder, error) {
		e := &ncdu{w: w, root: root, spared: every}
		if len(states) == 0 {
			e.buf = append(e.buf, `[1,2,{"progname":"fustor","progver":`...)
			e.buf = appendRaw(e.buf, version)
			e.buf = append(strconv.AppendInt(append(e.buf, `,"timestamp":`...), made, 10), '}')
			return e, nil
		}
		var levels []ncduLevel
		if err := json.Unmarshal(states[len(states)-1], &levels); err != nil {
			return nil, err
		}
		for _, d := range levels {
			open := &ncduDirectory{prefix: string(d.Prefix)}
			for _, x := range d.Waiting {
				open.wait(string(x.Name), x.Object)
			}
			e.stack = append(e.stack, open)
		}
		return e, nil
	}
}

func (d *ncduDirectory) wait(name string, object []byte) {
	if d.waiting == nil {
		d.waiting = map[string][]byte{}
	}
	d.waiting[name] = object
	d.names = append(d.names, name)
}

// Checkpoint implements Encoder.
func (e *ncdu) Checkpoint(since int64) ([]byte, bool, error) {
	if since+int64(len(e.buf)) < e.spared {
		return nil, false, nil
	}
	levels := make([]ncduLevel, 0, len(e.stack))
	for _, d := range e.stack {
		open := ncduLevel{Prefix: []byte(d.prefix)}
		for _, name := range d.names {
			if object, is := d.waiting[name]; is {
				open.Waiting = append(open.Waiting, ncduWaiting{[]byte(name), object})
			}
		}
		levels = append(levels, open)
	}
	if err := e.flush(); err != nil {
		return nil, false, err
	}
	state, err := json.Marshal(levels)
	e.spared = max(e.spared, 8*int64(len(state)))
	return state, true, err
}

func (e *ncdu) flush() error {
	_, err := e.w.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

// ErrForest says that the format has one tree.
var ErrForest = errors.New("ncdu's format has one tree, and the view is a forest of several")

// Add implements Encoder.
func (e *ncdu) Add(n *client.Node) error {
	if n.Member != "" {
		return ErrForest
	}
	isDirectory := n.Letter() == 'd'
	if len(e.stack) == 0 {
		e.begin(n, isDirectory)
		if n.Path == e.root && isDirectory {
			return nil
		}
	}
	slash := strings.LastIndexByte(n.Path, '/')
	e.enter(n.Path[:slash+1])
	name := n.Path[slash+1:]
	object := appendObject(nil, n, name)
	if isDirectory && !childless(n) {
		e.stack[len(e.stack)-1].wait(name, object)
		return nil
	}
	e.buf = append(e.buf, ",\n"...)
	if isDirectory {
		e.buf = append(append(append(e.buf, '['), object...), ']')
	} else {
		e.buf = append(e.buf, object...)
	}
	if len(e.buf) < 64<<10 {
		return nil
	}
	return e.flush()
}

// childless reports whether a directory is known to have no entries.
func childless(n *client.Node) bool {
	return n.Subtree != nil && n.Subtree.Files+n.Subtree.Directories+n.Subtree.Others == 1
}

// begin opens the outermost directory: the root of the export, or the directory that it is in if it is none.
func (e *ncdu) begin(n *client.Node, isDirectory bool) {
	top := e.root
	if n.Path == e.root && !isDirectory {
		top = n.Path[:max(1, strings.LastIndexByte(n.Path, '/'))]
	}
	e.buf = append(e.buf, ",\n["...)
	if n.Path == top {
		e.buf = appendObject(e.buf, n, top)
	} else {
		e.buf = append(appendRaw(append(e.buf, `{"name":`...), top), '}')
	}
	prefix := top + "/"
	if top == "/" {
		prefix = "/"
	}
	e.stack = append(e.stack, &ncduDirectory{prefix: prefix})
}

// enter closes and opens directories until the one with the prefix is open.
func (e *ncdu) enter(prefix string) {
	for len(e.stack) > 1 && !strings.HasPrefix(prefix, e.stack[len(e.stack)-1].prefix) {
		e.leave()
	}
	for {
		top := e.stack[len(e.stack)-1]
		rest := prefix[len(top.prefix):]
		if rest == "" {
			return
		}
		name, _, _ := strings.Cut(rest, "/")
		e.buf = append(e.buf, ",\n["...)
		if object, is := top.waiting[name]; is {
			e.buf = append(e.buf, object...)
			delete(top.waiting, name)
		} else { // it is not among what is exported, but something in it is
			e.buf = append(appendRaw(append(e.buf, `{"name":`...), name), '}')
		}
		e.stack = append(e.stack, &ncduDirectory{prefix: top.prefix + name + "/"})
	}
}

// leave closes the innermost directory. What still waits in it has no entries.
func (e *ncdu) leave() {
	top := e.stack[len(e.stack)-1]
	for _, name := range top.names {
		if object, is := top.waiting[name]; is {
			e.buf = append(append(append(e.buf, ",\n["...), object...), ']')
		}
	}
	e.buf = append(e.buf, ']')
	e.stack = e.stack[:len(e.stack)-1]
}

// End implements Encoder.
func (e *ncdu) End() error {
	if len(e.stack) == 0 { // nothing was found
		e.begin(&client.Node{Type: "directory"}, true)
	}
	for len(e.stack) > 0 {
		e.leave()
	}
	e.buf = append(e.buf, "]\n"...)
	return e.flush()
}

// fileTypes are S_IFMT of the types.
var fileTypes = map[byte]uint32{'d': 0o040000, 'f': 0o100000, 'l': 0o120000}

// appendObject appends what ncdu knows of an entry.
func appendObject(b []byte, n *client.Node, name string) []byte {
	b = appendRaw(append(b, `{"name":`...), name)
	b = strconv.AppendInt(append(b, `,"asize":`...), n.Size, 10)
	if n.Links > 0 {
		b = strconv.AppendInt(append(b, `,"dsize":`...), n.Allocated, 10)
	}
	if n.Inode != "" && n.Links > 1 {
		b = append(append(b, `,"ino":`...), n.Inode...)
		b = strconv.AppendUint(append(b, `,"hlnkc":true,"nlink":`...), uint64(n.Links), 10)
	}
	b = strconv.AppendUint(append(b, `,"uid":`...), uint64(n.UID), 10)
	b = strconv.AppendUint(append(b, `,"gid":`...), uint64(n.GID), 10)
	b = strconv.AppendUint(append(b, `,"mode":`...), uint64(n.Mode|fileTypes[n.Letter()]), 10)
	b = strconv.AppendInt(append(b, `,"mtime":`...), floorDiv(n.MtimeNs, 1e9), 10)
	if n.Letter() != 'd' && n.Letter() != 'f' {
		b = append(b, `,"notreg":true`...)
	}
	return append(b, '}')
}

func floorDiv(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}

// appendRaw appends a name as ncdu writes it: all bytes as they are, but for those that JSON must escape.
func appendRaw(b []byte, name string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
