//go:build unix

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// moment is a version, and what find said of the tree when nothing changed it.
type moment struct {
	version uint64
	disk    tree
	inodes  map[string]string // by path
}

// TestDiffIsWhatFindSays changes a tree by thousands of operations. Between any two moments at which it was at rest, `fustor diff` says
// what find -printf before and after says; and the sums of the diffs from each moment to the next add up to those from the first to the
// last. `fustor watch` from the first moment on leads through all of them.
func TestDiffIsWhatFindSays(t *testing.T) {
	t.Parallel()
	const rounds = 5
	dir := t.TempDir()
	u := startUp(t, dir, t.TempDir())
	w := newWorkload(t, filepath.Join(dir, "work"), 90)
	var moments []moment
	for round := range rounds + 1 {
		if round > 0 {
			w.run(operationsOf(shortOr(4000, 10_000)) / rounds)
		}
		if t.Failed() {
			t.FailNow()
		}
		u.equal(t, dir, time.Now(), patience(30*time.Second))
		moments = append(moments, moment{u.current(t), gnuFind(t, dir), inodesIn(t, dir)})
	}
	moved, renamed := 0, 0
	for i, before := range moments {
		for _, after := range moments[i+1:] {
			m, r := u.checkDiff(t, before, after)
			moved, renamed = moved+m, renamed+r
		}
	}
	t.Logf("%d moves recognised, %d of them of the same inode", moved, renamed)
	if moved == 0 || renamed < moved/2 { // the others were copied, with their times, and the original was removed
		t.Errorf("%d moves recognised, %d of them of the same inode", moved, renamed)
	}
	last := len(moments) - 1
	steps, whole := [3]int64{}, u.diffSums(t, moments[0], moments[last])
	for i := range last {
		for k, n := range u.diffSums(t, moments[i], moments[i+1]) {
			steps[k] += n
		}
	}
	a, b := moments[0].disk.sums(), moments[last].disk.sums()
	if want := [3]int64{b.Files - a.Files, b.Directories - a.Directories, b.Bytes - a.Bytes}; steps != want || whole != want {
		t.Errorf("files, directories and bytes have grown by %v in steps, by %v at once; the tree has grown by %v", steps, whole, want)
	}
	u.checkFeed(t, moments)
	u.Stop()
}

// checkFeed makes the changes of a feed since the first moment in what find said then. At each later moment they have led to what find
// says there.
func (s server) checkFeed(t testing.TB, moments []moment) {
	t.Helper()
	copied, next, last := newReplica(moments[0].disk, moments[0].version), 1, moments[len(moments)-1]
	w := &watchProcess{args: slices.Concat([]string{"/", "--json", "--after", number(moments[0].version)}, s)}
	w.start(t)
	defer w.kill()
	limit := time.After(patience(30 * time.Second))
	for done := false; !done; {
		select {
		case <-limit:
			t.Fatalf("the feed has come to version %d of %d: %s", copied.version, last.version, difference(copied.tree, last.disk))
		case line, ok := <-w.lines:
			if !ok {
				t.Fatalf("watch ended: %s", w.said.String())
			}
			var l watchLine
			if err := json.Unmarshal(line, &l); err != nil {
				t.Fatal(err)
			}
			for ; next < len(moments) && moments[next].version < l.Version; next++ {
				if d := difference(copied.tree, moments[next].disk); d != "" {
					t.Fatalf("at moment %d, version %d, the feed has led elsewhere: %s", next, moments[next].version, d)
				}
			}
			if err := copied.apply(t, line); err != nil {
				t.Fatal(err)
			}
			// What there is in the end may have been there in a version before the last.
			done = l.Complete && (l.Version >= last.version || difference(copied.tree, last.disk) == "")
		}
	}
	if d := difference(copied.tree, last.disk); d != "" || next < len(moments)-1 {
		t.Fatalf("at the last moment (after %d of %d) the feed has led elsewhere: %s", next, len(moments)-1, d)
	}
	t.Logf("the feed has %d changes", copied.changes)
}

// current is the number of the current version.
func (s server) current(t testing.TB) uint64 {
	t.Helper()
	var v struct {
		Version uint64 `json:"version"`
	}
	r := s.ask(t, "versions", "--json")
	line, _, _ := strings.Cut(r.stdout, "\n")
	if err := json.Unmarshal([]byte(line), &v); r.code != 0 || err != nil || v.Version == 0 {
		t.Fatalf("versions prints %q, %q", r.stdout, r.stderr)
	}
	return v.Version
}

