package pipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fustor/fustor/internal/event"
)

// Begin makes the stream one of a new session, with seq 0 and this term. Carry takes over the realtime events that the
// old session did not send. Listings are not taken over: they are of another term. Begin reports whether there are any.
func (s *Stream) Begin(session string, term uint64) (dropped bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != "" {
		if err := s.seal(); err != nil {
			return true, err
		}
	}
	for i := range s.sealed {
		seg := &s.sealed[i]
		dropped = dropped || seg.drops
		if seg.carries {
			s.old = append(s.old, *seg)
		} else {
			s.forget(seg)
		}
	}
	s.session, s.term, s.seq = session, term, 0
	s.sealed, s.unsent, s.open = nil, 0, nil
	s.pace.spent = false
	s.tellAllNames()
	s.publish()
	s.room.Broadcast()
	s.wake()
	return dropped, nil
}

// Carry takes over what earlier sessions did not send, and what an earlier process left in the spool, until ctx ends: the
// realtime events go out again in segments of the present session, as they were observed. It takes a segment at a time
// and waits while much is unsent, so that events of today need not wait for those of an outage. What a view shows does
// not depend on the order in which events come.
func (s *Stream) Carry(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.broadcast)
	defer stop()
	for {
		seg, err := s.awaitOld(ctx)
		if err != nil {
			return err
		}
		if err := s.carryOver(ctx, seg); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			s.cfg.Lost(fmt.Errorf("events of an earlier session: %w", err))
		}
		s.mu.Lock()
		if seg.file != 0 {
			err = s.seal() // what was carried over is in the spool again before it leaves the spool
		}
		s.forget(&s.old[0])
		s.old = s.old[1:]
		s.publish()
		s.mu.Unlock()
		s.wake()
		if err != nil {
			return err
		}
	}
}

// awaitOld waits for a segment that is to be carried over, and for room to do so.
func (s *Stream) awaitOld(ctx context.Context) (Segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ctx.Err() == nil && (s.session == "" || len(s.old) == 0 || s.unsent >= s.cfg.ScanBacklog) {
		s.room.Wait()
	}
	if ctx.Err() != nil {
		return Segment{}, ctx.Err()
	}
	return s.old[0], nil
}

// carryOver adds the realtime events and the remarks of a segment of another session.
func (s *Stream) carryOver(ctx context.Context, seg Segment) error {
	if seg.Body == nil {
		var err error
		if seg.Body, err = s.cfg.Spool.Get(seg.file); err != nil {
			return err
		}
	}
	r, err := event.NewReader(fmt.Sprintf("spooled segment %d", seg.file), bytes.NewReader(seg.Body), event.Limits{})
	if err != nil {
		return err
	}
	if h := r.Header(); h.View != s.cfg.View || h.Source != s.cfg.Source {
		return fmt.Errorf("segment %s/%d belongs to view %s and source %s and is skipped", h.Session, h.Seq, h.View, h.Source)
	}
	for ctx.Err() == nil {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !carried(ev) {
			continue
		}
		s.mu.Lock()
		err = s.add(ev)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func carried(ev *event.Event) bool {
	switch ev.Kind {
	case event.Put, event.Delete:
		return true
	case event.Marked:
		return ev.Mark.Kind == event.Overflow || ev.Mark.Kind == event.SubtreeError || ev.Mark.Kind == event.CoverageLimited
	}
	return false
}
