package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"
	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

// readCommands are those that fustor-read has (reading.go): they only ask a server, so nothing of the SDKs and the formats needs to start.
// first.Commands names them.
type readCommands struct {
	Find   findCmd   `cmd:"" group:"read" help:"Print the paths below PATH, as find(1) does."`
	Ls     lsCmd     `cmd:"" group:"read" help:"List a directory with sizes."`
	Tree   treeCmd   `cmd:"" group:"read" help:"Draw the directories below PATH."`
	Du     duCmd     `cmd:"" group:"read" help:"Count files, directories and bytes below PATH."`
	Stat   statCmd   `cmd:"" group:"read" help:"Show everything known about one path."`
	Search searchCmd `cmd:"" group:"read" help:"Search the whole view for names, by a part or a glob."`
}

const about = "Fustor keeps a queryable, always current index of huge file trees."

// groups are the headings under which help lists commands and flags.
var groups = []kong.Group{
	{Key: "run", Title: "Run the index:"},
	{Key: "read", Title: "Query it:"},
	{Key: "look", Title: "Administer it:"},
	{Key: "filter", Title: "Which entries:"},
	{Key: "settings", Title: "Settings of the view:"},
	{Key: "workload", Title: "Workload:"},
	{Key: "where", Title: "Where (without these: FUSTOR_STORE, FUSTOR_INGEST, the fustor up of this machine):"},
	{Key: "server", Title: "Which server (without these: the fustor up of this machine):"},
	{Key: "global", Title: "For every command:"},
}

// globals are the flags of every command.
type globals struct {
	LogFormat string `enum:"text,json" default:"text" placeholder:"text|json" group:"global" help:"Log format on stderr."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL" group:"global" help:"Lowest level to log: debug, info, warn or error."`
	Color     string `enum:"auto,always,never" default:"auto" placeholder:"WHEN" group:"global" help:"Colours: auto, always or never. NO_COLOR means never."`
}

// app is what a command runs in: where it prints, and what the user said for every command.
type app struct {
	globals
	stdin          io.Reader
	stdout, stderr *os.File
	getenv         func(string) string
	console        *console // what is on stderr
	model          *kong.Application
	asked          *client.Client // the server that a reading command asks; nil: none
	explained      bool           // the cost of the answer is printed at the end
}

// screen is stderr, for the log and for progress.
func (a *app) screen() *console {
	if a.console == nil {
		a.console = newConsole(a.stderr)
	}
	return a.console
}

// terminal reports whether someone is looking at f.
func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// out is the command's answer.
func (a *app) out() *show.Output {
	return show.NewOutput(a.stdout, terminal(a.stdout), a.colors(a.stdout))
}

func (a *app) colors(f *os.File) bool {
	switch a.Color {
	case "always":
		return true
	case "never":
		return false
	}
	return terminal(f) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// logger is the log of one part of Fustor, on stderr: for programs as the user asked, for eyes in colours where there are any.
func (a *app) logger(part string) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.LogLevel)); err != nil { // kong knows the enum
		panic(err)
	}
	options := &slog.HandlerOptions{Level: level}
	inWords := func(_ []string, at slog.Attr) slog.Attr { // JSON would have ns, and not say so
		if at.Value.Kind() == slog.KindDuration {
			at.Value = slog.StringValue(at.Value.Duration().String())
		}
		return at
	}
	var h slog.Handler
	switch {
	case a.jsonLog():
		h = slog.NewJSONHandler(a.screen(), &slog.HandlerOptions{Level: level, ReplaceAttr: inWords})
	case terminal(a.stderr):
		h = tint.NewTextHandler(a.screen(), &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !a.colors(a.stderr)})
	default:
		h = slog.NewTextHandler(a.screen(), options)
	}
	return slog.New(h).With("part", part)
}

// dataDir is the data directory of a `fustor up`: the flag, or FUSTOR_DATA, or the user's own.
func (a *app) dataDir(flag string) string {
	if flag != "" {
		return flag
	}
	if env := a.getenv("FUSTOR_DATA"); env != "" {
		return env
	}
	return a.defaultDataDir()
}

func (a *app) defaultDataDir() string { return a.xdg("XDG_DATA_HOME", ".local/share") }

// configFile is where the user's config file is, if there is one.
func (a *app) configFile() string {
	return filepath.Join(a.xdg("XDG_CONFIG_HOME", ".config"), "config.yaml")
}

// xdg is Fustor's directory in the base directory that the variable names. As the XDG specification has it, a relative
// one is ignored.
func (a *app) xdg(variable, fallback string) string {
	base := a.getenv(variable)
	if !filepath.IsAbs(base) {
		base = filepath.Join(a.getenv("HOME"), fallback)
	}
	return filepath.Join(base, "fustor")
}
