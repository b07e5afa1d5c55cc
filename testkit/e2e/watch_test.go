//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// watchLine is a line of watch --json.
type watchLine struct {
	diffLine
	Cursor   string `json:"cursor"`
	Version  uint64 `json:"version"`
	Complete bool   `json:"complete"`
}

// replica is a tree that a consumer keeps by the lines of a feed.
type replica struct {
	tree
	cursor  string // of the last line that is in it
	changes int
	again   int // lines that came again
	seen    map[string]bool
	version uint64
}

func newReplica(of tree, at uint64) *replica {
	r := &replica{tree: tree{}, cursor: number(at), seen: map[string]bool{}}
	for path, e := range of {
		r.tree[path] = e
	}
	return r
}

func number(v uint64) string { return strconv.FormatUint(v, 10) }

// apply makes the change of a line. One that was made before, or that misses one before it, does not fit.
func (r *replica) apply(t testing.TB, line []byte) error {
	var l watchLine
	if err := json.Unmarshal(line, &l); err != nil || l.Cursor == "" {
		return fmt.Errorf("watch prints %q: %v", line, err)
	}
	if l.Version < r.version {
		return fmt.Errorf("version %d comes after %d", l.Version, r.version)
	}
	r.cursor, r.version = l.Cursor, l.Version
	if l.Complete {
		return nil
	}
	path, err := bytesOf(l.Path, l.PathB64)
	if err != nil {
		return err
	}
	was, there := r.tree[path]
	before, after := entryOf(t, l.Before), entryOf(t, l.After)
	if there != (l.Before != nil) || there && was != before || r.seen[l.Cursor] {
		return fmt.Errorf("the change does not fit %v (seen: %v): %s", was, r.seen[l.Cursor], line)
	}
	r.seen[l.Cursor] = true
	r.changes++
	if delete(r.tree, path); l.After != nil {
		r.tree[path] = after
	}
	return nil
}

// applyNew is apply for consumers that get some lines again: those have cursors that were there before.
func (r *replica) applyNew(t testing.TB, line []byte) error {
	var l watchLine
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("watch prints %q: %v", line, err)
	}
	if !l.Complete && r.seen[l.Cursor] {
		r.again++
		return nil
	}
	if l.Complete && l.Version < r.version {
		return nil
	}
	return r.apply(t, line)
}

// watchProcess is a `fustor watch` that is killed and started again.
type watchProcess struct {
	args   []string
	env    []string
	stdout io.Writer // nil: lines has them
	lines  chan []byte
	cmd    *exec.Cmd
	said   bytes.Buffer
	done   sync.WaitGroup
}

func (w *watchProcess) start(t testing.TB, more ...string) {
	t.Helper()
	w.said.Reset()
	w.cmd = exec.Command(fustor, slices.Concat([]string{"watch"}, w.args, more)...)
	w.cmd.Env = append(os.Environ(), w.env...)
	w.cmd.Stderr = &w.said
	var out io.ReadCloser
	var err error
	if w.cmd.Stdout = w.stdout; w.stdout == nil {
		out, err = w.cmd.StdoutPipe()
	}
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if out == nil {
		return
	}
	lines := make(chan []byte)
	w.lines = lines
	w.done.Go(func() {
		defer close(lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil { // half a line is none
				return
			}
			lines <- line
		}
	})
}

// kill kills the watch. What it printed before and nobody has read is lost.
func (w *watchProcess) kill() {
	_ = w.cmd.Process.Kill()
	if w.lines != nil {
		go func(lines chan []byte) {
			for range lines {
			}
		}(w.lines)
		w.done.Wait()
	}
	_ = w.cmd.Wait()
}

