// Package pipe turns the events of a source into the numbered segments of a session.
//
// It owns the stream's order and its memory: events are added as they come, under one lock, to the open segment, whose blocks are encoded
// and compressed without the lock;
// segments are numbered without gaps and handed out strictly in order, the next one only after the last is durable.
// Scans wait while too much is unsent; realtime events never wait, and past the hard bound they are refused, so that
// the watcher goes into overflow. A segment has one term: a listing is refused unless its term is the newest known.
// With a spool, segments that carry realtime events are in its files until they are durable, and in memory only up to a
// bound. Package agent drives it: scan and watch fill it, the uploader empties it.
package pipe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/agent/spool"
	"github.com/fustor/fustor/internal/event"
)

// What emitters decide on.
var (
	// ErrTerm refuses a scan's event: the term it was looked at under is not, or no longer, the newest one.
	ErrTerm = errors.New("the term is over")
	// ErrNoSession refuses everything before the first session.
	ErrNoSession = errors.New("no session yet")
)

// Segment is a sealed segment: the bytes of one object.
type Segment struct {
	View, Session string
	Seq           uint64
	Term          uint64
	Body          []byte
	Events        int
	Entries       int // of listings

	file    spool.ID // 0: in memory only
	size    int      // bytes of Body
	begun   time.Time
	carries bool // it has events that outlive the session
	drops   bool // it has events that do not
}

// Config is what a stream is made for.
type Config struct {
	View, Agent, Source string
	Local               bool                    // the source is a file system of this host
	Now                 func() int64            // the store's time, ns
	LeaseUntil          func(term uint64) int64 // until when the session leads for certain in a term, the store's time, ns; 0: it does not
	MaxAge              time.Duration           // between segments while events keep coming; default 1 s
	MaxRows             int                     // events and listed entries of a segment; default 64 Ki
	MaxBytes            int                     // of an encoded segment, about; default 4 MiB
	ScanBacklog         int                     // bytes unsent at which scans wait; default 8 MiB
	MaxBacklog          int                     // bytes unsent and in memory at which realtime events are refused; default 64 MiB
	// Spool, unless nil, keeps segments in files, so that no more than ScanBacklog of them are in memory. Lost is told
	// when it gives back less than was put into it: everything must be scanned again. It must not call the stream.
	Spool *spool.Spool
	Lost  func(error)
	// Met, unless nil, is told of the owners and groups of entries, perhaps several times each. It must not call the stream.
	Met func(uid, gid uint32)
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		at    *int
		value int
	}{{&c.MaxRows, 64 << 10}, {&c.MaxBytes, 4 << 20}, {&c.ScanBacklog, 8 << 20}, {&c.MaxBacklog, 64 << 20}} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if c.LeaseUntil == nil {
		c.LeaseUntil = func(uint64) int64 { return 0 }
	}
	if c.MaxAge <= 0 {
		c.MaxAge = time.Second
	}
	if c.Lost == nil {
		c.Lost = func(error) {}
	}
	return c
}

// Stream is the events of one session after the other. It is safe for concurrent use.
type Stream struct {
	cfg Config

	mu       sync.Mutex
	room     *sync.Cond    // broadcast when the backlog shrinks, a session begins, or a waiter's context ends
	ready    chan struct{} // a token when Next may have something to do
	session  string
	term     uint64 // the newest known
	seq      uint64 // of the next segment to be opened
	writer   *event.Writer
	open     *openSegment // nil: nothing to send
	sealed   []Segment    // of this session, not yet durable, in order
	old      []Segment    // of sessions before it, whose events are still to be carried over
	unsent   int          // bytes of sealed
	resident int          // bytes of sealed and old that are in memory
	closing  bool
	pace     pace
	skew     skew
	names    map[owner]event.OwnerName // of owners; each session tells all of them
	untold   []event.OwnerName         // those that go out with the next segment

	// What others ask for without the lock, which may be held while the spool is written to.
	takes     atomic.Bool  // Realtime would take events
	unsentNow atomic.Int64 // unsent
	skewNow   atomic.Int64 // the skew, ns
}

