package v2rows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/v2api"
)

// round is where the audit of a session stands: views/<view>/staging/<session>/audit.json, replaced.
//
// An audit is open from its first rows on, closed by the batch that says that it is the end, and done once its rows are in
// segments. Rows are staged before their request is answered, and a closed round is worked out by whoever has the session's next
// request, so that a kill at any point loses nothing. Segments are written in an order and with times that follow from the staged
// rows and the round alone: one that is written twice says the same twice, which is what saying it once is.
type round struct {
	Number uint64     `json:"round"`
	State  roundState `json:"state"`
	Began  int64      `json:"began_ns"`            // the store's time, of the first rows: what all were seen as of
	Closed int64      `json:"closed_ns,omitempty"` // of the end
	Term   uint64     `json:"term"`                // in which its rows were sent; all of one, or it is broken
	// Broken: rows came while the session did not lead, or in another term, and were dropped. Nothing follows from a round that
	// lacks some, as what it lacks would count as gone.
	Broken bool `json:"broken,omitempty"`
	// Name is of the request that closed it: the same request once more is answered and does nothing.
	Name string `json:"closed_by,omitempty"`
	// Worker is the process that works the round out, and renews the object while it does; others wait for claimLife.
	Worker string `json:"worker,omitempty"`
	// Segments is how many are written, Next where the next one is to be looked for.
	Segments uint64 `json:"segments,omitempty"`
	Next     uint64 `json:"next_seq,omitempty"`
	Nonce    string `json:"nonce"`
}

type roundState string

const (
	open   roundState = "open"
	closed roundState = "closed"
	done   roundState = "done"
)

const (
	// claimLife is after how long without a renewal a round's worker counts as dead.
	claimLife = 20 * time.Second
	// abandonedAfter is how long after its last rows an audit that has not ended is over: its agent gave it up, and what comes
	// then is of another one.
	abandonedAfter = 15 * time.Minute
	// awaitRound is how often who waits for another's work looks.
	awaitRound = 250 * time.Millisecond
	// finishLimit bounds the work on a round that goes on after its request.
	finishLimit = 10 * time.Minute
	// answerBy is when a request is answered whose round is still being worked out: its rows are durable.
	answerBy = 20 * time.Second
	// resumeEvery is how often heartbeats look for a round that nobody finished.
	resumeEvery = int64(time.Minute)
)

// heldRound is a version of the object; without an ETag there is none.
type heldRound struct {
	round
	meta store.Meta
}

func (r *Rows) round(ctx context.Context, view, id string) (heldRound, error) {
	h := heldRound{}
	o, err := r.o.Store.Get(ctx, layout.Round(view, id))
	if errors.Is(err, store.ErrNotFound) {
		return h, nil
	}
	var plain []byte
	if err == nil {
		plain, err = seal.Open(layout.Round(view, id), o.Body)
	}
	if err == nil {
		err = json.Unmarshal(plain, &h.round)
	}
	if err != nil {
		return h, fmt.Errorf("read %s: %w", layout.Round(view, id), err)
	}
	h.meta = o.Meta
	return h, nil
}

// replace puts next in the place of h, which becomes it, or fails with store.ErrLost.
func (r *Rows) replace(ctx context.Context, view, id string, h *heldRound, next round) error {
	var err error
	if next.Nonce, err = nonce(r.o.Random); err != nil {
		return err
	}
	body, err := seal.JSON(layout.Round(view, id), next)
	if err != nil {
		return err
	}
	meta, err := store.Swap(ctx, r.o.Store, layout.Round(view, id), body, h.meta.ETag)
	if err != nil {
		return err
	}
	*h = heldRound{next, meta}
	return nil
}

// audit takes in a batch of an audit.
func (r *Rows) audit(ctx context.Context, view, id string, batch *v2api.Batch, name string) error {
	a := auditBatch{rows: r, view: view, id: id, batch: batch, name: name, count: count(batch)}
	for {
		over, err := a.step(ctx)
		if errors.Is(err, store.ErrLost) {
			continue // another request of the session was faster
		}
		if err != nil || over {
			return err
		}
	}
}

// auditBatch is one batch of an audit on its way.
type auditBatch struct {
	rows     *Rows
	view, id string
	batch    *v2api.Batch
	name     string
	count    int    // of its rows
	staged   uint64 // the round in which they are in the store; 0: none yet
}

// step brings the batch one step on, and reports whether that was the last.
func (a *auditBatch) step(ctx context.Context) (over bool, err error) {
	r := a.rows
	standing, err := r.o.Ledger.Standing(ctx, a.view, a.id)
	if err != nil {
		return false, err
	}
	h, err := r.round(ctx, a.view, a.id)
	if err != nil {
		return false, err
	}
	next := h.round
	switch {
	case h.State == closed:
		if err := r.finish(ctx, a.view, a.id); err != nil {
			return false, err
		}
		return a.count == 0 || a.name == h.Name, nil
	case h.State == open && !h.Broken && (!standing.Leads || standing.Term != h.Term):
		next.Broken = true
		r.o.Logger.Warn("an audit's session does not lead any more; the audit is given up", "view", a.view, "session", a.id)
		return false, r.replace(ctx, a.view, a.id, &h, next)
	case h.State == open && !h.Broken && a.count > 0 && a.staged != h.Number:
		abandoned, err := r.abandoned(ctx, a.view, a.id, h.Number)
		if err != nil {
			return false, err
		}
		if abandoned {
			old := h.Number
			next = round{Number: old + 1, State: open, Began: r.o.Now(), Term: standing.Term}
			if err := r.replace(ctx, a.view, a.id, &h, next); err == nil {
				r.clean(ctx, a.view, a.id, old)
			}
			return false, err
		}
		if err := r.stage(ctx, a.view, a.id, h.Number, a.batch, a.name); err != nil {
			return false, err
		}
		a.staged = h.Number
		r.segments.change(a.view, a.id, func(t *tail) { t.staged = r.o.Now() })
		return !a.batch.Ends(), nil
	case h.State == open && a.batch.Ends():
		next.State, next.Closed, next.Name = closed, r.o.Now(), a.name
		if err := r.replace(ctx, a.view, a.id, &h, next); err != nil {
			return false, err
		}
		return true, r.finish(ctx, a.view, a.id)
	case h.State == open:
		return true, nil // nothing to add, or to a broken round
	case a.count == 0 || a.name == h.Name || !standing.Leads:
		return true, nil // an end that comes twice, or rows that do not count
	}
	return false, r.replace(ctx, a.view, a.id, &h, round{Number: h.Number + 1, State: open, Began: r.o.Now(), Term: standing.Term})
}

