package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/v2api"
)

// bells is what this process heard of views' jobs last. While a view's bell stays the same, and no job waits, looking for
// jobs is one conditional GET.
type bells struct {
	mu    sync.Mutex
	heard map[string]heard
}

type heard struct {
	etag    string
	waiting bool  // jobs were unfinished
	at      int64 // when it was asked, the store's time
}

// maxBells bounds what is remembered; beyond it all is forgotten, which costs a LIST a view.
const maxBells = 10_000

const (
	// commandPoll is how often a call that waits for commands looks.
	commandPoll = time.Second
	// maxWait bounds such a call.
	maxWait = 30 * time.Second
	// keepJobs is how long jobs can be looked at after their end.
	keepJobs = 24 * time.Hour
	// commandLife is how long a command to one session may wait for it to be taken up.
	commandLife = 10 * time.Minute
)

// listener is who asks for commands: a session, and whether it leads. What this process heard of the view's bell within
// the last fresh is good enough for it, so that followers cost no request of their own where a leader asks here.
type listener struct {
	session string
	leads   bool
	fresh   time.Duration
}

// commands are the jobs that wait for a session: those that have it for a target, and if it leads those of the view.
func (i *Ingest) commands(ctx context.Context, view string, l listener) ([]job.Command, error) {
	key := layout.Bell(view)
	now := i.clock.Now()
	i.bells.mu.Lock()
	before, known := i.bells.heard[view]
	i.bells.mu.Unlock()
	if known && !before.waiting && now-before.at < int64(l.fresh) {
		return nil, nil
	}
	var o store.Object
	var err error
	if known && before.etag != "" {
		o, err = i.store.GetIfChanged(ctx, key, before.etag)
	} else {
		o, err = i.store.Get(ctx, key)
	}
	switch {
	case errors.Is(err, store.ErrNotFound): // no job was ever asked for
		i.hear(view, heard{at: now})
		return nil, nil
	case errors.Is(err, store.ErrNotModified):
		if !before.waiting {
			i.hear(view, heard{before.etag, false, now})
			return nil, nil
		}
		o.ETag = before.etag
	case err != nil:
		return nil, err
	}
	jobs, err := job.List(ctx, i.store, view)
	if err != nil {
		return nil, err
	}
	waiting, open := []job.Command(nil), false
	for _, j := range jobs {
		switch {
		case j.State.Ended():
			i.forgetJob(ctx, j)
			continue
		case j.Target != "" && j.Target != l.session:
			open = !i.endLost(ctx, j) || open
			continue
		case j.Target == "" && !l.leads:
		case j.State == job.Queued || j.Runner != l.session:
			waiting = append(waiting, j.Command())
		}
		open = true
	}
	slices.Reverse(waiting) // in the order in which they were asked for
	i.hear(view, heard{o.ETag, open, now})
	return waiting, nil
}

// hear remembers what the bell of a view said.
func (i *Ingest) hear(view string, h heard) {
	i.bells.mu.Lock()
	defer i.bells.mu.Unlock()
	if len(i.bells.heard) >= maxBells {
		clear(i.bells.heard)
	}
	i.bells.heard[view] = h
}

// endLost ends a command whose session has ended, or has not taken it up for long, and reports whether it has ended now.
func (i *Ingest) endLost(ctx context.Context, j *job.Job) bool {
	why := ""
	if _, err := i.ledger.Alive(ctx, j.View, j.Target); errors.Is(err, session.ErrGone) {
		why = "the session ended before it carried out the command"
	} else if j.State == job.Queued && i.clock.Now()-j.RequestedAt > int64(commandLife) {
		why = fmt.Sprintf("the agent did not begin this within %s; old agents do not know commands", commandLife)
	}
	if why == "" {
		return false
	}
	ended, err := job.Apply(ctx, i.store, j.View, j.ID, j.Target, job.Report{For: j.Session, State: job.Failed, Error: why}, i.clock.Now(), i.random)
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		i.logger.Warn("a command that nobody takes up could not be ended", "view", j.View, "job", j.ID, "error", err)
		return false
	}
	return ended == nil || ended.State.Ended()
}

