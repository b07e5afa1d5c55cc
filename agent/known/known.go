// Package known remembers on disk which directories of a tree were listed, and with which mtime, so that an agent that is
// started again need not list them again.
//
// Two files: PATH, all directories in order, written as a whole and renamed into place; and PATH.log, to which those are
// appended that were listed since. Neither is forced to disk. What the files say must be true of the view: a directory is
// handed to Listed once its listing was emitted, waits in memory until the segments that it went out in are durable and
// their session was found alive after that, and only then is written (docs/decisions.md has the argument). Files of another
// Identity, and damaged ones, count as not there; of a log the part before the damage counts. Package agent is the caller.
package known

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/scan"
)

// Identity is what the files hold for. Whatever decides what is listed, and which view has it, is in it.
type Identity struct {
	View     string   `json:"view"`
	Epoch    string   `json:"view_epoch"`
	Root     string   `json:"root"`
	Ino      uint64   `json:"ino"`
	Dev      uint64   `json:"dev"`             // 0 where device numbers do not last
	Birth    int64    `json:"birth,omitempty"` // the root's, ns; 0: not known, as in the files of earlier builds
	Excludes []string `json:"excludes"`
	// ExcludeRules is how patterns are read: Gitignore; 0: there are none but the default ones, or an earlier build has read them.
	ExcludeRules int  `json:"exclude_rules,omitempty"`
	Cross        bool `json:"cross_filesystems"`
}

// Gitignore is the Identity.ExcludeRules of today.
const Gitignore = 1

// equal reports whether two are of the same tree and view. A birth that one of them does not know says nothing.
func (id Identity) equal(o Identity) bool {
	if id.Birth == 0 || o.Birth == 0 {
		id.Birth, o.Birth = 0, 0
	}
	e := slices.Equal(id.Excludes, o.Excludes)
	id.Excludes, o.Excludes = nil, nil
	a, _ := json.Marshal(id)
	b, _ := json.Marshal(o)
	return e && string(a) == string(b)
}

const (
	blockBytes = 64 << 10
	// maxWaiting is how many bytes may wait to be durable. What comes beyond is not remembered, and listed again.
	maxWaiting = 64 << 20
	// maxSessions is how many of the last sessions that contributed are remembered.
	maxSessions = 64
)

// Log is the files of one tree and view, in use. It is safe for concurrent use.
type Log struct {
	path string

	mu       sync.Mutex
	id       Identity
	sessions []string // that contributed
	file     *os.File // the log; nil: nothing is written any more
	size     int64    // of it
	base     int64    // size of the whole file
	open     block
	waiting  []block
	bytes    int // of waiting
	failed   error
}

// block is records that become true at once.
type block struct {
	session string
	seq     uint64 // the last segment that they are in
	durable time.Time
	body    []byte
	last    string // path, which the next one is coded against
}

// Open takes the files at path into use for a tree and a view. What is there of others, or was told by one of the broken
// sessions, whose segments the view has not taken in, is removed. The error says what was wrong with a file that is not used;
// the Log works nevertheless.
func Open(path string, id Identity, broken []string) (*Log, error) {
	l := &Log{path: path, id: id}
	err := l.check(broken)
	if err != nil || l.sessions == nil {
		l.sessions = nil
		err = errors.Join(err, l.begin(nil))
		return l, err
	}
	l.file, err = os.OpenFile(l.logPath(), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return l, errors.Join(err, l.begin(nil))
	}
	return l, nil
}

func (l *Log) logPath() string { return l.path + ".log" }

// header is the first line of each file.
type header struct {
	Format   string   `json:"format"`
	Identity Identity `json:"identity"`
	Sessions []string `json:"sessions,omitempty"` // that contributed to the whole file
}

const (
	baseFormat = "fustor directories 4"
	logFormat  = "fustor directories log 4"
)

// check reads both headers, and the sessions of the log. No sessions and no error: there is nothing.
func (l *Log) check(broken []string) error {
	state, err := read(l.path, l.id, func(record) {})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range state.sessions {
		if slices.Contains(broken, s) {
			return fmt.Errorf("%s: session %s, which wrote it, was not folded completely", l.path, s)
		}
	}
	l.sessions, l.size, l.base = state.sessions, state.logSize, state.baseSize
	if l.sessions == nil {
		l.sessions = []string{}
	}
	if state.logSize < state.logBytes { // cut off what is torn, or what follows is not readable
		return os.Truncate(l.logPath(), state.logSize)
	}
	return nil
}