// abandoned reports whether nothing came of an open round for so long that its agent must have given it up.
func (r *Rows) abandoned(ctx context.Context, view, id string, number uint64) (bool, error) {
	last := r.segments.get(view, id).staged
	if r.age(last) < abandonedAfter {
		return false, nil
	}
	prefix, any := layout.Staged(view, id, number), false
	err := eachAfter(ctx, r.o.Store, prefix+"0-", "", func(i store.Item) {
		at, err := strconv.ParseInt(i.Key[len(prefix)+2:][:20], 10, 64)
		if err == nil {
			last, any = max(last, at), true
		}
	})
	return any && r.age(last) >= abandonedAfter, err
}

// finish works a closed round out. Where that takes long, the request is answered and the work goes on; if it is cut off
// then, the session's next request or heartbeat takes it up.
func (r *Rows) finish(ctx context.Context, view, id string) error {
	if r.o.InRequest {
		return r.work(ctx, view, id)
	}
	result := r.finishes.DoChan(view+"/"+id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishLimit)
		defer cancel()
		err := r.work(ctx, view, id)
		if err != nil {
			r.o.Logger.Warn("an audit could not be worked out; the session's next call tries again", "view", view, "session", id, "error", err)
		}
		return nil, err
	})
	timer := time.NewTimer(answerBy)
	defer timer.Stop()
	select {
	case done := <-result:
		return done.Err
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// Resume takes up a round of the session that was closed and that nobody works on. Heartbeats ask for it.
func (r *Rows) Resume(ctx context.Context, view, id string) {
	r.mu.Lock()
	now, key := r.o.Now(), view+"/"+id
	due := now-r.resumed[key] > resumeEvery
	if due {
		if len(r.resumed) >= maxTails {
			clear(r.resumed)
		}
		r.resumed[key] = now
	}
	r.mu.Unlock()
	if !due {
		return
	}
	h, err := r.round(ctx, view, id)
	if err == nil && h.State == closed {
		if r.o.InRequest {
			err = r.work(ctx, view, id)
		} else {
			go func() { _ = r.finish(context.WithoutCancel(ctx), view, id) }()
		}
	}
	if err != nil {
		r.o.Logger.Warn("an audit that nobody finished could not be taken up", "view", view, "session", id, "error", err)
	}
}

// work works the round out unless another process does; then it waits for that one.
func (r *Rows) work(ctx context.Context, view, id string) error {
	for {
		h, err := r.round(ctx, view, id)
		if err != nil || h.State != closed {
			return err
		}
		if h.Worker != "" && h.Worker != r.worker && h.meta.Date.Sub(h.meta.LastModified) < claimLife {
			if err := sleep.For(ctx, awaitRound); err != nil {
				return err
			}
			continue
		}
		next := h.round
		if next.Worker == "" {
			t, err := r.tail(ctx, view, id)
			if err != nil {
				return err
			}
			next.Next = t.next
		}
		next.Worker = r.worker
		if err = r.replace(ctx, view, id, &h, next); err == nil {
			err = r.workOut(ctx, view, id, &h)
		}
		if !errors.Is(err, store.ErrLost) {
			return err
		}
	}
}

// workOut makes the segments of a round that this process has claimed, and removes what was staged.
func (r *Rows) workOut(ctx context.Context, view, id string, h *heldRound) error {
	if !h.Broken {
		record, err := r.o.Ledger.Known(ctx, view, id)
		if err != nil {
			return err
		}
		m := merge{rows: r, view: view, id: id, held: h}
		run, err := m.reduce(ctx)
		if err != nil {
			return err
		}
		w := roundWriter{rows: r, record: record, held: h, at: h.Began}
		if err := w.write(ctx, run); err != nil {
			return err
		}
	}
	next := h.round
	next.State, next.Worker = done, ""
	if err := r.replace(ctx, view, id, h, next); err != nil {
		return err
	}
	r.clean(ctx, view, id, h.Number)
	return nil
}

// clean removes what was staged of a round. What it leaves retention removes once the session is over.
func (r *Rows) clean(ctx context.Context, view, id string, number uint64) {
	var keys []string
	err := eachAfter(ctx, r.o.Store, layout.Staged(view, id, number), "", func(i store.Item) { keys = append(keys, i.Key) })
	for _, key := range keys {
		if err == nil {
			err = r.o.Store.Delete(ctx, key)
		}
	}
	if err != nil {
		r.o.Logger.Warn("staged rows of an audit that is over could not be removed", "view", view, "session", id, "error", err)
	}
}