// forgetJob deletes a job that ended long ago. What fails is tried again when the bell rings next.
func (i *Ingest) forgetJob(ctx context.Context, j *job.Job) {
	if i.clock.Now()-j.FinishedAt < int64(keepJobs) {
		return
	}
	if err := i.store.Delete(ctx, layout.Command(j.View, j.Session, j.ID)); err != nil {
		i.logger.Warn("an old job could not be deleted", "view", j.View, "job", j.ID, "error", err)
	}
}

// awaitCommands answers once there are commands for the session, or its time is over. Leaders should ask; to others, the
// heartbeats say enough.
func (i *Ingest) awaitCommands(c *call) error {
	wait := c.wait
	if _, err := c.alive(); err != nil {
		return err
	}
	leads, err := i.ledger.Leads(c.ctx, c.view, c.session())
	if err != nil {
		return err
	}
	if i.answerAtOnce {
		wait = 0
	}
	if wait > 0 {
		httpapi.Waits(c.w)
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		commands, err := i.commands(c.ctx, c.view, listener{session: c.session(), leads: leads})
		if err != nil {
			return err
		}
		if len(commands) > 0 || wait == 0 {
			return c.ok(pipeapi.Commands{Commands: orEmpty(commands), Timed: c.timed()})
		}
		select {
		case <-time.After(commandPoll):
		case <-end.C:
			return c.ok(pipeapi.Commands{Commands: orEmpty(nil), Timed: c.timed()})
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

func orEmpty(commands []job.Command) []job.Command {
	if commands == nil {
		return []job.Command{}
	}
	return commands
}

// reportJob takes in how far a job is.
func (i *Ingest) reportJob(c *call) error {
	var r job.Report
	if err := httpapi.ReadJSON(c.w, c.r, &r, maxSessionBody); err != nil {
		return err
	}
	switch r.State {
	case job.Running, job.Done, job.Failed:
	default:
		return httpapi.BadRequest("state must be running, done or failed", "")
	}
	if _, err := c.alive(); err != nil {
		return err
	}
	const maxError = 1000
	r.Error = strings.ToValidUTF8(r.Error[:min(len(r.Error), maxError)], "?")
	r.Note = strings.ToValidUTF8(r.Note[:min(len(r.Note), maxError)], "?")
	j, err := job.Apply(c.ctx, i.store, c.view, c.r.PathValue("job"), c.session(), r, i.clock.Now(), i.random)
	if errors.Is(err, job.ErrNotFound) {
		return &httpapi.Error{Status: http.StatusNotFound, Detail: "there is no such job", Hint: "stop working on it"}
	}
	if err != nil {
		return err
	}
	return c.ok(pipeapi.JobReported{Status: "ok", State: j.State, Timed: c.timed()})
}

// sentinelTasks names the files that may still be written to, for the leader to look at.
func (i *Ingest) sentinelTasks(c *call) error {
	m, _, err := manifest.LoadRoot(c.ctx, i.store, c.view)
	if errors.Is(err, manifest.ErrNoHead) {
		return c.ok(pipeapi.SentinelTasks{Timed: c.timed()})
	}
	if err != nil {
		return err
	}
	a := pipeapi.SentinelTasks{Timed: c.timed()}
	exact := false
	for _, s := range m.Suspects {
		if s.Until <= i.clock.Now() {
			continue
		}
		a.Paths = append(a.Paths, strings.ToValidUTF8(string(s.Path), "\ufffd"))
		a.PathsBytes = append(a.PathsBytes, s.Path)
		exact = exact || !utf8.Valid(s.Path)
	}
	if !exact {
		a.PathsBytes = nil
	}
	if len(a.Paths) > 0 {
		a.Type, a.View = "suspect_check", c.view
	}
	if !exact {
		return c.ok(a)
	}
	// V2's agents do not know paths_bytes: they take bytes that are not UTF-8 from lone surrogates, which ours read as U+FFFD.
	text := make([]v2api.Text, len(a.PathsBytes))
	for n, path := range a.PathsBytes {
		text[n] = v2api.Text(path)
	}
	return c.ok(struct {
		pipeapi.SentinelTasks
		Paths []v2api.Text `json:"paths"`
	}{a, text})
}
