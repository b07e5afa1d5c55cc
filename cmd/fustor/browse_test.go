//go:build !reading

package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/fustor/fustor/cmd/fustor/internal/browse"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/wait"
)

// hostile are names that are dangerous on a terminal.
var hostile = []string{"\x1b[31mred\x07", "x\u202egnp.exe", "\xff\xfe", "two\nlines", "' or \"", "wide 漢字", "\x9b2J"}

// browsed is a small tree in a view, and what was asked of its server.
type browsed struct {
	t     *testing.T
	dir   string
	st    store.Store
	url   string
	asked []string // path and query of each request
}

func newBrowsed(t *testing.T) *browsed {
	b := &browsed{t: t, dir: t.TempDir()}
	b.write("big/a.bin", 5000)
	b.write("big/b.bin", 3000)
	for i := range 450 {
		b.write(fmt.Sprintf("many/%03d", i), i)
	}
	for _, name := range hostile {
		b.write("hostile/"+name, 1)
	}
	b.write("small.txt", 7)
	if err := errors.Join(os.Mkdir(filepath.Join(b.dir, "empty"), 0o755), os.Symlink("big", filepath.Join(b.dir, "link"))); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.st, err = local.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	server, err := serveDirectory(t.Context(), b.st, b.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(at)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked = append(b.asked, r.URL.Path+"?"+r.URL.RawQuery)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	b.url = front.URL
	return b
}

func (b *browsed) write(path string, size int) {
	at := filepath.Join(b.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, make([]byte, size), 0o644)); err != nil {
		b.t.Fatal(err)
	}
}

// again scans the directory as another session, which begins when the one before has ended.
func (b *browsed) again() {
	overview, err := session.List(b.t.Context(), b.st, "default")
	if err != nil {
		b.t.Fatal(err)
	}
	ledger, err := session.NewLedger(b.st, store.NewClock(time.Now), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := ledger.End(b.t.Context(), "default", overview.Leader, session.ByAdmin); err != nil {
		b.t.Fatal(err)
	}
	if err := indexDirectory(b.t.Context(), b.st, b.dir); err != nil {
		b.t.Fatal(err)
	}
}

// hands type into a Model, and do what it asks for at once.
type hands struct {
	t      *testing.T
	m      *browse.Model
	copied string
	quit   bool
}

func (b *browsed) open(o browse.Options, width, height int) *hands {
	b.t.Helper()
	server, err := client.New(client.Options{URL: b.url, View: "default", Key: "secret"})
	if err != nil {
		b.t.Fatal(err)
	}
	o.Server, o.Path, o.Explain = server, cmp.Or(o.Path, "/"), func(err error) (string, string) {
		e := explain(err)
		return e.msg, e.hint
	}
	h := &hands{t: b.t, m: browse.New(b.t.Context(), o)}
	h.tell(tea.WindowSizeMsg{Width: width, Height: height})
	h.do(h.m.Init())
	return h
}

func (h *hands) tell(msg tea.Msg) {
	_, cmd := h.m.Update(msg)
	h.do(cmd)
}

func (h *hands) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case tea.QuitMsg:
		h.quit = true
	default:
		if fmt.Sprintf("%T", msg) == "tea.setClipboardMsg" {
			h.copied = fmt.Sprint(msg)
			return
		}
		h.tell(msg)
	}
}

var keys = map[string]rune{"down": tea.KeyDown, "up": tea.KeyUp, "left": tea.KeyLeft, "right": tea.KeyRight, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "home": tea.KeyHome,
	"end": tea.KeyEnd, "pgdown": tea.KeyPgDown, "backspace": tea.KeyBackspace, "space": tea.KeySpace}