type openSegment struct {
	body       bytes.Buffer
	seq        uint64
	term       uint64
	leaseUntil int64
	begun      time.Time
	carries    bool
	drops      bool
}

// New makes a stream that has no session yet. What an earlier process left in the spool goes out with its first session.
func New(cfg Config) *Stream {
	s := &Stream{cfg: cfg.withDefaults(), ready: make(chan struct{}, 1), names: map[owner]event.OwnerName{}}
	s.room = sync.NewCond(&s.mu)
	s.pace.gap = s.cfg.MaxAge
	if s.cfg.Spool != nil {
		ids, sizes := s.cfg.Spool.Left()
		for i, id := range ids {
			s.old = append(s.old, Segment{file: id, size: int(sizes[i]), carries: true})
		}
	}
	return s
}

// SetTerm tells the newest term. Listings that were looked at under an older one are refused from now on.
func (s *Stream) SetTerm(term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = max(s.term, term)
	s.room.Broadcast()
}

// Backlog is how many bytes and segments are sealed and not yet durable, those of earlier sessions among them.
func (s *Stream) Backlog() (bytes, segments int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes = s.unsent
	for i := range s.old {
		bytes += s.old[i].size
	}
	return bytes, len(s.sealed) + len(s.old)
}

// Durable says since when events of the session wait to be durable, now if none does, and in which segment the first of them is: all
// segments before it are durable. ok is false where there is no session, or events of the one before it are still to be carried over.
func (s *Stream) Durable() (next uint64, since time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.session == "" || len(s.old) > 0:
		return 0, time.Time{}, false
	case len(s.sealed) > 0:
		return s.sealed[0].Seq, s.sealed[0].begun, true
	case s.open != nil && s.writer.Events() > 0:
		return s.open.seq, s.open.begun, true
	}
	return s.seq, time.Now(), true
}

// Realtime adds events of the kernel, all of them or none: false means that too much is unsent. It does not wait.
// The events may be reused afterwards.
func (s *Stream) Realtime(events []event.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == "" || s.resident >= s.cfg.MaxBacklog {
		return false
	}
	for i := range events {
		s.skew.add(&events[i])
		// An event that the format cannot carry, such as a path of more than 64 KiB, is not worth the others.
		_ = s.add(&events[i])
	}
	s.skewNow.Store(s.skew.mode * 1e9)
	s.wake()
	return true
}

// HasRoom reports whether Realtime would take events now. It does not wait.
func (s *Stream) HasRoom() bool { return s.takes.Load() }

// ScanRoom is how many bytes scans may add before they wait; 0 or less: they would wait. It does not wait.
func (s *Stream) ScanRoom() int { return s.cfg.ScanBacklog - int(s.unsentNow.Load()) }

// ScanBacklog is how many bytes may be unsent until scans wait.
func (s *Stream) ScanBacklog() int { return s.cfg.ScanBacklog }

// publish has HasRoom and ScanRoom answer by what is now. The lock is held.
func (s *Stream) publish() {
	s.takes.Store(s.session != "" && s.resident < s.cfg.MaxBacklog)
	s.unsentNow.Store(int64(s.unsent))
}

// Scan is ScanNow once there is room: it waits while too much is unsent.
func (s *Stream) Scan(ctx context.Context, term uint64, ev *event.Event, check func() (*event.Event, error)) error {
	checked, wrong := event.Check(ev) // without the lock, as it takes long
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsent >= s.cfg.ScanBacklog {
		defer context.AfterFunc(ctx, s.broadcast)()
	}
	for s.unsent >= s.cfg.ScanBacklog && ctx.Err() == nil && s.term == term {
		s.room.Wait()
	}
	return s.scan(ctx, term, checked, wrong, check)
}

// broadcast has those who wait for room look again. It takes the lock, as one who has found no room may be about to wait.
func (s *Stream) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room.Broadcast()
}

