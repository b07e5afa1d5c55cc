package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/settings"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/unixsocket"
	"github.com/fustor/fustor/internal/values"
)

// serverFlags say which server a reading command asks.
type serverFlags struct {
	URL    string `name:"url" placeholder:"URL" group:"server" help:"Server to ask ($$FUSTOR_URL)."`
	APIKey string `name:"api-key" placeholder:"KEY" group:"server" help:"Key for the server ($$FUSTOR_API_KEY)."`
	View   string `placeholder:"VIEW" group:"server" help:"View to ask (default: default) ($$FUSTOR_VIEW)."`
	Data   string `placeholder:"DIR" group:"server" help:"Ask the fustor up with this data directory ($$FUSTOR_DATA)."`
	As     string `name:"as" placeholder:"USER" group:"server" help:"As an administrator, see what this user may see: a name, or uid:gid,gid."`
	// Explain is told on stderr once the command has printed its answer.
	Explain bool `group:"server" help:"Also print the cost of the answer on stderr."`

	past asOfFlag `kong:"-"` // of commands that read a version
}

// connect finds the server. It sends nothing.
func (f *serverFlags) connect(a *app) (*client.Client, error) { return f.connectTo(a, "") }

// connectTo is connect with an ingest that is not behind the same URL, unless it is empty.
func (f *serverFlags) connectTo(a *app, ingest string) (*client.Client, error) {
	server, err := settings.Find(settings.Given{
		URL: f.URL, Key: f.APIKey, View: f.View, Data: f.Data,
		EnvURL: a.getenv("FUSTOR_URL"), EnvSocket: a.getenv("FUSTOR_SOCKET"), EnvKey: a.getenv("FUSTOR_API_KEY"),
		EnvView: a.getenv("FUSTOR_VIEW"), EnvData: a.getenv("FUSTOR_DATA"),
		ConfigFile: a.configFile(), DefaultData: a.defaultDataDir(), DefaultSocket: unixsocket.DefaultPath,
	})
	if err != nil {
		return nil, err
	}
	if err := checkView(server.View); err != nil {
		return nil, err
	}
	c, err := client.New(client.Options{
		URL: server.URL, Key: server.Key, View: server.View, Ingest: ingest, UserAgent: "fustor/" + buildVersion().Version, Explain: f.Explain, AsOf: whichVersion(f.past.AsOf), As: f.As,
	})
	if err != nil {
		return nil, &cliError{msg: fmt.Sprintf("%s: %v", server.From, err), code: exitUsage}
	}
	a.asked, a.explained = c, f.Explain
	return c, nil
}

// checkView refuses what is no view's name.
func checkView(view string) error {
	if layout.ValidView(view) {
		return nil
	}
	return &cliError{
		msg:  fmt.Sprintf("%q is not a view's name", view),
		hint: "a name has 1 to 63 of a-z 0-9 - _ and starts with a letter or digit", code: exitUsage,
	}
}

// explain prints what the command's calls cost the server, if the user asked for that.
func (a *app) explain() {
	if !a.explained {
		return
	}
	c := a.asked.Cost()
	if c.Calls == 0 {
		return
	}
	version := ""
	if c.Version > 0 { // a forest has one for each member
		version = fmt.Sprintf(", version %d", c.Version)
	}
	a.say("cost: %s GETs of %s, %s rows examined, row groups: %s read, %s skipped, %s cache hits, %.1f ms%s",
		show.Count(c.Gets), show.Size(c.Bytes), show.Count(c.Rows), show.Count(c.GroupsRead), show.Count(c.GroupsSkipped),
		show.Count(c.CacheHits), c.Milliseconds, version)
}