// inodesIn are the numbers of the inodes of a tree.
func inodesIn(t testing.TB, dir string) map[string]string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", `%P\0%i\0`).Output()
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[string]string{}
	for fields := strings.Split(string(out), "\x00"); len(fields) > 2; fields = fields[2:] {
		inodes["/"+fields[0]] = fields[1]
	}
	return inodes
}

// diffLine is a line of diff --json.
type diffLine struct {
	Change     string          `json:"change"`
	Path       string          `json:"path"`
	PathB64    string          `json:"path_b64"`
	MovedTo    string          `json:"moved_to"`
	MovedToB64 string          `json:"moved_to_b64"`
	Fields     []string        `json:"fields"`
	Before     json.RawMessage `json:"before"`
	After      json.RawMessage `json:"after"`
}

// entryOf is the state before or after; the zero one if there is none.
func entryOf(t testing.TB, state json.RawMessage) entry {
	t.Helper()
	if state == nil {
		return entry{}
	}
	_, e, err := parseEntry(append([]byte(`{"path":"/",`), state[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// checkDiff compares the diff of two moments with the trees, and returns how many moves it has, and of how many the inode is the same.
func (s server) checkDiff(t testing.TB, before, after moment) (moved, renamed int) {
	t.Helper()
	r := s.ask(t, "diff", "--from", fmt.Sprint(before.version), "--to", fmt.Sprint(after.version), "--json")
	if r.code != 0 {
		t.Fatalf("diff: exit code %d: %s", r.code, r.stderr)
	}
	differ := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(r.stdout))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var d diffLine
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		path, err := bytesOf(d.Path, d.PathB64)
		if err != nil || differ[path] {
			t.Fatalf("diff prints %q: %v, or twice", lines.Bytes(), err)
		}
		differ[path] = true
		was, is := entryOf(t, d.Before), entryOf(t, d.After)
		if was != before.disk[path] || is != after.disk[path] {
			t.Fatalf("%s %q\n    diff: %v, then %v\n    find: %v, then %v", d.Change, path, was, is, before.disk[path], after.disk[path])
		}
		if was == is && !ofInode(d.Fields) {
			t.Fatalf("diff prints %s, and find sees no difference", lines.Bytes())
		}
		to, err := bytesOf(d.MovedTo, d.MovedToB64)
		if err != nil {
			t.Fatal(err)
		}
		if to == "" {
			continue
		}
		moved++
		if before.inodes[path] == after.inodes[to] {
			renamed++
		}
		if now := after.disk[to]; now.kind != was.kind || now.size != was.size || now.mtimeNs != was.mtimeNs || before.disk[to] != (entry{}) {
			t.Fatalf("%q, %v, is said to be moved to %q, %v", path, was, to, now)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for path, was := range before.disk {
		if is := after.disk[path]; is != was && !differ[path] {
			t.Fatalf("diff lacks %q: %v, then %v", path, was, is)
		}
	}
	for path, is := range after.disk {
		if _, there := before.disk[path]; !there && !differ[path] {
			t.Fatalf("diff lacks %q: %v is new", path, is)
		}
	}
	return moved, renamed
}

// ofInode reports whether fields are those that find was not asked for.
func ofInode(fields []string) bool {
	for _, f := range fields {
		if !strings.Contains(" allocated links ctime inode birth acl ", " "+f+" ") {
			return false
		}
	}
	return len(fields) > 0
}

// diffSums are how many more files, directories and bytes there are in the whole tree, by diff --summary.
func (s server) diffSums(t testing.TB, before, after moment) (n [3]int64) {
	t.Helper()
	r := s.ask(t, "diff", "--from", fmt.Sprint(before.version), "--to", fmt.Sprint(after.version), "--summary", "--depth", "0", "--format", "csv")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.code != 0 || len(lines) != 2 {
		t.Fatalf("diff --summary prints %q, %q", r.stdout, r.stderr)
	}
	column := map[string]int64{}
	values := strings.Split(lines[1], ",")
	for i, name := range strings.Split(lines[0], ",") {
		column[name], _ = strconv.ParseInt(values[i], 10, 64)
	}
	return [3]int64{column["added_files"] - column["removed_files"], column["added_directories"] - column["removed_directories"],
		column["added_bytes"] - column["removed_bytes"] + column["changed_bytes"]}
}