// ScanNow adds an event of a scan under term, unless ctx has ended. Once it is the event's turn, and nothing else can get in
// between, it calls check (unless nil), whose event goes first and whose error keeps this one out.
func (s *Stream) ScanNow(ctx context.Context, term uint64, ev *event.Event, check func() (*event.Event, error)) error {
	checked, wrong := event.Check(ev)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scan(ctx, term, checked, wrong, check)
}

// scan adds an event, unless something is wrong with it, which is told last.
func (s *Stream) scan(ctx context.Context, term uint64, ev event.Checked, wrong error, check func() (*event.Event, error)) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.session == "":
		return ErrNoSession
	case s.term != term:
		return ErrTerm
	}
	if check != nil {
		first, err := check()
		if err != nil {
			return err
		}
		if first != nil {
			if err := s.add(first); err != nil {
				return err
			}
		}
	}
	if wrong != nil {
		return wrong
	}
	if err := s.addChecked(ev); err != nil {
		return err
	}
	s.wake()
	return nil
}

// Cut ends the open segment, so that what follows is in another one and what is in it goes out at once.
func (s *Stream) Cut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	return s.seal()
}

// add checks an event and adds it.
func (s *Stream) add(ev *event.Event) error {
	checked, err := event.Check(ev)
	if err != nil {
		return err
	}
	return s.addChecked(checked)
}

// addChecked adds one event to the open segment and seals that once it is large enough.
func (s *Stream) addChecked(ev event.Checked) error {
	if s.open != nil && s.open.term != s.term {
		if err := s.seal(); err != nil {
			return err
		}
	}
	if err := s.ensureOpen(); err != nil {
		return err
	}
	if s.beyondLease(ev.Event) { // the lease was renewed since the segment was begun
		if err := s.seal(); err != nil {
			return err
		}
		s.open = nil
		if err := s.ensureOpen(); err != nil {
			return err
		}
		if s.beyondLease(ev.Event) {
			return ErrTerm
		}
	}
	err := s.writer.AddChecked(ev)
	if errors.Is(err, event.ErrFull) {
		if err := s.seal(); err != nil {
			return err
		}
		if err := s.ensureOpen(); err != nil {
			return err
		}
		err = s.writer.AddChecked(ev)
	}
	if err != nil {
		return err
	}
	if carried(ev.Event) {
		s.open.carries = true
	} else {
		s.open.drops = true
	}
	if s.writer.Events()+s.writer.Entries() >= s.cfg.MaxRows || s.writer.Size() >= s.cfg.MaxBytes {
		return s.seal()
	}
	return nil
}

// beyondLease reports whether the event is a leader's look from after what the open segment says of its lease.
func (s *Stream) beyondLease(ev *event.Event) bool {
	return ev.Kind == event.Listing && ev.Evidence != event.OnDemand && s.open.leaseUntil != 0 && ev.ObservedAt > s.open.leaseUntil
}

func (s *Stream) ensureOpen() error {
	if s.open != nil {
		return nil
	}
	o := &openSegment{seq: s.seq, term: s.term, leaseUntil: s.cfg.LeaseUntil(s.term), begun: time.Now()}
	h := s.header(o.seq, o.term, o.leaseUntil)
	var err error
	if s.writer == nil {
		if s.writer, err = event.NewWriter(&o.body, h); err == nil {
			s.writer.OnOwner(s.cfg.Met)
		}
	} else {
		err = s.writer.Reset(&o.body, h)
	}
	if err != nil {
		return fmt.Errorf("begin segment %d: %w", o.seq, err)
	}
	s.open = o
	return nil
}

func (s *Stream) header(seq, term uint64, leaseUntil int64) event.Header {
	return event.Header{
		View: s.cfg.View, Session: s.session, Agent: s.cfg.Agent, Source: s.cfg.Source,
		Seq: seq, Term: term, CreatedAt: s.cfg.Now(), Nonce: rand.Text(), Local: s.cfg.Local,
		LeaseUntil: leaseUntil, Skew: s.skew.mode * 1e9, SkewKnown: s.skew.known,
	}
}

