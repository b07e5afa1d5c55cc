package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/trace"
)

// uploader makes the stream's segments durable, one after the other.
type uploader struct {
	stream      *pipe.Stream
	sender      send.Sender
	situation   *situation
	directories *directories
	counters    *counters
	log         *slog.Logger
	sessionGone func(session string)
	draining    chan struct{} // closed when no more events come
}

// run sends the segments until all are sent after the stream was closed, or ctx ends.
func (u *uploader) run(ctx context.Context) error {
	retry := backoff{}
	for ctx.Err() == nil {
		if err := u.awaitResume(ctx); err != nil {
			return err
		}
		seg, err := u.stream.Next(ctx)
		if errors.Is(err, io.EOF) {
			return suture.ErrTerminateSupervisorTree // everything is sent: the sending side is done
		}
		if err != nil {
			return err
		}
		if u.situation.pausing() != nil {
			continue
		}
		if !u.situation.alive(seg.Session) {
			_ = sleep.For(ctx, 50*time.Millisecond)
			continue
		}
		err = u.send(ctx, seg)
		if err == nil {
			retry = backoff{}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := retry.next(err)
		u.log.Warn("segment not sent", "seq", seg.Seq, "error", err, "again_in", wait.Round(time.Millisecond))
		_ = sleep.For(ctx, wait)
	}
	return ctx.Err()
}

// awaitResume waits while the agent is paused. One that ends meanwhile sends nothing: what it has is in its spool, and what
// is not is scanned again once it is resumed.
func (u *uploader) awaitResume(ctx context.Context) error {
	resumed := u.situation.pausing()
	if resumed == nil {
		return nil
	}
	select {
	case <-resumed:
		return nil
	case <-u.draining:
		return suture.ErrTerminateSupervisorTree
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *uploader) send(ctx context.Context, seg pipe.Segment) error {
	sendCtx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	sendCtx, span := trace.Start(sendCtx, trace.Internal, "send segment", trace.View(seg.View), trace.Number("fustor.seq", int64(seg.Seq)),
		trace.Number("fustor.events", int64(seg.Events)), trace.Number("fustor.bytes", int64(len(seg.Body))))
	err := u.sender.Send(sendCtx, seg)
	span.EndWith(err)
	u.counters.sent(len(seg.Body), err)
	switch {
	case err == nil:
		u.stream.Sent(seg)
		u.directories.sent(seg.Session, seg.Seq)
		u.situation.madeDurable(seg.Session, seg.Seq)
	case errors.Is(err, send.ErrSessionGone), errors.Is(err, send.ErrTaken), errors.Is(err, store.ErrLost):
		// The session is gone, or somebody else wrote this session's segment: go on with another session.
		u.sessionGone(seg.Session)
	}
	return err
}
