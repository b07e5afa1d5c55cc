//go:build unix

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// workload changes a tree as people and programs do, at random but from a seed. Several may run at once, each below a
// directory of its own.
type workload struct {
	t    testing.TB
	root string
	rnd  *rand.Rand
	// Paths that there were; some may have gone since with a directory above them.
	dirs, files []string
	made        int
	did         map[string]int
	// withoutLinks: no hard links.
	withoutLinks bool
}

func newWorkload(t testing.TB, root string, seed uint64) *workload {
	t.Helper()
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return &workload{t: t, root: root, rnd: rand.New(rand.NewPCG(seed, 1)), did: map[string]int{}}
}

// operations are what a workload does, and how often in a hundred or so.
var operations = []struct {
	name   string
	weight int
	do     func(*workload)
}{
	{"create", 24, (*workload).create},
	{"append", 10, (*workload).append},
	{"overwrite", 6, (*workload).overwrite},
	{"truncate", 3, (*workload).truncate},
	{"replace", 6, (*workload).replace},
	{"rename file", 8, (*workload).renameFile},
	{"rename directory", 3, (*workload).renameDir},
	{"delete file", 12, (*workload).deleteFile},
	{"delete tree", 1, (*workload).deleteTree},
	{"mkdir -p", 5, (*workload).mkdirs},
	{"rmdir", 2, (*workload).rmdir},
	{"symlink", 4, (*workload).symlink},
	{"hard link", 2, (*workload).link},
	{"fifo", 1, (*workload).fifo},
	{"other type", 2, (*workload).otherType},
	{"chmod", 4, (*workload).chmod},
	{"chown", 1, (*workload).chown},
	{"utimes", 4, (*workload).utimes},
	{"cp -p", 4, (*workload).copyPreserving},
	{"cp -p a tree", 1, (*workload).copyTree},
}

// run does n operations, and now and then an rsync, where there is one. It ends early when the test failed.
func (w *workload) run(n int) {
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	_, err := exec.LookPath("rsync")
	rsync := err == nil
	for i := range n {
		if w.t.Failed() {
			return
		}
		if rsync && i%250 == 249 {
			w.did["rsync -a"]++
			w.rsync()
			continue
		}
		at := w.rnd.IntN(total)
		for _, o := range operations {
			if at -= o.weight; at < 0 {
				if w.withoutLinks && o.name == "hard link" {
					break
				}
				w.did[o.name]++
				o.do(w)
				break
			}
		}
	}
}

// must reports what cannot happen to someone who has the tree for himself. It is called from goroutines.
func (w *workload) must(err error) {
	if err != nil {
		w.t.Errorf("workload: %v", err)
	}
}

// awkward are names that programs stumble over.
var awkward = []string{
	" ", "  leading", "trailing ", "two  spaces", "new\nline", "\n", "tab\there", `double"quote`, "single'quote", `back\slash`, "-", "-rf", "--help",
	"*", "?[a-z]*", "~", "#", "%2F%00", "$HOME", "`true`", "\x01\x7f", "\xff\xfe", "caf\xe9", "\xc3", "ok\x80", "é", "e\u0301", "日本語", "\u202eabc", "🚀",
	"...", ".hidden", "a&b=c;d", "+", "C:", "{}", "null", strings.Repeat("n", 255), strings.Repeat("\xfe", 255), strings.Repeat("語", 85),
}

// newName is a path below dir that nothing has.
func (w *workload) newName(dir string) string {
	name := ""
	if w.rnd.IntN(3) == 0 {
		name = awkward[w.rnd.IntN(len(awkward))]
	}
	for {
		path := dir + "/" + name
		if _, err := os.Lstat(path); name != "" && errors.Is(err, os.ErrNotExist) {
			return path
		}
		w.made++
		if name == "" {
			name = "f"
		}
		name = fmt.Sprint(name[:min(len(name), 240)], w.made)
	}
}

// pick chooses one of the paths that is still of this type, and forgets those that are not.
func (w *workload) pick(from *[]string, is func(os.FileMode) bool) (string, bool) {
	for len(*from) > 0 {
		i := w.rnd.IntN(len(*from))
		path := (*from)[i]
		if info, err := os.Lstat(path); err == nil && is(info.Mode()) {
			return path, true
		}
		last := len(*from) - 1
		(*from)[i] = (*from)[last]
		*from = (*from)[:last]
	}
	return "", false
}

