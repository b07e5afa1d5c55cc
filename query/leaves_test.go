package query

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/testkit/fault"
)

// leafReads is a fixture whose server has just started, and how many leaves it has read since it was asked last.
type leafReads struct {
	*fixture
	mu   sync.Mutex
	read []string
}

func (l *leafReads) restart() {
	l.t.Helper()
	st := fault.New(l.st, func(c fault.Call) fault.Fault {
		l.mu.Lock()
		defer l.mu.Unlock()
		if strings.HasSuffix(c.Key, ".leaf") {
			l.read = append(l.read, c.Key)
		}
		return fault.Fault{}
	})
	server, err := New(Options{Store: st, Authenticator: l.server.keys, HeadTTL: -1})
	if err != nil {
		l.t.Fatal(err)
	}
	l.server = server
}

func (l *leafReads) reads(want int, what string) {
	l.t.Helper()
	if len(l.read) != want {
		l.t.Errorf("%s: %d leaves were read, not %d", what, len(l.read), want)
	}
	l.read = nil
}

// hundred is a view of seven partitions in four leaves, which begin at /d00, /d28, /d56 and /d84, about.
func hundred(t *testing.T) (*leafReads, []evidence.Row) {
	var files []evidence.Row
	for i := range 100 {
		files = append(files, file(fmt.Sprintf("/d%02d/f", i), 1))
	}
	l, rows := &leafReads{fixture: newFixture(t)}, treeOf(files...)
	l.inLeaves(true)
	if m := l.base(testView, rows); len(m.Leaves) != 4 {
		t.Fatalf("%d leaves", len(m.Leaves))
	}
	l.restart()
	return l, rows
}

// TestQuestionsReadTheirLeaves: a question reads the leaves of the keys that it asks for alone, each once, and after a fold or a merge only
// those that are new.
func TestQuestionsReadTheirLeaves(t *testing.T) {
	l, rows := hundred(t)
	at := func(i int) string { return fmt.Sprintf("/d%02d/f", i) }
	l.call("metadata", "path", at(10)).is(200)
	l.reads(1, "a lookup")
	l.call("metadata", "path", at(11)).is(200)
	l.reads(0, "another lookup there")
	l.restart()
	l.call("list", "path", "/d10").is(200)
	if n := len(l.read); n < 1 || n > 2 { // the directory is not where its entries are
		t.Errorf("a list: %d leaves were read", n)
	}
	for name, params := range map[string][]string{"a lookup of the directory": {"stats", "path", "/d50"}, "a search with a limit": {"search", "pattern", "*", "limit", "3"}} {
		l.restart()
		l.read = nil
		l.call(params[0], params[1:]...).is(200)
		if n := len(l.read); n < 1 || n > 2 {
			t.Errorf("%s: %d leaves were read", name, n)
		}
	}
	l.restart()
	l.read = nil
	if got := len(l.call("search", "pattern", "f", "limit", "1000").is(200).object()["entries"].([]any)); got != 100 {
		t.Errorf("a search finds %d files", got)
	}
	l.reads(4, "a search of everything")
	l.delta(testView, change(rows, append(slices.Clone(rows), file("/d99/g", 1))))
	l.call("search", "pattern", "f", "limit", "1000").is(200)
	l.reads(0, "a search after a fold")

	head := *l.last[testView]
	part := head.Base[0]
	first := l.layer(testView, rows[:part.Rows])
	l.commit(testView, func(m *manifest.Manifest) { m.Base = append([]layer.Info{first}, m.Base[1:]...) })
	l.call("metadata", "path", at(99)).is(200)
	l.reads(0, "a lookup elsewhere after a merge")
	l.call("search", "pattern", "f", "limit", "1000").is(200)
	l.reads(1, "a search after a merge")
}

// TestLeavesThatAreNotThere fail the questions that need them, by name; of a version that retention has removed they say so.
func TestLeavesThatAreNotThere(t *testing.T) {
	l, rows := hundred(t)
	old := l.last[testView]
	cursor := l.call("tree", "limit", "1").is(200).object()["next_cursor"].(string)
	damaged := layout.Leaf(testView, old.Leaves[3].ID)
	good, err := l.st.Get(t.Context(), damaged)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{nil, good.Body[1:], []byte("{}")} {
		if body == nil {
			err = l.st.Delete(t.Context(), damaged)
		} else {
			_, err = l.st.Put(t.Context(), damaged, body)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.restart()
		l.call("metadata", "path", "/d01/f").is(200)
		l.call("metadata", "path", "/d99/f").problem(502, damaged)
		l.call("search", "pattern", "f").problem(502, damaged)
	}
	l.base(testView, rows)
	for _, key := range []string{old.Key(), damaged} {
		if err := l.st.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	l.restart()
	l.call("tree", "limit", "10", "cursor", cursor).problem(410, "version 1")
	l.call("metadata", "path", "/d99/f").is(200)
}
