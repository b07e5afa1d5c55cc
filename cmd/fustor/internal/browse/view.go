package browse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/values"
)

// What is drawn behind the size: nothing, or the entry's share of the directory.
const (
	none = iota
	bars
	percents
	graphs
)

// The screen has two lines above the entries, and two below them.
const around = 4

// body is how many entries are on the screen.
func (m *Model) body() int { return max(1, m.height-around) }

// scroll keeps the cursor on an entry, and on the screen.
func (m *Model) scroll() {
	m.cursor = max(0, min(m.cursor, len(m.rows)-1))
	m.top = max(m.cursor-m.body()+1, min(m.top, m.cursor))
}

// View implements tea.Model.
func (m *Model) View() tea.View {
	v := tea.NewView(m.Text())
	v.AltScreen = true
	return v
}

// Text is the screen: as many lines as it has, none wider than it is.
func (m *Model) Text() string {
	if m.width <= 0 || m.height <= 0 || m.ended {
		return ""
	}
	lines := []string{bold(m.title())}
	if m.pane != nil {
		lines = append(lines, bold(m.pane.title))
		end := min(len(m.pane.lines), m.pane.top+m.body())
		lines = append(lines, m.pane.lines[m.pane.top:end]...)
	} else {
		columns := m.columns()
		lines = append(lines, m.header(columns))
		lines = append(lines, m.entries(columns)...)
	}
	for len(lines) < m.height-2 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(1, m.height-2)], m.totals(), m.last())
	lines = lines[max(0, len(lines)-m.height):]
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "")
	}
	return strings.Join(lines, "\n")
}

// title is where we are, its end if it is long.
func (m *Model) title() string {
	at := show.Quote(Place{cmp.Or(m.at.Member, m.o.Server.View()), m.at.Path}.String())
	if m.o.AsOf != "" {
		at += "  as of " + show.Quote(m.o.AsOf)
	}
	if over := ansi.StringWidth(at) - m.width; over > 0 {
		at = "<" + ansi.TruncateLeft(at, over+1, "")
	}
	return at
}

// column is one that the screen has room for.
type column struct {
	title string
	width int // positive: to the right
	sorts string
	text  func(r *row) string
}

// columns are those that the user wants and that fit beside names of a fair length, the most important first.
func (m *Model) columns() (out []column) {
	size := column{"SIZE", 10, "size", func(r *row) string { return m.size(r) }}
	if m.show.allocated {
		size.title, size.sorts = "ON DISK", "allocated"
	}
	if m.exact {
		size.width = 20
	}
	wanted := []column{size}
	if m.listing.Sort == Growth {
		wanted = append(wanted, column{"GREW", 10, Growth, func(r *row) string { return signed(r.grown) }})
	}
	if m.graph != none && m.listing.Sort != Growth {
		wanted = append(wanted, column{"SHARE", map[int]int{bars: 12, percents: 6}[m.graph], "", m.share})
	}
	if m.show.files {
		wanted = append(wanted, column{"FILES", 11, "files", func(r *row) string {
			if r.Subtree == nil {
				return ""
			}
			return show.Count(r.Subtree.Files)
		}})
	}
	if m.show.age && m.listing.Sort != Growth {
		wanted = append(wanted, column{"AGE", 4, "mtime", func(r *row) string { return age(m.moment.Sub(time.Unix(0, r.MtimeNs))) }})
	}
	if m.show.owner && m.listing.Sort != Growth {
		wanted = append(wanted, column{"OWNER", -8, "", func(r *row) string { return show.Quote(named(r.Owner, r.UID)) }})
	}
	if slices.ContainsFunc(m.rows, func(r row) bool { return r.Member != "" }) {
		wanted = append(wanted, column{"VIEW", -12, "", func(r *row) string { return r.Member }})
	}
	const name, marks = 16, 3
	room := m.width - marks - name
	for i, c := range wanted {
		if width := max(c.width, -c.width) + 1; i == 0 || width <= room {
			room -= width
			out = append(out, c)
		}
	}
	return out
}

func (m *Model) header(columns []column) string {
	line := "   "
	for _, c := range columns {
		line += fit(c.title+m.arrow(c.sorts), c.width) + " "
	}
	return bold(line + "NAME" + m.arrow("name"))
}

// arrow says by which column the entries are ordered, and which way.
func (m *Model) arrow(sort string) string {
	down := sort != "name"
	switch {
	case sort == "" || cmp.Or(m.listing.Sort, "name") != sort:
		return ""
	case down != m.listing.Reverse:
		return " v"
	}
	return " ^"
}

func (m *Model) entries(columns []column) (lines []string) {
	switch {
	case m.err != nil && len(m.rows) == 0:
		return strings.Split(ansi.Wrap(m.words(m.err), m.width, ""), "\n")
	case m.self == nil:
		return []string{"   asking the server ..."}
	case len(m.rows) == 0 && m.listing.Sort == Growth:
		return []string{"   no directory in here has other sums than then"}
	case len(m.rows) == 0 && m.listing.Pattern != "":
		return []string{"   no name matches"}
	case len(m.rows) == 0:
		return []string{"   this directory is empty"}
	}
	for i := m.top; i < min(m.top+m.body(), len(m.rows)); i++ {
		lines = append(lines, m.line(&m.rows[i], columns, i == m.cursor))
	}
	return lines
}

