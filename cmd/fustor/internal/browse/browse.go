// Package browse shows a view on a whole terminal, directory by directory, with the keys of ncdu. `fustor browse` runs it.
//
// A Model holds what is on the screen, and asks the server for the page of a directory that is looked at, in the server's order: nothing
// here sorts or filters, so a directory of a million entries opens like one of ten. Requests that a key made pointless are cancelled.
// Names can never drive the terminal: package show quotes them. What is marked keeps its bytes.
package browse

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

// Options are what is browsed, and how.
type Options struct {
	Server *client.Client
	In     func(view string) (*client.Client, error) // of a member of a forest
	Path   string
	AsOf   string // for the title; empty: the current version
	Sort   string // as of client.Listing, or Growth
	Since  string // growth counts from then
	Color  bool
	Now    func() time.Time // nil: time.Now
	// Version is how the server reads what the user calls a version; nil: as it is.
	Version func(text string) string
	// OpenPage shows an address in a browser of this machine; nil: there is none.
	OpenPage func(address string) error
	// Explain is a failure in a sentence, and what to do about it.
	Explain func(error) (message, hint string)
}

// Growth is the order in which directories come by how much they grew since Options.Since. The server says which did, and no others are shown.
const Growth = "growth"

// Place is an entry: a path of a view, or of a member of a forest.
type Place struct {
	Member string
	Path   string
}

// String is the place as commands take it.
func (p Place) String() string { return client.Where(p.Member, p.Path) }

// Model is the state of the screen. It implements tea.Model.
type Model struct {
	o             Options
	ctx           context.Context
	width, height int

	frame
	below   []frame // the directories that were left to come here
	made    int     // requests
	members map[string]*client.Client

	show   struct{ allocated, files, age, owner bool }
	graph  int // none, bars, percents
	exact  bool
	marked []Place

	pane   *pane   // over the entries; nil: none
	prompt *prompt // being answered; nil: none
	note   string  // about the last key

	leave bool // without printing what is marked
	ended bool
}

// frame is one directory as it is looked at.
type frame struct {
	at      Place
	listing client.Listing
	since   string // of Growth
	self    *client.Node
	rows    []row
	next    string // the cursor of the rows that follow
	more    int    // changes of Growth beyond the most that are shown
	began   string // which version Growth counts from, in words
	moment  time.Time
	cursor  int
	top     int // the first row on the screen
	err     error
	request int // that is waited for; 0: none
	cancel  context.CancelFunc
}

// row is one entry.
type row struct {
	client.Node
	grown int64 // bytes, of Growth
}

// New makes a Model. The program that runs it ends with ctx.
func New(ctx context.Context, o Options) *Model {
	m := &Model{o: o, ctx: ctx, graph: bars, members: map[string]*client.Client{}}
	m.show.files, m.show.age, m.show.owner = true, true, true
	m.show.allocated = o.Sort == "allocated"
	m.frame = frame{at: Place{Path: o.Path}, listing: client.Listing{Sort: o.Sort}, since: o.Since}
	return m
}

// Run shows the view until the user leaves, and returns what is marked, in the order of marking. An error is of the terminal, of ctx, or
// context.Canceled for a user who left by ctrl+c.
func Run(ctx context.Context, o Options, in, out *os.File, environ []string) ([]Place, error) {
	m := New(ctx, o)
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithEnvironment(environ), tea.WithoutSignalHandler()).Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil && m.leave:
		return nil, context.Canceled
	case err != nil:
		return nil, err
	}
	return m.marked, nil
}

// Marked are the places that are marked, in the order of marking.
func (m *Model) Marked() []Place { return m.marked }

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd { return m.load() }

// Update implements tea.Model.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case answer:
		m.take(msg)
	case opened:
		m.note = msg.note
	case tea.PasteMsg:
		if m.prompt != nil {
			m.prompt.add(msg.Content)
		}
	case tea.KeyPressMsg:
		m.note = ""
		if cmd := m.key(msg); cmd != nil {
			return m, cmd
		}
	}
	m.scroll()
	return m, m.ahead()
}

