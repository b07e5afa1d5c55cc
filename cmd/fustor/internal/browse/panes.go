package browse

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
)

// help is every key.
var help = []string{
	"up k, down j       move; PgUp, PgDn, Home, End",
	"right l Enter      open the directory; of another entry, say what is known",
	"left h <           go to the parent",
	"n s C M            order: name, size, files, time; again: the other way round",
	"G                  which directories grew since a time",
	"/                  show names with a part, or by a glob: *.bam",
	"a                  bytes of files, or what they occupy on the disk",
	"g c m u b          columns: share, files, age, owner; exact numbers",
	"space              mark; U unmarks all. q prints the marked paths",
	"i                  everything known about the entry",
	"y                  copy its path",
	"o                  the web page about it",
	"r                  ask again",
	"q, ctrl+c          leave, with or without printing what is marked",
	"",
	"! some of it could not be read   ~ perhaps still being written",
	"+ not all of it is measured      >= as much or more",
	"AGE is that of the entry itself; i has the newest file below it.",
}

// pane is text over the entries.
type pane struct {
	title  string
	lines  []string
	top    int
	closed bool
}

func (p *pane) key(name string, height int) {
	switch name {
	case "up", "k":
		p.top--
	case "down", "j":
		p.top++
	case "pgup":
		p.top -= height
	case "pgdown":
		p.top += height
	default:
		p.closed = true
	}
	p.top = max(0, min(p.top, len(p.lines)-height))
}

// prompt is a question in the last line.
type prompt struct {
	question, text string
	done           func(text string) tea.Cmd
}

// add types: a terminal's keys are characters, and what is pasted may have others, which no name that is typed has.
func (p *prompt) add(text string) {
	for _, r := range text {
		if r != utf8.RuneError && r >= ' ' && r != 0x7f {
			p.text += string(r)
		}
	}
}

func (m *Model) answerPrompt(name, text string) tea.Cmd {
	p := m.prompt
	switch name {
	case "esc":
		m.prompt = nil
	case "enter":
		m.prompt = nil
		return p.done(p.text)
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(p.text)
		p.text = p.text[:len(p.text)-n]
	case "ctrl+u":
		p.text = ""
	default:
		p.add(text)
	}
	return nil
}

// about is what is known about the entry at the cursor.
func (m *Model) about() *pane {
	r := m.selected()
	if r == nil {
		return nil
	}
	p := &pane{title: "Entry"}
	line := func(name, format string, args ...any) {
		p.lines = append(p.lines, show.Left(name, 11)+fmt.Sprintf(format, args...))
	}
	line("path", "%s", show.Quote(r.Path))
	if at := m.placeOf(r); at.Member != "" {
		line("view", "%s", at.Member)
	}
	kind := r.Type
	if r.Letter() == 'l' {
		kind += " to " + show.Quote(r.Target)
	}
	line("type", "%s", kind)
	if r.grown != 0 {
		line("growth", "%s since %s", signed(r.grown), m.began)
	}
	if s := r.Subtree; s != nil {
		line("below", "%s files, %s directories, %s others", show.Count(s.Files), show.Count(s.Directories), show.Count(s.Others))
		line("size", "%s (%s bytes)", show.Sum(s.Bytes), show.Count(s.Bytes))
		line("allocated", "%s", m.occupied(r))
		if s.HasMtime {
			line("newest", "%s (file below)", show.Time(s.LatestMtimeNs, time.Local))
		}
	} else {
		line("size", "%s (%s bytes)", show.Size(r.Size), show.Count(r.Size))
		line("allocated", "%s", m.occupied(r))
	}
	if m.listing.Sort == Growth { // its report has sums alone
		return p
	}
	line("mode", "%s", show.Mode(r.Letter(), r.Mode))
	line("owner", "%s, group %s", show.Quote(named(r.Owner, r.UID)), show.Quote(named(r.Group, r.GID)))
	line("modified", "%s", show.ExactTime(r.MtimeNs, time.Local))
	if r.Links > 0 {
		line("changed", "%s", show.ExactTime(r.CtimeNs, time.Local))
		line("links", "%d", r.Links)
	}
	if r.LastAgent != "" {
		line("seen by", "%s", show.Quote(r.LastAgent))
	}
	for _, flag := range []struct {
		is   bool
		text string
	}{
		{r.Unreadable > 0, fmt.Sprintf("%s paths at or below it could not be read", show.Count(r.Unreadable))},
		{r.Suspect, "it is perhaps still being written"},
		{r.AgentMissing, "a scan found it; no agent reported it"},
	} {
		if flag.is {
			line("note", "%s", flag.text)
		}
	}
	return p
}

// occupied is what an entry occupies, as du has it.
func (m *Model) occupied(r *row) string {
	switch s := r.Subtree; {
	case s != nil && s.Unmeasured > 0 && s.Allocated == 0, s == nil && r.Links == 0:
		return "-"
	case s != nil && s.Unmeasured > 0:
		return m.bytes(s.Allocated) + "+"
	case s != nil:
		return m.bytes(s.Allocated)
	}
	return m.bytes(r.Allocated)
}

func (m *Model) bytes(n int64) string {
	if m.exact {
		return show.Count(n)
	}
	return show.Sum(n)
}

func signed(n int64) string {
	if n < 0 {
		return "-" + show.Size(-n)
	}
	return "+" + show.Size(n)
}

func named(name string, id uint32) string {
	if name == "" {
		return fmt.Sprint(id)
	}
	return name
}

// printable is a sentence without what could drive a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
