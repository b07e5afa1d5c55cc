// Package job is what people ask agents for: on-demand scans, and commands to one session such as pause. Each is one small
// object, created by the query handler or by ingest, handed to an agent and updated by ingest.
//
// A view has a bell, an object that changes with every new job, so that whoever looks for jobs asks for one object and
// lists nothing while it stays the same. A scan belongs to whoever leads: one that its leader left unfinished goes to the
// next. A job with a target is that session's alone, leader or not, and fails when the session ends before it.
package job

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// State is how far a job is.
type State string

// The states. A job is done once its scan is; its results show once they are folded.
const (
	Queued  State = "queued"
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// Ended reports whether nothing more will come of a job.
func (s State) Ended() bool { return s == Done || s == Failed }

// What can be asked for.
const (
	Scan   = "scan"
	Pause  = "pause"
	Resume = "resume"
	Stop   = "stop"
	Reload = "reload"
)

// Kinds are all of them.
var Kinds = []string{Pause, Resume, Stop, Reload, Scan}

// Job is one thing that was asked for: views/<view>/commands/<session>/<id>.json. Times are ns of the store's clock.
type Job struct {
	ID      string `json:"id"`
	View    string `json:"view_id"`
	Kind    string `json:"kind,omitempty"` // empty: scan
	Session string `json:"session_id"`     // the target, or who led when it was asked for: part of its key
	Target  string `json:"target_session_id,omitempty"`
	By      string `json:"requested_by,omitempty"` // the name of the key
	// UID is the user who asked, if it was one who does not see everything; builds that do not know it show the job to nobody but those who do.
	UID       *uint32 `json:"requested_uid,omitempty"`
	Path      []byte  `json:"path"` // base64 in JSON, as names are bytes
	Recursive bool    `json:"recursive"`
	State     State   `json:"state"`
	Error     string  `json:"error,omitempty"`
	Note      string  `json:"note,omitempty"` // what came of it, in words
	// Runner is the session that scans, or did.
	Runner      string `json:"runner_session_id,omitempty"`
	RequestedAt int64  `json:"requested_at_ns"`
	StartedAt   int64  `json:"started_at_ns,omitempty"`
	FinishedAt  int64  `json:"finished_at_ns,omitempty"`
	Files       uint64 `json:"files"`
	Directories uint64 `json:"directories"`
	Errors      uint64 `json:"errors"`
	// LastSeq is the runner's last segment with results, once it is done; -1: there are none.
	LastSeq int64  `json:"last_seq"`
	Nonce   string `json:"nonce"`
}

// Command is what an agent is told of a job.
type Command struct {
	ID        string `json:"id"`
	Type      string `json:"type"` // one of Kinds, or one that a later version knows
	Path      []byte `json:"path_bytes"`
	Text      string `json:"path"` // for people; not always exact
	Recursive bool   `json:"recursive"`
	For       string `json:"for_session_id"` // part of the job's key: reports give it back
	// Target is set where the session alone is meant, and not whoever leads; By is who asked.
	Target string `json:"target_session_id,omitempty"`
	By     string `json:"requested_by,omitempty"`
}

// Command of the job.
func (j *Job) Command() Command {
	return Command{ID: j.ID, For: j.Session, Type: cmp.Or(j.Kind, Scan), Target: j.Target, By: j.By, Path: j.Path, Text: strings.ToValidUTF8(string(j.Path), "\ufffd"), Recursive: j.Recursive}
}

// Report is what an agent says of a job that it runs.
type Report struct {
	For         string `json:"for_session_id"`
	State       State  `json:"state"`
	Files       uint64 `json:"files"`
	Directories uint64 `json:"directories"`
	Errors      uint64 `json:"errors"`
	Error       string `json:"error,omitempty"`
	Note        string `json:"note,omitempty"`
	LastSeq     *int64 `json:"last_seq,omitempty"`
}

// ErrNotFound: there is no such job.
var ErrNotFound = errors.New("no such job")

// ErrDamaged: the object has no job that can be read.
var ErrDamaged = errors.New("damaged object")

// Check reads the job of a key.
func Check(ctx context.Context, st store.Store, key string) error {
	_, _, err := read(ctx, st, key)
	return err
}

// maxListed bounds what List reads.
const maxListed = 1000

// Ask creates the job j, of which view, session and what is wanted are given, and rings. now is the store's time.
func Ask(ctx context.Context, st store.Store, j Job, now int64, random io.Reader) (*Job, error) {
	id, err := ulid.New(ulid.Timestamp(time.Unix(0, now)), random)
	if err != nil {
		return nil, fmt.Errorf("name a job: %w", err)
	}
	j.ID, j.State, j.RequestedAt, j.LastSeq = id.String(), Queued, now, -1
	if err := j.write(ctx, st, "", random); err != nil {
		return nil, fmt.Errorf("create job: %w", err)
	}
	if err := Ring(ctx, st, j.View, random); err != nil {
		return nil, fmt.Errorf("announce job %s: %w", j.ID, err)
	}
	return &j, nil
}

func (j *Job) write(ctx context.Context, st store.Store, etag string, random io.Reader) error {
	nonce, err := ulid.New(0, random)
	if err != nil {
		return err
	}
	j.Nonce = nonce.String()
	key := layout.Command(j.View, j.Session, j.ID)
	body, err := seal.JSON(key, j)
	if err != nil {
		return err
	}
	_, err = store.Swap(ctx, st, key, body, etag)
	return err
}

// Ring changes the view's bell.
func Ring(ctx context.Context, st store.Store, view string, random io.Reader) error {
	nonce, err := ulid.New(0, random)
	if err != nil {
		return err
	}
	_, err = st.Put(ctx, layout.Bell(view), []byte(`{"nonce":"`+nonce.String()+`"}`))
	return err
}

// List reads a view's jobs, the newest first.
func List(ctx context.Context, st store.Store, view string) ([]*Job, error) {
	var keys []string
	for after := ""; ; {
		page, err := st.List(ctx, layout.AllCommands(view), after, 1000)
		if err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		for _, o := range page.Items {
			keys = append(keys, o.Key)
			after = o.Key
		}
		if !page.More || len(page.Items) == 0 {
			break
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(idOf(b), idOf(a)) })
	keys = keys[:min(len(keys), maxListed)]
	jobs := make([]*Job, len(keys))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, key := range keys {
		g.Go(func() error {
			j, _, err := read(gctx, st, key)
			jobs[i] = j
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	jobs = slices.DeleteFunc(jobs, func(j *Job) bool { return j == nil })
	slices.SortFunc(jobs, func(a, b *Job) int { // ids of one millisecond are in no order
		return cmp.Or(cmp.Compare(b.RequestedAt, a.RequestedAt), strings.Compare(b.ID, a.ID))
	})
	return jobs, nil
}

func idOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

func read(ctx context.Context, st store.Store, key string) (*Job, string, error) {
	o, err := st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", ErrNotFound
	}
	if err != nil {
		return nil, "", fmt.Errorf("read job %s: %w", key, err)
	}
	j, err := decode(key, o.Body)
	return j, o.ETag, err
}

func decode(key string, body []byte) (*Job, error) {
	j := &Job{}
	plain, err := seal.Open(key, body)
	if err == nil {
		err = json.Unmarshal(plain, j)
	}
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w: %w", key, ErrDamaged, err)
	}
	return j, nil
}

// Get reads one job.
func Get(ctx context.Context, st store.Store, view, id string) (*Job, error) {
	if !layout.ValidID(id) {
		return nil, ErrNotFound
	}
	jobs, err := List(ctx, st, view)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if j.ID == id {
			return j, nil
		}
	}
	return nil, ErrNotFound
}

// Apply changes a job as the session runner reports. Reports after its end are ignored.
func Apply(ctx context.Context, st store.Store, view, id, runner string, r Report, now int64, random io.Reader) (*Job, error) {
	if !layout.ValidID(id) || !layout.ValidID(r.For) {
		return nil, ErrNotFound
	}
	for {
		j, etag, err := read(ctx, st, layout.Command(view, r.For, id))
		if err != nil || j.State.Ended() {
			return j, err
		}
		j.apply(r, runner, now)
		err = j.write(ctx, st, etag, random)
		if errors.Is(err, store.ErrLost) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("update job %s: %w", id, err)
		}
		return j, nil
	}
}

// apply changes the job as its runner reports.
func (j *Job) apply(r Report, runner string, now int64) {
	if j.Runner != runner {
		j.Runner, j.StartedAt = runner, now
	}
	j.State, j.Files, j.Directories, j.Errors, j.Error, j.Note = r.State, r.Files, r.Directories, r.Errors, r.Error, r.Note
	if r.State.Ended() {
		j.FinishedAt = now
	}
	if r.LastSeq != nil {
		j.LastSeq = *r.LastSeq
	}
}
