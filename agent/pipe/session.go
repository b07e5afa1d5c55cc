package pipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fustor/fustor/internal/event"
)

// Begin makes the stream one of a new session, with seq 0 and this term. Realtime events that the old session did not
// send go into the first segments of the new one, as they were observed. Listings do not: they are of another term.
// It reports whether any were left out.
func (s *Stream) Begin(session string, term uint64) (dropped bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != "" {
		if err := s.seal(); err != nil {
			return true, err
		}
	}
	old := s.sealed
	s.session, s.term, s.seq = session, term, 0
	s.sealed, s.unsent, s.open = nil, 0, nil
	s.pace.spent = false
	var errs []error
	for i := range old {
		left, err := s.carryOver(&old[i])
		dropped = dropped || left || err != nil
		errs = append(errs, err)
	}
	s.room.Broadcast()
	s.wake()
	return dropped, errors.Join(errs...)
}

// carryOver adds the realtime events and the remarks of a segment of another session.
func (s *Stream) carryOver(seg *Segment) (dropped bool, err error) {
	name := fmt.Sprintf("%s/%d", seg.Session, seg.Seq)
	r, err := event.NewReader(name, bytes.NewReader(seg.Body), event.Limits{})
	if err != nil {
		return true, fmt.Errorf("carry over unsent events: %w", err)
	}
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dropped, nil
		}
		if err != nil {
			return true, fmt.Errorf("carry over unsent events: %w", err)
		}
		if !carried(ev) {
			dropped = true
			continue
		}
		if err := s.add(ev); err != nil {
			return true, fmt.Errorf("carry over unsent events: %w", err)
		}
	}
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