// dir chooses a directory, mostly one that is not the root.
func (w *workload) dir() string {
	if w.rnd.IntN(20) > 0 {
		if d, ok := w.pick(&w.dirs, os.FileMode.IsDir); ok && len(d)-len(w.root) < 2500 {
			return d
		}
	}
	return w.root
}

// file chooses a regular file, made first if there is none. It has one name only: what is done to a file by one of its
// names no kernel reports of the others.
func (w *workload) file() string {
	for range 10 {
		f, ok := w.pick(&w.files, os.FileMode.IsRegular)
		var st syscall.Stat_t
		if ok && syscall.Lstat(f, &st) == nil && st.Nlink == 1 {
			return f
		}
	}
	w.create()
	return w.files[len(w.files)-1]
}

// name chooses a regular file that may have other names besides.
func (w *workload) name() string {
	if f, ok := w.pick(&w.files, os.FileMode.IsRegular); ok {
		return f
	}
	return w.file()
}

// any chooses a file or a directory.
func (w *workload) any() string {
	if w.rnd.IntN(4) == 0 {
		return w.dir()
	}
	return w.file()
}

func (w *workload) content() []byte {
	b := make([]byte, w.rnd.IntN(4000))
	for i := range b {
		b[i] = byte(w.rnd.Uint32())
	}
	return b
}

// sometime is a time to set, odd ones included.
func (w *workload) sometime() time.Time {
	switch w.rnd.IntN(8) {
	case 0:
		return time.Unix(-86400*365*10, 123456789)
	case 1:
		return time.Unix(0, 1)
	case 2:
		return time.Now().Add(1000 * time.Hour)
	}
	return time.Unix(w.rnd.Int64N(1_700_000_000), w.rnd.Int64N(1_000_000_000))
}

func (w *workload) create() {
	path := w.newName(w.dir())
	w.must(os.WriteFile(path, w.content(), 0o644))
	w.files = append(w.files, path)
}

func (w *workload) write(flags int) {
	f, err := os.OpenFile(w.file(), flags, 0)
	if err != nil {
		w.must(err)
		return
	}
	_, err = f.Write(w.content())
	w.must(err)
	w.must(f.Close())
}

func (w *workload) append()    { w.write(os.O_WRONLY | os.O_APPEND) }
func (w *workload) overwrite() { w.write(os.O_WRONLY) }
func (w *workload) truncate()  { w.must(os.Truncate(w.file(), w.rnd.Int64N(5000))) }

// replace writes beside a file and renames over it, as careful programs do.
func (w *workload) replace() {
	path := w.file()
	beside := w.newName(filepath.Dir(path))
	w.must(os.WriteFile(beside, w.content(), 0o600))
	w.must(os.Rename(beside, path))
}

// renameFile moves a file into another directory, in a quarter over an existing file.
func (w *workload) renameFile() {
	from, to := w.name(), w.newName(w.dir())
	if w.rnd.IntN(4) == 0 {
		to = w.name()
	}
	w.must(os.Rename(from, to))
	w.files = append(w.files, to)
}

func (w *workload) renameDir() {
	from := w.dir()
	to := w.newName(w.dir())
	if from == w.root || strings.HasPrefix(to, from+"/") {
		return
	}
	if w.deepest(from)-len(from)+len(to) > 3500 { // what is below would have no path that a system call takes
		return
	}
	w.must(os.Rename(from, to))
	for _, list := range []*[]string{&w.dirs, &w.files} {
		for i, path := range *list {
			if rest, below := strings.CutPrefix(path, from+"/"); below {
				(*list)[i] = to + "/" + rest
			}
		}
	}
	w.dirs = append(w.dirs, to)
}

// deepest is the length of the longest path below dir.
func (w *workload) deepest(dir string) int {
	longest := len(dir)
	for _, list := range [][]string{w.dirs, w.files} {
		for _, path := range list {
			if strings.HasPrefix(path, dir+"/") {
				longest = max(longest, len(path))
			}
		}
	}
	return longest
}

func (w *workload) deleteFile() { w.must(os.Remove(w.name())) }

// deleteTree deletes a directory that is not most of what there is.
func (w *workload) deleteTree() {
	dir := w.dir()
	below := 0
	for _, path := range w.files {
		if strings.HasPrefix(path, dir+"/") {
			below++
		}
	}
	if dir != w.root && below < max(20, len(w.files)/3) {
		w.must(os.RemoveAll(dir))
	}
}