// key does what a key means where it is pressed.
func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	switch name := k.String(); {
	case name == "ctrl+c":
		m.leave = true
		return m.quit()
	case name == "ctrl+z":
		return tea.Suspend
	case m.prompt != nil:
		return m.answerPrompt(name, k.Text)
	case m.pane != nil:
		m.pane.key(name, m.body())
		if m.pane.closed {
			m.pane = nil
		}
		return nil
	default:
		return m.browse(name)
	}
}

// browse does what a key means in a directory.
func (m *Model) browse(name string) tea.Cmd {
	switch name {
	case "q":
		return m.quit()
	case "?", "f1":
		m.pane = &pane{title: "Keys", lines: help}
	case "up", "k":
		m.cursor--
	case "down", "j":
		m.cursor++
	case "pgup", "ctrl+b":
		m.cursor -= m.body()
	case "pgdown", "ctrl+f":
		m.cursor += m.body()
	case "home":
		m.cursor = 0
	case "end":
		m.cursor = len(m.rows) - 1
		if m.next != "" {
			m.note = "more entries follow; the key of the order, pressed again, begins at the other end"
		}
	case "enter", "right", "l":
		return m.enter()
	case "left", "h", "<", "backspace":
		return m.up()
	case "n", "s", "C", "M":
		return m.sortBy(name)
	case "a":
		return m.otherSize()
	case "G":
		m.prompt = &prompt{question: "growth since (7d, yesterday, 2026-01-31, a version, a pin)", text: cmp.Or(m.since, "7d"), done: m.growthSince}
	case "/":
		m.prompt = &prompt{question: "show names with (a part, or a glob; empty: all)", text: m.listing.Pattern, done: m.filter}
	case "space", " ", "insert":
		m.mark()
		m.cursor++
	case "U":
		m.marked = nil
	case "r":
		return m.load()
	case "i":
		m.pane = m.about()
	case "o":
		return m.page()
	case "y":
		return m.copy()
	default:
		m.column(name)
	}
	return nil
}

// column shows another column, or hides it.
func (m *Model) column(name string) {
	switch name {
	case "c":
		m.show.files = !m.show.files
	case "m":
		m.show.age = !m.show.age
	case "u":
		m.show.owner = !m.show.owner
	case "g":
		m.graph = (m.graph + 1) % graphs
	case "b":
		m.exact = !m.exact
	}
}

func (m *Model) quit() tea.Cmd {
	m.ended = true
	for _, f := range append(m.below, m.frame) {
		f.stop()
	}
	return tea.Quit
}

func (f *frame) stop() {
	if f.cancel != nil {
		f.cancel()
	}
	f.cancel, f.request = nil, 0
}

// enter opens the directory at the cursor, or says what is known about another entry.
func (m *Model) enter() tea.Cmd {
	r := m.selected()
	switch {
	case r == nil:
		return nil
	case r.Letter() != 'd':
		m.pane = m.about()
		return nil
	}
	return m.open(m.placeOf(r))
}

// open goes to a directory, in the order of this one.
func (m *Model) open(to Place) tea.Cmd {
	m.stop()
	m.below = append(m.below, m.frame)
	listing := m.listing
	listing.Pattern = ""
	m.frame = frame{at: to, listing: listing, since: m.since}
	return m.load()
}

// up goes to the directory that this one is in: as it was left, or anew.
func (m *Model) up() tea.Cmd {
	if n := len(m.below); n > 0 {
		m.stop()
		m.frame, m.below = m.below[n-1], m.below[:n-1]
		if m.frame.self == nil {
			return m.load()
		}
		return nil
	}
	if m.at.Path == "/" {
		m.note = "this is the root of the view"
		return nil
	}
	m.stop()
	m.frame = frame{at: Place{m.at.Member, m.at.Path[:max(1, strings.LastIndexByte(m.at.Path, '/'))]}, listing: client.Listing{Sort: m.listing.Sort, Reverse: m.listing.Reverse}, since: m.since}
	return m.load()
}