func (m *Model) line(r *row, columns []column, selected bool) string {
	marks := []byte("   ")
	if selected {
		marks[0] = '>'
	}
	if len(m.marked) > 0 && slices.Contains(m.marked, m.placeOf(r)) {
		marks[1] = '*'
	}
	switch {
	case r.Unreadable > 0:
		marks[2] = '!'
	case r.Suspect:
		marks[2] = '~'
	}
	line := string(marks)
	for _, c := range columns {
		line += fit(c.text(r), c.width) + " "
	}
	name := match.Base(r.Path)
	out := show.Output{Terminal: true, Color: m.o.Color && !selected}
	shown := out.Colored(&r.Node, name)
	switch r.Letter() {
	case 'd':
		shown += "/"
	case 'l':
		shown += " -> " + show.Quote(r.Target)
	}
	if !selected {
		return line + shown
	}
	line = ansi.Truncate(line+shown, m.width, "")
	return "\x1b[7m" + line + strings.Repeat(" ", m.width-ansi.StringWidth(line)) + "\x1b[0m"
}

// weight is what an entry has of the size that is shown, in bytes.
func (m *Model) weight(r *row) int64 {
	switch s := r.Subtree; {
	case s != nil && m.show.allocated:
		return s.Allocated
	case s != nil:
		return s.Bytes
	case m.show.allocated:
		return r.Allocated
	}
	return r.Size
}

func (m *Model) size(r *row) string {
	if m.show.allocated {
		return m.occupied(r)
	}
	return m.bytes(m.weight(r))
}

// share is an entry's part of its directory. It says the same wherever the screen is scrolled to, and however much of the directory is here.
func (m *Model) share(r *row) string {
	if m.self == nil || m.self.Subtree == nil {
		return ""
	}
	of := m.weight(&row{Node: *m.self})
	if of <= 0 || of == values.MaxSum {
		return ""
	}
	part := min(1, float64(m.weight(r))/float64(of))
	if m.graph == percents {
		return fmt.Sprintf("%5.1f%%", 100*part)
	}
	full := int(part*10 + 0.5)
	return "[" + strings.Repeat("#", full) + strings.Repeat(" ", 10-full) + "]"
}

// totals is the line about the directory.
func (m *Model) totals() string {
	var parts []string
	if m.request != 0 && m.self != nil {
		parts = append(parts, "asking ...")
	}
	if m.self != nil && m.self.Subtree != nil {
		s := m.self.Subtree
		parts = append(parts, m.size(&row{Node: *m.self})+map[bool]string{true: " on disk"}[m.show.allocated], values.Plural(s.Files, "file", "files"))
		if m.self.Unreadable > 0 {
			parts = append(parts, "! "+values.Plural(m.self.Unreadable, "path", "paths")+" could not be read")
		}
	}
	switch {
	case m.listing.Sort == Growth && m.began != "":
		parts = append(parts, "grown since "+m.began)
		if m.more > 0 {
			parts = append(parts, show.Count(int64(m.more))+" more changed less")
		}
	case m.listing.Pattern != "":
		parts = append(parts, "names with "+show.Quote(m.listing.Pattern))
	}
	if len(m.rows) > 0 {
		at := fmt.Sprintf("%s of %s", show.Count(int64(m.cursor+1)), show.Count(int64(len(m.rows))))
		if m.next != "" {
			at += "+"
		}
		parts = append(parts, at)
	}
	if n := len(m.marked); n > 0 {
		parts = append(parts, show.Count(int64(n))+" marked")
	}
	return strings.Join(parts, "  ")
}

// last is the line for questions and what keys did.
func (m *Model) last() string {
	switch {
	case m.prompt != nil:
		const cursor = "\x1b[7m \x1b[0m"
		line := printable(m.prompt.question) + ": " + printable(m.prompt.text)
		if over := ansi.StringWidth(line) + 1 - m.width; over > 0 { // the end is what is being typed
			line = ansi.TruncateLeft(line, over, "")
		}
		return line + cursor
	case m.note != "":
		return printable(m.note)
	case m.err != nil && len(m.rows) > 0:
		return m.words(m.err)
	case m.pane != nil:
		return "any key goes back"
	}
	return "? help  / filter  n s C M G order  space mark  q quit"
}

// fit is a text in so many columns, to the right, or to the left if the width is negative.
func fit(s string, width int) string {
	columns := max(width, -width)
	s = ansi.Truncate(s, columns, "")
	fill := strings.Repeat(" ", columns-ansi.StringWidth(s))
	if width > 0 {
		return fill + s
	}
	return s + fill
}

// age is how long ago something was, in four columns.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < -time.Minute:
		return "new" // a clock is ahead
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d < 100*day:
		return fmt.Sprintf("%dd", d/day)
	case d < 730*day:
		return fmt.Sprintf("%dmo", d/(day*365/12))
	}
	return fmt.Sprintf("%dy", d/(365*day))
}

// bold paints a heading; terminals without attributes show it as it is.
func bold(s string) string { return "\x1b[1m" + s + "\x1b[0m" }