// TestWatchKilledAnywhere: three consumers follow a tree under work, and are killed at random moments, as is the server. One keeps the cursor
// with its copy of the tree, one has a state file, one a command for each version. In the end each copy is what find says; the first
// consumer got no change twice, and what the others got again had been there before.
func TestWatchKilledAnywhere(t *testing.T) {
	t.Parallel()
	p := startParts(t, fileStore(t))
	dir, data := t.TempDir(), t.TempDir()
	p.startAgent(dir, "agent-1", "")
	work(t, filepath.Join(dir, "before"), 30, 200, nil)
	p.equal(t, dir, time.Now(), patience(settle))
	at, base := p.current(t), gnuFind(t, dir)

	exact := newReplica(base, at)
	one := &watchProcess{args: slices.Concat([]string{"/", "--json"}, p.server)}
	printed, err := os.OpenFile(filepath.Join(data, "printed"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer printed.Close()
	two := &watchProcess{stdout: printed, args: slices.Concat([]string{"/", "--json", "--after", number(at), "--state", filepath.Join(data, "two")}, p.server)}
	command := `cd "$OUT" && cat >part.$$ && tail -n 1 part.$$ | grep -q '"complete":true' && mv part.$$ version.$(printf %020d "$FUSTOR_VERSION")`
	versions := filepath.Join(data, "versions")
	if err := os.Mkdir(versions, 0o700); err != nil {
		t.Fatal(err)
	}
	three := &watchProcess{env: []string{"OUT=" + versions}, stdout: io.Discard,
		args: slices.Concat([]string{"/", "--json", "--after", number(at), "--state", filepath.Join(data, "three"), "--exec", command}, p.server)}

	all := []*watchProcess{one, two, three}
	one.start(t, "--after", exact.cursor)
	two.start(t)
	three.start(t)
	defer func() {
		for _, w := range all {
			w.kill()
		}
	}()
	rnd := rand.New(rand.NewPCG(21, 4))
	// take reads what the first consumer gets for a while, up to some changes.
	take := func(d time.Duration, most int) {
		for end, until := time.After(d), exact.changes+most; exact.changes < until; {
			select {
			case <-end:
				return
			case line, ok := <-one.lines:
				if !ok { // it began while there was no server, which is a failure
					if one.kill(); !strings.Contains(one.said.String(), "connection refused") && !strings.Contains(one.said.String(), "connection reset") {
						t.Fatalf("the watch has ended: %s", one.said.String())
					}
					one.start(t, "--after", exact.cursor)
					continue
				}
				if err := exact.apply(t, line); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, state := range []string{"two", "three"} { // from then on, they wait for their server
		eventually(t, patience(time.Minute), "the position is kept", func() bool {
			_, err := os.Stat(filepath.Join(data, state))
			return err == nil
		})
	}
	rounds := shortOr(12, 60)
	operations := 0
	for round := range rounds {
		stop := load(t, filepath.Join(dir, fmt.Sprint("round", round%5)), uint64(2100+round))
		take(time.Duration(rnd.Int64N(int64(500*time.Millisecond))), 1e9)
		if round%3 == 1 {
			p.query.Kill()
			take(time.Duration(rnd.Int64N(int64(100*time.Millisecond))), 1e9)
			p.query.Restart()
		}
		switch all[rnd.IntN(3)] {
		case one:
			take(time.Second, 1+rnd.IntN(30)) // most often, the last one is in the middle of a version
			one.kill()
			one.start(t, "--after", exact.cursor)
		case two:
			two.kill()
			// Of a line that was cut off, nothing was noted.
			text, err := os.ReadFile(printed.Name())
			if err == nil {
				err = printed.Truncate(int64(bytes.LastIndexByte(text, '\n') + 1))
			}
			if err != nil {
				t.Fatal(err)
			}
			two.start(t)
		default:
			three.kill()
			three.start(t)
		}
		operations += stop()
	}
	p.equal(t, dir, time.Now(), patience(settle))
	disk := gnuFind(t, dir)
	eventually(t, patience(time.Minute), "the first consumer has everything", func() bool {
		take(100*time.Millisecond, 1e9)
		return difference(exact.tree, disk) == ""
	})
	var again, whole *replica
	eventually(t, patience(time.Minute), "the second consumer has everything", func() bool {
		again = newReplica(base, at)
		text, err := os.ReadFile(printed.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.SplitAfter(string(text), "\n") {
			if strings.HasSuffix(line, "\n") {
				if err := again.applyNew(t, []byte(line)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return difference(again.tree, disk) == ""
	})
	eventually(t, patience(time.Minute), "the third consumer has everything", func() bool {
		whole = newReplica(base, at)
		files, err := filepath.Glob(filepath.Join(versions, "version.*"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(files)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(text) {
				if err := whole.apply(t, line); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
			}
		}
		return difference(whole.tree, disk) == ""
	})
	t.Logf("%d operations, %d changes; the second consumer got %d again", operations, exact.changes, again.again)
	if exact.changes != again.changes || exact.changes != whole.changes || exact.changes == 0 {
		t.Errorf("%d, %d and %d changes", exact.changes, again.changes, whole.changes)
	}
}