// mkdirs makes a chain of directories, now and then a deep one.
func (w *workload) mkdirs() {
	path, depth := w.newName(w.dir()), 1+w.rnd.IntN(4)
	if w.rnd.IntN(40) == 0 {
		depth = 100
	}
	for range depth - 1 {
		w.dirs = append(w.dirs, path)
		path += fmt.Sprintf("/d%d", w.rnd.IntN(100))
	}
	w.must(os.MkdirAll(path, 0o755))
	w.dirs = append(w.dirs, path)
}

// rmdir removes a directory if it is empty.
func (w *workload) rmdir() {
	if dir := w.dir(); dir != w.root {
		_ = os.Remove(dir)
	}
}

func (w *workload) symlink() {
	target := w.any()
	switch w.rnd.IntN(3) {
	case 0:
		target = awkward[w.rnd.IntN(len(awkward))] // to nowhere, most likely
	case 1:
		target = w.root // out of the tree and up into it again
	}
	w.must(os.Symlink(target, w.newName(w.dir())))
}

func (w *workload) link() {
	to := w.newName(w.dir())
	w.must(os.Link(w.name(), to))
	w.files = append(w.files, to)
}

func (w *workload) fifo() { w.must(syscall.Mkfifo(w.newName(w.dir()), 0o640)) }

// otherType puts a directory, a symbolic link or a fifo where a file was, or a file where a small directory was.
func (w *workload) otherType() {
	if dir := w.dir(); w.rnd.IntN(2) == 0 && dir != w.root && dir != w.mirror() && os.Remove(dir) == nil {
		w.must(os.WriteFile(dir, w.content(), 0o640))
		w.files = append(w.files, dir)
		return
	}
	path := w.file()
	w.must(os.Remove(path))
	switch w.rnd.IntN(3) {
	case 0:
		w.must(os.Mkdir(path, 0o750))
		w.must(os.WriteFile(path+"/in it", w.content(), 0o640))
		w.dirs, w.files = append(w.dirs, path), append(w.files, path+"/in it")
	case 1:
		w.must(os.Symlink("..", path))
	default:
		w.must(syscall.Mkfifo(path, 0o600))
	}
}

func (w *workload) chmod() {
	mode := os.FileMode(w.rnd.IntN(0o1000)) | 0o700 // the owner keeps access, so that this runs for everyone
	if w.rnd.IntN(5) == 0 {
		mode |= os.ModeSticky | os.ModeSetgid
	}
	w.must(os.Chmod(w.any(), mode))
}

func (w *workload) chown() {
	if os.Getuid() == 0 {
		w.must(os.Lchown(w.any(), w.rnd.IntN(1<<31), w.rnd.IntN(1<<31)))
	}
}

func (w *workload) utimes() { w.must(os.Chtimes(w.any(), time.Time{}, w.sometime())) }

// copyPreserving is cp -p: a new file with the times and rights of an old one.
func (w *workload) copyPreserving() {
	w.copyFile(w.file(), w.newName(w.dir()))
}

func (w *workload) copyFile(from, to string) {
	info, err := os.Stat(from)
	if err != nil {
		w.must(err)
		return
	}
	body, err := os.ReadFile(from)
	w.must(err)
	w.must(os.WriteFile(to, body, 0o600))
	w.must(os.Chmod(to, info.Mode()))
	w.must(os.Chtimes(to, info.ModTime(), info.ModTime()))
	w.files = append(w.files, to)
}

// copyTree copies a directory's files into a new one, then gives that the times of the old one.
func (w *workload) copyTree() {
	from, to := w.dir(), w.newName(w.dir())
	entries, err := os.ReadDir(from)
	w.must(err)
	info, err := os.Stat(from)
	w.must(err)
	w.must(os.Mkdir(to, 0o755))
	for _, e := range entries[:min(len(entries), 30)] {
		if e.Type().IsRegular() {
			w.copyFile(from+"/"+e.Name(), to+"/"+e.Name())
		}
	}
	w.must(os.Chtimes(to, info.ModTime(), info.ModTime()))
	w.dirs = append(w.dirs, to)
}

// mirror is the directory that rsync writes to.
func (w *workload) mirror() string { return w.root + "/mirror" }

// rsync mirrors one directory of the tree into another, which it makes or updates.
func (w *workload) rsync() {
	from, to := w.dir(), w.mirror()
	if from == w.root || strings.HasPrefix(from, to) || w.deepest(from)-len(from)+len(to) > 3500 {
		return
	}
	args := []string{"-a", "--delete", from + "/", to + "/"}
	if out, err := exec.Command("rsync", args...).CombinedOutput(); err != nil {
		w.must(fmt.Errorf("rsync %q: %w: %s", args, err, out))
	}
	w.dirs = append(w.dirs, to)
}
