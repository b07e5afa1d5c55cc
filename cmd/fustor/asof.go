package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

// asOfFlag says which version of the view is read.
type asOfFlag struct {
	AsOf string `placeholder:"TIME|VERSION|NAME" group:"server" help:"Answer as of a kept version: that of a time (7d, yesterday, 2026-01-31), its number, or the name of a pin; fustor versions lists them. stderr says which it is."`
}

// whichVersion is what the server is asked for where a flag names a version: by a number, a name or a time. A time is one of this machine's
// zone; the server knows none but UTC. Versions are counted from now: 7d is the version of seven days ago.
func whichVersion(text string) string {
	if at, is := timeOfVersion(text, time.Now()); is {
		return at.UTC().Format(time.RFC3339Nano)
	}
	return text
}

// timeOfVersion reads a time that names a version. Digits alone are a version's number, as the server has it: 20240501 is no date here.
func timeOfVersion(text string, now time.Time) (time.Time, bool) {
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		return now, false
	}
	ns, err := values.ParseTime(text, now)
	return time.Unix(0, ns), err == nil
}

// moment is what times such as --newer-than 7d count from, as the server counts them: the time that the answer is as of; otherwise, of a
// version by its number or its name, when that was published, which only the server knows: false.
func (f asOfFlag) moment() (at time.Time, known bool) {
	now := time.Now()
	if f.AsOf == "" {
		return now, true
	}
	at, is := timeOfVersion(f.AsOf, now)
	if is && at.Before(now) {
		return at, true
	}
	return now, is
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

// askFor is ask with what the filter flags mean in that version.
func (f *pastFlags) askFor(ctx context.Context, a *app, arg string, flags *filterFlags, run func(server *client.Client, path string, filter match.Filter) error) error {
	f.past = f.asOfFlag
	return f.serverFlags.askFor(ctx, a, arg, flags, run)
}

// askFor is ask with what the filter flags mean in the version that is asked.
func (f *serverFlags) askFor(ctx context.Context, a *app, arg string, flags *filterFlags, run func(server *client.Client, path string, filter match.Filter) error) error {
	at, known := f.past.moment()
	filter, ages, err := flags.filter(at)
	if err != nil {
		return err
	}
	return f.ask(ctx, a, arg, func(server *client.Client, path string) error {
		if ages && !known {
			version, err := server.Moment(ctx)
			if err != nil {
				return err
			}
			if filter, _, err = flags.filter(unixTime(version.PublishedAt).Local()); err != nil {
				return err
			}
		}
		return run(server, path, filter)
	})
}

// noteVersion says on stderr which version answered, where one was asked for.
func (f *serverFlags) noteVersion(a *app, server *client.Client) {
	if f.past.AsOf == "" {
		return
	}
	const most = 5 // members of a forest that are named
	by := server.AnsweredBy()
	var parts []string
	for _, m := range by[:min(most, len(by))] {
		part := fmt.Sprintf("version %d, published %s", m.Version, unixTime(m.PublishedAt).In(time.Local).Format(time.DateTime))
		if m.View != "" {
			part = m.View + " " + part
		}
		parts = append(parts, part)
	}
	if more := len(by) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	if parts != nil {
		a.note("as of %s", strings.Join(parts, "; "))
	}
}