// begin starts with a new log, and no whole file unless body is one. The lock is held, or nobody else knows l.
func (l *Log) begin(body []byte) error {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
	var err error
	if body == nil {
		if err = os.Remove(l.path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = replace(l.path, body)
	}
	l.base = int64(len(body))
	head, encodeErr := json.Marshal(header{Format: logFormat, Identity: l.id})
	if err = errors.Join(err, encodeErr); err == nil {
		head = append(head, '\n')
		if err = replace(l.logPath(), head); err == nil {
			l.size = int64(len(head))
			l.file, err = os.OpenFile(l.logPath(), os.O_WRONLY|os.O_APPEND, 0o600)
		}
	}
	return err
}

// replace writes a file as a whole.
func replace(path string, body []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, body, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// Is reports whether l is for this tree and view.
func (l *Log) Is(id Identity) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id.equal(id)
}

// Root reports whether l is for the root with these numbers and this birth.
func (l *Log) Root(ino, dev uint64, birth int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id.Ino == ino && l.id.Dev == dev && l.id.Birth == birth
}

// Listed takes in that a directory was listed in full, in segments of the session up to seq. mtime is 0 where the directory's
// proves nothing.
func (l *Log) Listed(session string, seq uint64, path string, mtime int64, subdirectories iter.Seq[string]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.session != session || len(l.open.body) >= blockBytes {
		l.close()
		l.open = block{session: session}
	}
	if l.bytes > maxWaiting {
		return
	}
	b := &l.open
	b.seq = max(b.seq, seq)
	b.body = appendListed(b.body, b.last, path, mtime, subdirectories)
	b.last = path
}

// close ends the open block. The lock is held.
func (l *Log) close() {
	if len(l.open.body) > 0 {
		l.waiting = append(l.waiting, l.open)
		l.bytes += len(l.open.body)
	}
	l.open = block{}
}

// Sent takes in that the session's segments up to seq are durable.
func (l *Log) Sent(session string, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.session == session && l.open.seq <= seq {
		l.close()
	}
	now := time.Now()
	for i := range l.waiting {
		if b := &l.waiting[i]; b.session == session && b.seq <= seq && b.durable.IsZero() {
			b.durable = now
		}
	}
}

// Alive takes in that the session was found alive by a request that began at that time: what was durable by then is folded.
// What other sessions told and was not found so is forgotten.
func (l *Log) Alive(session string, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.waiting[:0]
	var write []block
	for _, b := range l.waiting {
		switch {
		case b.session != session:
			l.bytes -= len(b.body)
		case b.durable.IsZero() || b.durable.After(began):
			left = append(left, b)
		default:
			write = append(write, b)
			l.bytes -= len(b.body)
		}
	}
	clear(l.waiting[len(left):])
	l.waiting = left
	l.write(session, write)
}

// write appends blocks to the log. An error ends the log: the files stay as they are. The lock is held.
func (l *Log) write(session string, blocks []block) {
	if len(blocks) == 0 || l.file == nil {
		return
	}
	var out []byte
	if !slices.Contains(l.sessions, session) {
		l.sessions = append(l.sessions, session)
		l.sessions = l.sessions[max(0, len(l.sessions)-maxSessions):]
		out = appendBlock(out, appendSession(nil, session))
	}
	for _, b := range blocks {
		out = appendBlock(out, b.body)
	}
	if _, err := l.file.Write(out); err != nil {
		_ = l.file.Close()
		l.file, l.failed = nil, err
		return
	}
	l.size += int64(len(out))
}

func appendBlock(to, body []byte) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(len(body)))
	to = binary.LittleEndian.AppendUint64(to, xxhash.Sum64(body))
	return append(to, body...)
}

// Load is what the files say: the root, nil if there is nothing. The tree is the caller's.
func (l *Log) Load() (*scan.Known, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.load()
}

func (l *Log) load() (*scan.Known, error) {
	var t builder
	_, err := read(l.path, l.id, t.add)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return t.root, nil
}

// Compact writes all directories anew and empties the log, if that has become large beside them. It returns an error of
// the log too, once.
func (l *Log) Compact() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed; err != nil {
		l.failed = nil
		return err
	}
	const small = 64 << 10
	if l.file == nil || l.size < small || l.size < l.base/4 {
		return nil
	}
	root, err := l.load()
	if err != nil || root == nil {
		return err
	}
	return l.begin(encode(header{Format: baseFormat, Identity: l.id, Sessions: l.sessions}, root))
}

// Close ends the use of the files. What is not known to be folded is not in them.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// Clear forgets everything: the tree is another, or the view does not hold what was listed.
func (l *Log) Clear() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.waiting, l.bytes, l.sessions = block{}, nil, 0, nil
	return l.begin(nil)
}
