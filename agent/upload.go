package agent

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/store"
)

// upload sends the segments, one after the other, until all are sent after the stream was closed, or ctx ends.
func (a *Agent) upload(ctx context.Context) error {
	retry := backoff{}
	for ctx.Err() == nil {
		if err := a.awaitRunning(ctx); err != nil {
			return err
		}
		seg, err := a.stream.Next(ctx)
		if errors.Is(err, io.EOF) {
			return suture.ErrTerminateSupervisorTree // everything is sent: the sending side is done
		}
		if err != nil {
			return err
		}
		if a.pausing() != nil {
			continue
		}
		if !a.trusts(seg) {
			sleep(ctx, 50*time.Millisecond)
			continue
		}
		err = a.send(ctx, seg)
		if err == nil {
			retry = backoff{}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := retry.next(err)
		a.o.Logger.Warn("segment not sent", "seq", seg.Seq, "error", err, "again_in", wait.Round(time.Millisecond))
		sleep(ctx, wait)
	}
	return ctx.Err()
}

// awaitRunning waits while the agent is paused. One that ends meanwhile sends nothing: what it has is in its spool, and
// what is not is scanned again once it is resumed.
func (a *Agent) awaitRunning(ctx context.Context) error {
	resumed := a.pausing()
	if resumed == nil {
		return nil
	}
	select {
	case <-resumed:
		return nil
	case <-a.draining:
		return suture.ErrTerminateSupervisorTree
	case <-ctx.Done():
		return ctx.Err()
	}
}

// trusts reports whether the segment's session is known to be alive. What is sent for one that has timed out may never
// be folded.
func (a *Agent) trusts(seg pipe.Segment) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stand.session == seg.Session && a.now().Since(a.stand.alive) < a.stand.timeout
}

func (a *Agent) send(ctx context.Context, seg pipe.Segment) error {
	sendCtx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := a.sender.Send(sendCtx, seg)
	a.mu.Lock()
	if err == nil {
		a.sent.segments++
		a.sent.bytes += uint64(len(seg.Body))
	} else {
		a.sent.failures++
	}
	a.mu.Unlock()
	switch {
	case err == nil:
		a.stream.Sent(seg)
		if l := a.dirs.Load(); l != nil {
			l.Sent(seg.Session, seg.Seq)
		}
	case errors.Is(err, send.ErrSessionGone), errors.Is(err, send.ErrTaken), errors.Is(err, store.ErrLost):
		// Gone, or somebody else wrote this session's segment: go on with another session.
		select {
		case a.gone <- seg.Session:
		default:
		}
	}
	return err
}