// sortBy orders the entries; the same order again is the other way round.
func (m *Model) sortBy(key string) tea.Cmd {
	sort := map[string]string{"n": "name", "s": "size", "C": "files", "M": "mtime"}[key]
	if key == "s" && m.show.allocated {
		sort = "allocated"
	}
	m.listing.Reverse = m.listing.Sort == sort && !m.listing.Reverse
	m.listing.Sort = sort
	return m.load()
}

// otherSize changes between the bytes of files and what they occupy.
func (m *Model) otherSize() tea.Cmd {
	m.show.allocated = !m.show.allocated
	to := map[string]string{"size": "allocated", "allocated": "size"}[m.listing.Sort]
	if to == "" {
		return nil
	}
	m.listing.Sort = to
	return m.load()
}

func (m *Model) growthSince(text string) tea.Cmd {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	m.since, m.listing.Sort, m.listing.Reverse = text, Growth, false
	return m.load()
}

func (m *Model) filter(text string) tea.Cmd {
	m.listing.Pattern = text
	if m.listing.Sort == Growth {
		m.listing.Sort = "size"
	}
	return m.load()
}

func (m *Model) selected() *row {
	if m.cursor < 0 || m.cursor >= len(m.rows) {
		return nil
	}
	return &m.rows[m.cursor]
}

// placeOf is where an entry is. What is seen in a member of a forest stays there.
func (m *Model) placeOf(r *row) Place { return Place{cmp.Or(r.Member, m.at.Member), r.Path} }

func (m *Model) mark() {
	r := m.selected()
	if r == nil {
		return
	}
	at := m.placeOf(r)
	if i := slices.Index(m.marked, at); i >= 0 {
		m.marked = slices.Delete(m.marked, i, i+1)
		return
	}
	m.marked = append(m.marked, at)
}

// copy has the terminal put the path at the cursor on the clipboard: byte for byte, or as bash and zsh read it if it cannot be printed.
func (m *Model) copy() tea.Cmd {
	r := m.selected()
	if r == nil {
		return nil
	}
	path := show.Quote(r.Path)
	m.note = "copied, if the terminal lets programs do that: " + path
	return tea.SetClipboard(path)
}

// opened says how a browser fared.
type opened struct{ note string }

// page shows the server's page about the entry at the cursor, or about the directory where there is none.
func (m *Model) page() tea.Cmd {
	at := m.at
	if r := m.selected(); r != nil {
		at = m.placeOf(r)
	}
	server, err := m.server(at)
	if err != nil {
		m.note = m.words(err)
		return nil
	}
	address := server.WebPage(at.Path)
	switch {
	case address == "":
		m.note = "the server is asked at a socket, where no browser reaches it"
		return nil
	case m.o.OpenPage == nil:
		m.pane = &pane{title: "Page", lines: []string{"The address of the page, copied if the terminal lets programs do that:", "", address}}
		return tea.SetClipboard(address)
	}
	open := m.o.OpenPage
	return func() tea.Msg {
		if err := open(address); err != nil {
			return opened{"no browser opened " + address + ": " + err.Error()}
		}
		return opened{"opened " + address}
	}
}

// words is a failure in one line.
func (m *Model) words(err error) string {
	message, hint := err.Error(), ""
	if m.o.Explain != nil {
		message, hint = m.o.Explain(err)
	}
	if hint != "" {
		message += "; " + hint
	}
	return printable(message)
}

// server is whom to ask about a place.
func (m *Model) server(at Place) (*client.Client, error) {
	if at.Member == "" {
		return m.o.Server, nil
	}
	if server := m.members[at.Member]; server != nil {
		return server, nil
	}
	server, err := m.o.In(at.Member)
	if err == nil {
		m.members[at.Member] = server
	}
	return server, err
}
