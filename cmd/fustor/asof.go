package main

import (
	"context"
	"time"

	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

// asOfFlag says which version of the view is read.
type asOfFlag struct {
	AsOf string `placeholder:"TIME|VERSION|NAME" group:"server" help:"Answer as of a kept version: that of a time (7d, yesterday, 2026-01-31), its number, or the name of a pin; fustor versions lists them."`
}

// time is the time that was given; false where it was a version or a name, or nothing. Dates are in the zone of this machine.
func (f asOfFlag) time() (time.Time, bool) {
	ns, err := values.ParseTime(f.AsOf, time.Now())
	return time.Unix(0, ns), err == nil
}

// moment is what times such as --newer-than 7d count from: the time that the answer is as of, if that is one.
func (f asOfFlag) moment() time.Time {
	if t, ok := f.time(); ok {
		return t
	}
	return time.Now()
}

// param is what the server is asked for; empty: the current version. The server knows no zone but UTC.
func (f asOfFlag) param() string {
	if t, ok := f.time(); ok {
		return t.UTC().Format(time.RFC3339Nano)
	}
	return f.AsOf
}

// pastFlags say which server a command asks, and for which version.
type pastFlags struct {
	asOfFlag
	serverFlags
}

// ask is serverFlags.ask of that version.
func (f *pastFlags) ask(ctx context.Context, a *app, arg string, run func(server *client.Client, path string) error) error {
	f.past = f.asOfFlag
	return f.serverFlags.ask(ctx, a, arg, run)
}