// filterFlags say which entries a command prints.
type filterFlags struct {
	Name      []string      `sep:"none" placeholder:"GLOB" group:"filter" help:"The name matches this glob: *, ?, [a-z], {bam,gz}; or one of several --name."`
	NotName   []string      `sep:"none" placeholder:"GLOB" group:"filter" help:"The name does not match this glob; several leave out more."`
	Regex     *values.Regex `placeholder:"REGEX" group:"filter" help:"The whole path from the view's root matches this regular expression (RE2), as find -regex: .*/run[0-9]+[.]bam"`
	Type      []string      `enum:"f,d,l,o" placeholder:"f|d|l|o" group:"filter" help:"Only files, directories, symlinks or others; separate several with commas."`
	MinSize   *match.Size   `placeholder:"SIZE" group:"filter" help:"At least this size: 512, 10M, 1GiB."`
	MaxSize   *match.Size   `placeholder:"SIZE" group:"filter" help:"At most this size."`
	NewerThan string        `placeholder:"TIME" group:"filter" help:"Modified after: 2h, 7d, 3mo or 1y ago, yesterday, 2024-05-01, 2024-05, RFC 3339, @unix-seconds."`
	OlderThan string        `placeholder:"TIME" group:"filter" help:"Modified before."`
	Owner     string        `placeholder:"USER" group:"filter" help:"Owned by this user: a name that the hosts of the view know, or a uid."`
	Group     string        `placeholder:"GROUP" group:"filter" help:"Of this group: a name that the hosts of the view know, or a gid."`

	Perm          *values.Perm `placeholder:"MODE" group:"filter" help:"Of this mode: 644 exactly, --perm=-4000 all of these bits, /022 or /go+w any of them, as find."`
	Empty         bool         `group:"filter" help:"Only files of size 0, and directories with nothing in them."`
	Links         *match.Links `placeholder:"N" group:"filter" help:"So many links: 1, +1 for more, --links=-2 for fewer."`
	Inode         uint64       `placeholder:"N" group:"filter" help:"The names of one file with several: its inode as fustor stat has it."`
	MinAllocated  *match.Size  `placeholder:"SIZE" group:"filter" help:"Occupies at least this on the disk."`
	MaxAllocated  *match.Size  `placeholder:"SIZE" group:"filter" help:"Occupies at most this on the disk."`
	ChangedAfter  string       `placeholder:"TIME" group:"filter" help:"Changed (ctime) after."`
	ChangedBefore string       `placeholder:"TIME" group:"filter" help:"Changed (ctime) before."`
	BornAfter     string       `placeholder:"TIME" group:"filter" help:"Made (birth time) in the second of TIME or later."`
	BornBefore    string       `placeholder:"TIME" group:"filter" help:"Made (birth time) in a second before that of TIME."`

	AccessedAfter  string `placeholder:"TIME" group:"filter" help:"Read (atime) on the day of TIME (UTC) or later."`
	AccessedBefore string `placeholder:"TIME" group:"filter" help:"Last read (atime) on a day (UTC) before that of TIME."`
}

// filter reads the flags. ages: one of them counts from now.
func (f *filterFlags) filter(now time.Time) (m match.Filter, ages bool, err error) {
	m = match.Filter{Types: strings.Join(f.Type, ""), MinSize: f.MinSize, MaxSize: f.MaxSize, Regex: f.Regex, Perm: f.Perm, Empty: f.Empty,
		Links: f.Links, Inode: f.Inode, MinAllocated: f.MinAllocated, MaxAllocated: f.MaxAllocated}
	if err := m.SetNames(f.Name, f.NotName); err != nil {
		return m, false, usageError("--name: %v", err)
	}
	for _, t := range []struct {
		flag, word string
		to         **match.Time
	}{
		{"--newer-than", f.NewerThan, &m.NewerThan}, {"--older-than", f.OlderThan, &m.OlderThan},
		{"--changed-after", f.ChangedAfter, &m.ChangedAfter}, {"--changed-before", f.ChangedBefore, &m.ChangedBefore},
		{"--born-after", f.BornAfter, &m.BornAfter}, {"--born-before", f.BornBefore, &m.BornBefore},
		{"--accessed-after", f.AccessedAfter, &m.AccessedAfter}, {"--accessed-before", f.AccessedBefore, &m.AccessedBefore},
	} {
		if *t.to, err = timeFlag(t.flag, t.word, now); err != nil {
			return m, false, err
		}
		ages = ages || t.word != "" && values.CountsFromNow(t.word)
	}
	m.Owner, m.Group = f.Owner, f.Group
	return m, ages, nil
}

func timeFlag(flag, word string, now time.Time) (*match.Time, error) {
	if word == "" {
		return nil, nil
	}
	t, err := match.ParseTime(word, now)
	if err != nil {
		return nil, usageError("%s: %v", flag, err)
	}
	return &t, nil
}
