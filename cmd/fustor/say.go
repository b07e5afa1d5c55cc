package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// say prints a line on stderr that is no answer: what happened, or what to do next. All lines on stderr but questions and
// progress, which only a terminal has, come from here or from the log: with --log-format json each is a line of JSON.
func (a *app) say(format string, args ...any) {
	a.tell(slog.LevelInfo, "", fmt.Sprintf(format, args...))
}

// note says what an answer does not show by itself.
func (a *app) note(format string, args ...any) {
	a.tell(slog.LevelInfo, "fustor: note: ", fmt.Sprintf(format, args...))
}

// warn says what may go wrong.
func (a *app) warn(format string, args ...any) {
	a.tell(slog.LevelWarn, "fustor: warning: ", fmt.Sprintf(format, args...))
}

// tell prints a line with its prefix, or logs it without.
func (a *app) tell(level slog.Level, prefix, message string, attrs ...slog.Attr) {
	if a.jsonLog() {
		a.logger("command").LogAttrs(context.Background(), level, message, attrs...)
		return
	}
	fmt.Fprintf(a.screen(), "%s%s\n", prefix, message)
}

func (a *app) jsonLog() bool { return a.LogFormat == "json" }

// logOfArguments finds the format of the log on a command line that kong does not accept.
func logOfArguments(args []string) globals {
	g := globals{LogLevel: "info", LogFormat: "text"}
	if i := slices.Index(args, "--log-format"); slices.Contains(args, "--log-format=json") || i >= 0 && i+1 < len(args) && args[i+1] == "json" {
		g.LogFormat = "json"
	}
	return g
}

// takeLibrariesLog has what libraries print by the log package, net/http's transport above all, be lines of our log.
func (a *app) takeLibrariesLog() {
	slog.SetDefault(a.logger("library"))
	slog.SetLogLoggerLevel(slog.LevelWarn)
}
