package export

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fustor/fustor/internal/store/flock"
)

// A file grows as FILE.part and gets its name when it is whole. Its checkpoints are in FILE.part.resume, JSON lines: the first says what
// is exported, each of the others is a checkpoint.

// Question says what is exported. Only an export of the same question goes on where another one stopped.
type Question struct {
	Format   int             `json:"format"` // of this file: 1
	Asked    json.RawMessage `json:"asked"`
	MomentNs int64           `json:"moment_ns"`       // what ages such as 7d count from
	AsOf     string          `json:"as_of,omitempty"` // the version that is exported, as the API is asked for it
}

// fileFormat is the format of the checkpoints.
const fileFormat = 1

// mark is a checkpoint as a line.
type mark struct {
	Checkpoint
	State []byte `json:"state,omitempty"`
}

// File is an export to a file.
type File struct {
	path     string
	question Question
	marks    []mark // of the run before
	marked   bool   // there is a checkpoint
	partial  bool   // there was a partial file
	unlock   func() // the lock is on the partial file itself
	part     *os.File
	journal  *os.File
}

// ErrOther says that the partial file is of another export.
var ErrOther = errors.New("the partial file is of another export")

// OpenFile makes an export to a file, or opens one that was cut off, if resume is true and it is of the same question. Partial says whether
// there was one. It writes nothing yet.
func OpenFile(path string, q Question, resume bool) (f *File, partial bool, err error) {
	q.Format = fileFormat
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, false, &fs.PathError{Op: "export", Path: path, Err: errors.New("it is no regular file")}
	}
	f = &File{path: path, question: q}
	_, err = os.Stat(f.partName())
	f.partial = err == nil
	if !f.partial {
		made, err := os.OpenFile(f.partName(), os.O_CREATE, 0o666)
		if err != nil {
			return nil, false, err
		}
		made.Close()
	}
	if f.unlock, err = flock.TryLock(f.partName()); err != nil {
		return nil, false, err
	}
	if err := f.read(resume); err != nil {
		f.unlock()
		return nil, false, err
	}
	return f, f.partial, nil
}

func (f *File) partName() string    { return f.path + ".part" }
func (f *File) journalName() string { return f.path + ".part.resume" }

// Question is what is exported: that of the partial file, if the export goes on.
func (f *File) Question() Question { return f.question }

// Partial reports whether there is a partial file with which a later run can go on.
func (f *File) Partial() bool { return f.marked }

// Resumes reports whether the export goes on where another one stopped.
func (f *File) Resumes() bool { return len(f.marks) > 0 }

// read reads the checkpoints of a partial file.
func (f *File) read(resume bool) error {
	if !resume {
		return nil
	}
	part, err := os.Stat(f.partName())
	if err != nil {
		return ignoreAbsent(err)
	}
	journal, err := os.Open(f.journalName())
	if err != nil {
		return ignoreAbsent(err)
	}
	defer journal.Close()
	lines := bufio.NewReader(journal)
	var q Question
	if err := readJSON(lines, &q); err != nil { // cut off before the first checkpoint
		return nil
	}
	if q.Format != fileFormat || string(q.Asked) != string(f.question.Asked) {
		return ErrOther
	}
	for {
		var m mark
		if err := readJSON(lines, &m); err != nil || m.Bytes > part.Size() {
			break // of a machine that lost power, the rest may be missing
		}
		f.marks = append(f.marks, m)
	}
	if f.Resumes() {
		f.question, f.marked = q, true
	}
	return nil
}

func readJSON(lines *bufio.Reader, to any) error {
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, to)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Start implements Output.
func (f *File) Start() (from Checkpoint, states [][]byte) {
	for _, m := range f.marks {
		from, states = m.Checkpoint, append(states, m.State)
	}
	return from, states
}

// open opens the partial file behind the last checkpoint. Nothing is written before there is something to write.
func (f *File) open() (err error) {
	from, _ := f.Start()
	flags := os.O_RDWR | os.O_CREATE
	if f.part, err = os.OpenFile(f.partName(), flags, 0o666); err != nil {
		return err
	}
	if err = f.part.Truncate(from.Bytes); err == nil {
		_, err = f.part.Seek(from.Bytes, io.SeekStart)
	}
	if err != nil {
		return err
	}
	if f.journal, err = os.OpenFile(f.journalName(), flags|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	if err := f.note(f.question); err != nil {
		return err
	}
	for _, m := range f.marks {
		if err := f.note(m); err != nil {
			return err
		}
	}
	return nil
}

// note appends a line to the checkpoints.
func (f *File) note(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = f.journal.Write(append(line, '\n'))
	return err
}

func (f *File) Write(p []byte) (int, error) {
	if f.part == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	return f.part.Write(p)
}

// Checkpoint implements Output.
func (f *File) Checkpoint(c Checkpoint, state []byte) error {
	if err := f.part.Sync(); err != nil {
		return err
	}
	f.marked = true
	return f.note(mark{c, state})
}

// Commit implements Output.
func (f *File) Commit() error {
	if _, err := f.Write(nil); err != nil { // an export of nothing is a file, too
		return err
	}
	defer f.close()
	if err := f.part.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.partName(), f.path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(f.path)); err == nil {
		_ = dir.Sync() // not every file system can
		dir.Close()
	}
	return os.Remove(f.journalName())
}

// Abort implements Output. The partial file stays if there is a checkpoint in it.
func (f *File) Abort() {
	defer f.close()
	if f.part == nil && f.partial || f.marked {
		return
	}
	_ = os.Remove(f.partName())
	_ = os.Remove(f.journalName())
}

func (f *File) close() {
	if f.part != nil {
		f.part.Close()
		f.journal.Close()
	}
	f.unlock()
}

// Stream is an export to a writer that cannot go on later: a pipe, an upload.
type Stream struct{ io.Writer }

// Start implements Output.
func (Stream) Start() (Checkpoint, [][]byte) { return Checkpoint{}, nil }

// Checkpoint implements Output.
func (Stream) Checkpoint(Checkpoint, []byte) error { return nil }

// Commit implements Output.
func (Stream) Commit() error { return nil }

// Abort implements Output.
func (Stream) Abort() {}

// Upload is an export into a writer whose other end uploads it. It is there once the upload has ended well.
type Upload struct {
	Stream
	pipe *io.PipeWriter
	done chan struct{} // closed once the upload has ended
	err  error         // of the upload
}

// NewUpload begins an upload of what is written to the Upload.
func NewUpload(upload func(io.Reader) error) *Upload {
	r, w := io.Pipe()
	u := &Upload{Stream: Stream{bufio.NewWriterSize(w, 1<<20)}, pipe: w, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		if u.err = upload(r); u.err == nil {
			r.Close()
			return
		}
		r.CloseWithError(u.err)
	}()
	return u
}

// Commit implements Output.
func (u *Upload) Commit() error {
	err := u.Writer.(*bufio.Writer).Flush()
	u.pipe.CloseWithError(err)
	if <-u.done; u.err != nil {
		return u.err
	}
	return err
}

// Abort implements Output.
func (u *Upload) Abort() {
	u.pipe.CloseWithError(errAborted)
	<-u.done
}

// errAborted is what an upload of an export that failed reads.
var errAborted = errors.New("the export failed")