// press types keys: names of keys, or characters.
func (h *hands) press(names ...string) string {
	h.t.Helper()
	for _, name := range names {
		switch code, named := keys[name]; {
		case named:
			h.tell(tea.KeyPressMsg{Code: code})
		case name == "ctrl+c":
			h.tell(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
		default:
			for _, r := range name {
				h.tell(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
		}
	}
	return h.m.Text()
}

var attributes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// screen is what is seen, which must have the shape of the terminal, and nothing that could drive one.
func screen(t *testing.T, text string, width, height int) string {
	t.Helper()
	plain := attributes.ReplaceAllString(text, "")
	lines := strings.Split(plain, "\n")
	if len(lines) > height {
		t.Errorf("%d lines on a screen of %d:\n%s", len(lines), height, plain)
	}
	for _, line := range lines {
		if got := ansi.StringWidth(line); got > width {
			t.Errorf("a line of %d columns on a screen of %d: %q", got, width, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("a character that drives terminals: %q", line)
		}
	}
	return plain
}

// names are the entries on a screen, in order.
func names(text string) (out []string) {
	lines := strings.Split(attributes.ReplaceAllString(text, ""), "\n")
	for _, line := range lines[2 : len(lines)-2] {
		if fields := strings.Fields(line); len(fields) > 0 {
			out = append(out, fields[len(fields)-1])
		}
	}
	return out
}

func (h *hands) sees(want ...string) {
	h.t.Helper()
	text := screen(h.t, h.m.Text(), 1000, 1000)
	for _, w := range want {
		if !strings.Contains(text, w) {
			h.t.Errorf("no %q on\n%s", w, text)
		}
	}
}

// TestBrowse types the keys into the real model, in front of the real query handler.
func TestBrowse(t *testing.T) {
	b := newBrowsed(t)
	h := b.open(browse.Options{Sort: "size"}, 80, 24)
	h.sees("default:/", "SIZE v", "SHARE", "FILES", "AGE", "OWNER", "99 KiB [######### ]", "450", "1 of 6", "106 KiB  460 files")
	if got := names(h.m.Text()); !slices.Equal(got, []string{"many/", "big/", "hostile/", "small.txt", "big", "empty/"}) {
		t.Errorf("by size: %q", got)
	}
	for keys, want := range map[string][]string{
		"n":  {"big/", "empty/", "hostile/", "big", "many/", "small.txt"},
		"nn": {"small.txt", "many/", "big", "hostile/", "empty/", "big/"},
		"C":  {"many/", "hostile/", "big/", "small.txt", "empty/", "big"},
		"CC": {"big", "empty/", "small.txt", "big/", "hostile/", "many/"},
	} {
		if got := names(b.open(browse.Options{Sort: "size"}, 80, 24).press(keys)); !slices.Equal(got, want) {
			t.Errorf("keys %s: %q, want %q", keys, got, want)
		}
	}

	// A directory opens by two calls, of one page of it; the next page comes as its end is near, and the way back needs no call.
	b.asked = nil
	h.press("home", "enter")
	h.sees("default:/many", "1 of 200+", "448 B")
	if len(b.asked) != 2 || !strings.Contains(strings.Join(b.asked, " "), "limit=200") {
		t.Errorf("asked %q", b.asked)
	}
	h.press("end")
	h.sees("200 of 450", "250 B")
	h.press("end")
	h.sees("450 of 450")
	b.asked = nil
	h.press("left")
	h.sees("default:/", "1 of 6")
	if len(b.asked) != 0 {
		t.Errorf("asked %q on the way back", b.asked)
	}

	// Filter, information, columns, help.
	h.press("enter", "/", "44", "enter")
	h.sees("names with 44", "1 of 14")
	h.press("/", "backspace", "backspace", "4?9", "esc")
	h.sees("1 of 14")
	h.press("/", "backspace", "backspace", "4?9", "enter")
	h.sees("1 of 5")
	h.press("/", "backspace", "backspace", "backspace", "[", "enter")
	h.sees("invalid pattern")
	h.press("/", "backspace", "enter")
	h.sees("1 of 200+")
	h.press("enter")
	h.sees("Entry", "path       /many/449", "449 B (449 bytes)", "mode       -rw-")
	h.press("q", "?")
	h.sees("Keys", "other way round")
	h.press("q")
	if h.quit {
		t.Error("a key that closes the help ends the program")
	}
	h.press("c", "m", "u", "g", "b")
	if text := h.m.Text(); strings.Contains(text, "FILES") || strings.Contains(text, "OWNER") || strings.Contains(text, "AGE") || !strings.Contains(text, "%") {
		t.Errorf("the columns are\n%s", text)
	}
	h.press("a")
	h.sees("ON DISK v")
	h.press("q")
	if !h.quit {
		t.Error("q does not end it")
	}
}

// TestBrowseHostileNames: whatever is in a view, the screen stays a screen, and what is marked and copied are the bytes.
func TestBrowseHostileNames(t *testing.T) {
	b := newBrowsed(t)
	for _, size := range [][2]int{{80, 24}, {40, 12}, {20, 5}, {7, 3}, {1, 1}, {300, 60}} {
		h := b.open(browse.Options{Sort: "name", Path: "/hostile", Color: true}, size[0], size[1])
		for _, key := range []string{"down", "i", "x", "?", "down", "x", "space", "/", "é", "esc", "y", "o", "x", "a", "g", "b", "end"} {
			screen(t, h.press(key), size[0], size[1])
		}
		h.tell(tea.WindowSizeMsg{Width: 33, Height: 9})
		screen(t, h.m.Text(), 33, 9)
	}
	h := b.open(browse.Options{Sort: "name", Path: "/hostile"}, 80, 24)
	var want []string
	for range hostile {
		h.press("space")
	}
	for _, name := range hostile {
		want = append(want, "/hostile/"+name)
	}
	slices.Sort(want)
	var got []string
	for _, p := range h.m.Marked() {
		got = append(got, p.Path)
	}
	if !slices.Equal(got, want) {
		t.Errorf("marked %q, want %q", got, want)
	}
	h.sees("7 marked", `''$'\033''[31mred'$'\a'`, `''$'\377\376'`, `'x'$'\342\200\256''gnp.exe'`, "wide 漢字")
	h.press("home", "space", "U")
	if len(h.m.Marked()) != 0 {
		t.Error("U leaves marks")
	}
	if h.press("home", "y"); h.copied != `'/hostile/'$'\033''[31mred'$'\a'` {
		t.Errorf("copied %q", h.copied)
	}
	if h.press("left", "home", "y"); h.copied != "/big" {
		t.Errorf("copied %q", h.copied)
	}
	if h.press("o"); h.copied != b.url+"/browse/default/big" {
		t.Errorf("the page is %q", h.copied)
	}
	h.press("x", "left")
	h.sees("root of the view")
	h.press("ctrl+c")
	if !h.quit {
		t.Error("ctrl+c does not end it")
	}
}

// TestBrowseGrowth: which directories grew since a version, level by level; and a server that is away, and back.
func TestBrowseGrowth(t *testing.T) {
	b := newBrowsed(t)
	b.write("big/inner/c.bin", 9000)
	if err := os.RemoveAll(filepath.Join(b.dir, "many")); err != nil {
		t.Fatal(err)
	}
	b.again()
	h := b.open(browse.Options{Sort: "size"}, 80, 24)
	h.press("G", "backspace", "backspace", "1", "enter")
	h.sees("GREW v", "grown since", "+8.8 KiB", "-99 KiB")
	if got := names(h.m.Text()); len(got) != 2 || got[0] != "many/" || got[1] != "big/" {
		t.Errorf("grew: %q", got)
	}
	h.press("down", "enter")
	h.sees("default:/big", "inner/", "+8.8 KiB")
	h.press("enter")
	h.sees("no directory in here has other sums")
	h.press("s")
	h.sees("c.bin")

	away, err := client.New(client.Options{URL: "http://127.0.0.1:1", View: "default"})
	if err != nil {
		t.Fatal(err)
	}
	lost := &hands{t: t, m: browse.New(t.Context(), browse.Options{Server: away, Path: "/", Explain: func(err error) (string, string) { return explain(err).msg, "start it" }})}
	lost.tell(tea.WindowSizeMsg{Width: 80, Height: 10})
	lost.do(lost.m.Init())
	lost.sees("no answer from http://127.0.0.1:1", "start it")
}

// TestBrowseForest: what is in a member stays in it, and the way back leads to the forest.
func TestBrowseForest(t *testing.T) {
	b := newBrowsed(t)
	c := viewconfig.Default("all")
	c.Members = []string{"default"}
	if err := viewconfig.Save(t.Context(), b.st, c); err != nil {
		t.Fatal(err)
	}
	in := func(view string) (*client.Client, error) {
		return client.New(client.Options{URL: b.url, View: view, Key: "secret"})
	}
	forest, err := in("all")
	if err != nil {
		t.Fatal(err)
	}
	h := &hands{t: t, m: browse.New(t.Context(), browse.Options{Server: forest, In: in, Path: "/", Sort: "size"})}
	h.tell(tea.WindowSizeMsg{Width: 100, Height: 24})
	h.do(h.m.Init())
	h.sees("all:/", "VIEW", "default", "many/")
	h.press("space", "up", "enter")
	h.sees("default:/many", "1 of 200+")
	h.press("left")
	h.sees("all:/", "1 marked")
	if got := h.m.Marked(); len(got) != 1 || got[0].String() != "default:/many" {
		t.Errorf("marked %v", got)
	}
}

// TestBrowseInATerminal runs the program in tmux: keys, a resize, what is printed, with and without colours.
func TestBrowseInATerminal(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is missing")
	}
	b := newBrowsed(t)
	fustor, err := exec.LookPath("fustor") // testscript's: this test program
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), "tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		c.Env = append(os.Environ(), "GORACE="+endAtOnce, "FUSTOR_API_KEY=secret", "HOME="+t.TempDir(), "NO_COLOR=1", "LC_ALL=C.UTF-8")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	until := func(want string) string {
		t.Helper()
		for deadline := time.Now().Add(wait.Limit(10 * time.Second)); ; {
			seen := tmux("capture-pane", "-p", "-t", "fustor")
			if strings.Contains(seen, want) {
				return seen
			}
			if time.Now().After(deadline) {
				t.Fatalf("no %q on the terminal:\n%s", want, seen)
			}
			select {
			case <-t.Context().Done():
				t.Fatal(t.Context().Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	tmux("new-session", "-d", "-s", "fustor", "-x", "80", "-y", "24", fmt.Sprintf("%s browse --url %s >%s; echo ended with $?; exec cat", fustor, b.url, out))
	defer func() { _ = exec.Command("tmux", "-S", socket, "kill-server").Run() }()
	until("many/")
	tmux("send-keys", "-t", "fustor", "Down", "Down", "Enter")
	until("default:/hostile")
	tmux("resize-window", "-t", "fustor", "-x", "40", "-y", "12")
	if seen := until("? help  / filter  n s C M G order  spac"); strings.Contains(seen, "OWNER") || !strings.Contains(seen, "NAME") {
		t.Errorf("40 columns have\n%s", seen)
	}
	tmux("send-keys", "-t", "fustor", "n", "Home", "Space", "Space")
	until("2 marked")
	tmux("send-keys", "-t", "fustor", "q")
	until("ended with 0")
	printed, err := os.ReadFile(out)
	if want := "/hostile/\x1b[31mred\x07\n/hostile/' or \"\n"; err != nil || string(printed) != want {
		t.Errorf("printed %q, %v; want %q", printed, err, want)
	}

	tmux("respawn-pane", "-k", "-t", "fustor", fmt.Sprintf("TERM=dumb %s browse --url %s; echo ended with $?; exec cat", fustor, b.url))
	if seen := until("ended with 2"); !strings.Contains(strings.ReplaceAll(seen, "\n", ""), "(TERM=dumb)") {
		t.Errorf("a dumb terminal has\n%s", seen)
	}
	tmux("respawn-pane", "-k", "-t", "fustor", fmt.Sprintf("%s browse --url %s; echo ended with $?; exec cat", fustor, b.url))
	until("many/")
	tmux("send-keys", "-t", "fustor", "C-c")
	until("ended with 130")
}

// TestBrowseWithoutATerminal says so.
func TestBrowseWithoutATerminal(t *testing.T) {
	b := newBrowsed(t)
	c := exec.CommandContext(t.Context(), "setsid", "-w", "fustor", "browse", "--url", b.url)
	c.Env = append(os.Environ(), "TERM=xterm", "FUSTOR_API_KEY=secret", "GORACE="+endAtOnce)
	var said bytes.Buffer
	c.Stderr = &said
	err := c.Run()
	var exit *exec.ExitError
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("setsid is missing")
	}
	if !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !strings.Contains(said.String(), "there is no terminal") {
		t.Errorf("%v: %s", err, said.String())
	}
}
