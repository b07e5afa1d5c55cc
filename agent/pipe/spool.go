package pipe

import (
	"bytes"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/event"
)

// keep puts a sealed segment into the spool, if it says something that is worth to outlive the process, and out of memory
// once enough is there. A spool that takes nothing leaves it in memory.
func (s *Stream) keep(seg *Segment) {
	seg.size = len(seg.Body)
	if s.cfg.Spool != nil && seg.carries {
		if id, err := s.cfg.Spool.Put(seg.Body); err == nil { // its status has the error
			seg.file = id
		}
	}
	if seg.file != 0 && s.resident+seg.size > s.cfg.ScanBacklog {
		seg.Body = nil
		return
	}
	s.resident += seg.size
}

// forget gives back what a segment takes in memory and in the spool.
func (s *Stream) forget(seg *Segment) {
	if seg.Body != nil {
		s.resident -= seg.size
	}
	if seg.file != 0 {
		_ = s.cfg.Spool.Remove(seg.file) // if it stays, it is carried over by the next process, which is no harm
	}
	*seg = Segment{}
}

// first is the first segment with its bytes. If the spool lost them, one goes out in its place, since sequence numbers have
// no gaps; it says that something was lost.
func (s *Stream) first() (*Segment, error) {
	seg := s.sealed[0]
	if seg.Body != nil {
		return &seg, nil
	}
	var err error
	if seg.Body, err = s.cfg.Spool.Get(seg.file); err == nil && len(seg.Body) == seg.size {
		return &seg, nil
	}
	if err == nil {
		err = fmt.Errorf("%d of %d bytes are left", len(seg.Body), seg.size)
	}
	body, writeErr := s.lostSegment(&seg)
	if writeErr != nil {
		return nil, fmt.Errorf("segment %d was lost from the spool: %w; in its place: %w", seg.Seq, err, writeErr)
	}
	s.cfg.Lost(fmt.Errorf("segment %d was lost from the spool: %w", seg.Seq, err))
	s.tellAllNames() // some may have been in it
	s.unsent += len(body) - seg.size
	s.resident += len(body)
	seg.Body, seg.size, seg.Events, seg.Entries = body, len(body), 1, 0
	s.sealed[0] = seg
	s.publish()
	return &seg, nil
}

func (s *Stream) lostSegment(seg *Segment) ([]byte, error) {
	var b bytes.Buffer
	w, err := event.NewWriter(&b, s.header(seg.Seq, seg.Term, 0))
	if err != nil {
		return nil, err
	}
	ev := event.Event{
		Kind: event.Marked, Evidence: event.Realtime, ObservedAt: s.cfg.Now(), Path: "/", Mark: event.Mark{Kind: event.Overflow},
	}
	if err := w.Add(&ev); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// KeepOpen has the open segment put into the spool if it was begun longer ago than age: during an outage nothing else
// ends a segment that is not full.
func (s *Stream) KeepOpen(age time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Spool == nil || s.open == nil || !s.open.carries || time.Since(s.open.begun) < age {
		return nil
	}
	defer s.wake()
	return s.seal()
}