// seal closes the open segment, if there is one that tells something, and queues it.
func (s *Stream) seal() error {
	if s.open == nil || s.writer.Events() == 0 && len(s.untold) == 0 {
		return nil
	}
	switch err := s.writer.AddNames(s.untold); {
	case err == nil:
		s.untold = nil
	case !errors.Is(err, event.ErrFull): // else the next segment has them
		return fmt.Errorf("end segment %d: %w", s.open.seq, err)
	}
	if err := s.writer.Close(); err != nil {
		return fmt.Errorf("end segment %d: %w", s.open.seq, err)
	}
	seg := Segment{
		View: s.cfg.View, Session: s.session, Seq: s.open.seq, Term: s.open.term, Body: s.open.body.Bytes(),
		Events: s.writer.Events(), Entries: s.writer.Entries(), carries: s.open.carries, drops: s.open.drops, begun: s.open.begun,
	}
	s.open = nil
	s.seq++
	s.keep(&seg)
	s.sealed = append(s.sealed, seg)
	s.unsent += seg.size
	s.publish()
	s.pace.spend(time.Now())
	return nil
}

func (s *Stream) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Next waits for the first segment that is not yet durable; it is the same one until Sent is told. Only one goroutine
// may call it. After Close it returns io.EOF once everything is sent.
func (s *Stream) Next(ctx context.Context) (Segment, error) {
	for {
		seg, wait, err := s.poll()
		if err != nil || seg != nil {
			if err != nil {
				return Segment{}, err
			}
			return *seg, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return Segment{}, ctx.Err()
		case <-s.ready:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// poll returns the first segment, or how long to wait for it.
func (s *Stream) poll() (*Segment, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const idle = time.Hour
	if len(s.sealed) > 0 {
		seg, err := s.first()
		return seg, 0, err
	}
	if tellsNames := len(s.untold) > 0 && s.session != ""; s.open == nil || s.writer.Events() == 0 && !tellsNames {
		if tellsNames {
			if err := s.ensureOpen(); err != nil {
				return nil, 0, err
			}
			return nil, 0, nil
		}
		if s.closing && (len(s.old) == 0 || s.session == "") {
			return nil, 0, io.EOF
		}
		return nil, idle, nil
	}
	if wait := s.pace.wait(time.Now()); wait > 0 && !s.closing {
		return nil, wait, nil
	}
	if err := s.seal(); err != nil {
		return nil, 0, err
	}
	seg, err := s.first()
	return seg, 0, err
}

// Sent tells that a segment from Next is durable.
func (s *Stream) Sent(seg Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sealed) == 0 || s.sealed[0].Session != seg.Session || s.sealed[0].Seq != seg.Seq {
		return // of a session that has ended; its events were carried over
	}
	s.unsent -= s.sealed[0].size
	s.forget(&s.sealed[0])
	s.sealed = s.sealed[1:]
	s.publish()
	s.room.Broadcast()
}

// Sealed ends the open segment and is the sequence number of the last segment of the session so far; false if it has none.
func (s *Stream) Sealed() (session string, seq uint64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	if err := s.seal(); err != nil {
		return "", 0, false, err
	}
	if s.seq == 0 {
		return s.session, 0, false, nil
	}
	return s.session, s.seq - 1, true, nil
}

// Position is the session's last segment that an event added so far can be in.
func (s *Stream) Position() (session string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil && s.seq > 0 {
		return s.session, s.seq - 1
	}
	return s.session, s.seq
}

// StartSkew is what the view knows of its file server's clock; it counts until the agent has measured by itself.
func (s *Stream) StartSkew(ns int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew.start(floorSeconds(ns))
	s.skewNow.Store(s.skew.mode * 1e9)
}

// Skew is the store's time minus the file server's, ns. It does not wait.
func (s *Stream) Skew() int64 { return s.skewNow.Load() }

// Close says that no more events will come.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.wake()
}

// Session is the session that segments are made for now.
func (s *Stream) Session() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}
