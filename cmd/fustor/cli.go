package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
)

// cli is the command tree. The groups are headings of the overview.
type cli struct {
	globals

	Up      upCmd      `cmd:"" group:"run" help:"Index DIR and answer questions about it, all in one process."`
	Agent   agentGroup `cmd:"" group:"run" help:"Watch and scan trees, and send what is seen."`
	Ingest  ingestCmd  `cmd:"" group:"run" help:"Serve the agents: sessions, leases, uploads."`
	Compact compactCmd `cmd:"" group:"run" help:"Fold what agents sent into new versions of the views."`
	Query   queryCmd   `cmd:"" group:"run" help:"Serve the reading HTTP API and the web page."`

	Find   findCmd   `cmd:"" group:"read" help:"Print the paths below PATH, as find(1) does."`
	Ls     lsCmd     `cmd:"" group:"read" help:"List a directory, with the sizes of what is in it."`
	Tree   treeCmd   `cmd:"" group:"read" help:"Draw the directories below PATH."`
	Du     duCmd     `cmd:"" group:"read" help:"Count files, directories and bytes below PATH."`
	Stat   statCmd   `cmd:"" group:"read" help:"Show all that is known of one path."`
	Search searchCmd `cmd:"" group:"read" help:"Find names in the whole view by a part or a glob."`

	Suspects   suspectsCmd   `cmd:"" group:"read" help:"Print the files that may still be written to."`
	BlindSpots blindSpotsCmd `cmd:"" group:"read" help:"Print what no agent has reported, found by looking."`
	Sessions   sessionsCmd   `cmd:"" group:"read" help:"Show the agents that feed the view, and who leads."`
	Scan       scanCmd       `cmd:"" group:"read" help:"Have PATH scanned now."`
	Jobs       jobsCmd       `cmd:"" overview:"no" group:"read" help:"Show the scans that were asked for."`

	Admin      adminGroup    `cmd:"" group:"look" overview:"whole" help:"Manage views, API keys, sessions and resets."`
	Cost       costCmd       `cmd:"" group:"look" help:"Estimate what a Fustor costs a month in the cloud."`
	Segment    segmentCmd    `cmd:"" group:"look" help:"Read segments, the objects that agents send."`
	Doctor     doctorCmd     `cmd:"" group:"look" help:"Probe a store for every rule that Fustor relies on."`
	Health     healthCmd     `cmd:"" name:"healthcheck" overview:"no" group:"look" help:"Ask a part whether it can do its work; exit code 0 or 1."`
	Version    versionCmd    `cmd:"" overview:"no" group:"look" help:"Print the version."`
	Completion completionCmd `cmd:"" overview:"no" group:"look" help:"Print a completion script for bash, zsh or fish."`
	Manual     manualCmd     `cmd:"" hidden:"" help:"Print the help of every command, in Markdown."`
}

const about = "Fustor keeps a queryable, always current index of huge file trees."

// groups are the headings under which help lists commands and flags.
var groups = []kong.Group{
	{Key: "run", Title: "Run the index:"},
	{Key: "read", Title: "Ask it:"},
	{Key: "look", Title: "Look after it:"},
	{Key: "filter", Title: "Which entries:"},
	{Key: "settings", Title: "Settings of the view:"},
	{Key: "workload", Title: "What is asked of it:"},
	{Key: "where", Title: "Where (without these: FUSTOR_STORE, FUSTOR_INGEST, the fustor up of this machine):"},
	{Key: "server", Title: "Which server (without these: the fustor up of this machine):"},
	{Key: "global", Title: "For every command:"},
}

// globals are the flags of every command.
type globals struct {
	LogFormat string `enum:"text,json" default:"text" placeholder:"text|json" group:"global" help:"Form of the log on stderr."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL" group:"global" help:"Least level that is logged: debug, info, warn or error."`
	Color     string `enum:"auto,always,never" default:"auto" placeholder:"WHEN" group:"global" help:"Colours: auto, always or never. NO_COLOR means never."`
}

// app is what a command runs in: where it prints, and what the user said for every command.
type app struct {
	globals
	stdin          io.Reader
	stdout, stderr *os.File
	getenv         func(string) string
	model          *kong.Application
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

// logger logs to stderr as the user asked.
func (a *app) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.LogLevel)); err != nil { // kong knows the enum
		panic(err)
	}
	options := &slog.HandlerOptions{Level: level}
	if a.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
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
