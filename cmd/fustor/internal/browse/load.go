package browse

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

// How many entries are asked for: at first what fills any screen, then more at a time for those who read on.
const (
	firstPage = 200
	nextPage  = 2000
	mostGrown = 1000 // what a growth report gives at most
)

// answer is what a request brought.
type answer struct {
	request int
	first   bool
	self    *client.Node
	rows    []row
	next    string
	more    int
	began   string
	moment  time.Time
	err     error
	missing error // members of a forest that did not answer
}

// load asks for the directory from its beginning. What is on the screen stays there until the answer has come.
func (m *Model) load() tea.Cmd {
	at, listing, since, now := m.at, m.listing, m.since, m.now()
	if m.o.Version != nil {
		since = m.o.Version(since)
	}
	server, err := m.server(at)
	if err != nil {
		m.err = err
		return nil
	}
	return m.ask(func(ctx context.Context) (a answer) {
		a.first = true
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() (err error) {
			a.self, err = directory(ctx, server, at.Path)
			return err
		})
		g.Go(func() error {
			if listing.Sort == Growth {
				return a.growth(ctx, server, at.Path, since)
			}
			return a.page(ctx, server, at.Path, listing, "", firstPage)
		})
		a.err, a.missing = g.Wait(), server.Incomplete()
		a.moment = now
		if by := server.AnsweredBy(); m.o.AsOf != "" && len(by) > 0 {
			a.moment = time.UnixMicro(int64(by[0].PublishedAt * 1e6))
		}
		return a
	})
}

// ahead asks for the next page as the end of what is here comes near.
func (m *Model) ahead() tea.Cmd {
	if m.ended || m.err != nil || m.next == "" || m.request != 0 || m.cursor < len(m.rows)-2*m.body() {
		return nil
	}
	server, err := m.server(m.at)
	if err != nil {
		return nil
	}
	at, listing, cursor := m.at, m.listing, m.next
	return m.ask(func(ctx context.Context) (a answer) {
		a.err = a.page(ctx, server, at.Path, listing, cursor, nextPage)
		return a
	})
}

// ask makes a request of this frame; the one before is cancelled.
func (m *Model) ask(request func(context.Context) answer) tea.Cmd {
	m.stop()
	ctx, cancel := context.WithCancel(m.ctx)
	m.made++
	id := m.made
	m.request, m.cancel = id, cancel
	return func() tea.Msg {
		a := request(ctx)
		a.request = id
		return a
	}
}

// take shows what came, if it is still wanted.
func (m *Model) take(a answer) {
	if a.request != m.request {
		return
	}
	m.stop()
	if a.err != nil {
		if m.err = a.err; a.first {
			m.rows, m.next, m.self = nil, "", nil
		}
		return
	}
	if a.missing != nil {
		m.note = m.words(a.missing)
	}
	m.err, m.next = nil, a.next
	if !a.first {
		m.rows = append(m.rows, a.rows...)
		return
	}
	at := Place{}
	if r := m.selected(); r != nil {
		at = m.placeOf(r)
	}
	m.self, m.rows, m.more, m.began, m.moment, m.cursor, m.top = a.self, a.rows, a.more, a.began, a.moment, 0, 0
	for i := range m.rows { // the same entry stays selected in another order, if it is on the first page
		if m.placeOf(&m.rows[i]) == at {
			m.cursor = i
			break
		}
	}
}

func (a *answer) page(ctx context.Context, server *client.Client, path string, listing client.Listing, cursor string, limit int) (err error) {
	a.next, err = server.ListPage(ctx, path, listing, cursor, limit, func(n *client.Node) error {
		a.rows = append(a.rows, row{Node: *n})
		return nil
	})
	return err
}

func (a *answer) growth(ctx context.Context, server *client.Client, path, since string) error {
	report, err := server.Growth(ctx, client.Query{Path: path}, since, 1, mostGrown)
	if err != nil {
		return err
	}
	a.more = report.More
	a.began = fmt.Sprintf("version %d", report.SinceVersion)
	if report.Since > 0 {
		a.began = show.Time(int64(report.Since*1e9), time.Local)
	}
	for _, g := range report.Entries {
		sums := client.Subtree{Files: g.To.Files, Directories: g.To.Directories, Others: g.To.Others, Bytes: g.To.Bytes, Allocated: g.To.Allocated, LinkedAllocated: g.To.LinkedAllocated, Unmeasured: g.To.Unmeasured}
		if g.To.LatestMtimeNs != nil {
			sums.LatestMtimeNs, sums.HasMtime = *g.To.LatestMtimeNs, true
		}
		a.rows = append(a.rows, row{Node: client.Node{Member: g.Member, Path: g.Path, Type: "directory", Subtree: &sums}, grown: g.Bytes})
	}
	return nil
}

var errNotDirectory = errors.New("it is no directory; fustor stat shows it")

// directory is the entry of a directory; of a forest, the sums over all members.
func directory(ctx context.Context, server *client.Client, path string) (*client.Node, error) {
	all, err := server.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	self := all[0]
	for i := 1; i < len(all); i++ {
		if n := &all[i]; self.Subtree != nil && n.Subtree != nil {
			sums := *self.Subtree
			sums.Add(*n.Subtree)
			self.Subtree = &sums
			self.Unreadable += n.Unreadable
		}
	}
	if self.Letter() != 'd' {
		return nil, errNotDirectory
	}
	return &self, nil
}

func (m *Model) now() time.Time {
	if m.o.Now == nil {
		return time.Now()
	}
	return m.o.Now()
}
