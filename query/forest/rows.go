package forest

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/query/engine"
)

// Rows of all members come as one sequence: in the order of the question, and of equal rows by the member's name. The members work ahead,
// each in a goroutine that stops when a batch of its rows waits to be taken. The merge waits for the next row of every member before it
// emits one, so a member that is slow holds up the others until its deadline, and no longer.

// Question is a question whose answer is rows.
type Question struct {
	// Compare is the order of the rows; nil: by key.
	Compare func(a, b *evidence.Row) int
	// Extra is Position.Extra after a row; nil: 0.
	Extra func(r *evidence.Row) int64
	// Ask emits the rows of one version after a position, up to limit (0: all), and returns where they ended; nil: there are no more.
	//
	// A member may take until Deadline to come to its next row.
	Ask func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error)
	// Whole: Ask reads all before it emits anything, as reports do, and the answer has no pages. A member may take until ReportDeadline.
	Whole bool
}

func (q *Question) deadline() time.Duration {
	if q.Whole {
		return ReportDeadline
	}
	return Deadline
}

// batchRows bounds a batch of rows that a member is ahead; it may have two.
const batchRows = 128

// Emit takes one row of an answer. It may keep nothing of the row.
type Emit func(m *Member, r *evidence.Row) error

// Rows emits the rows of all members that are OK, up to the limit of the page, and returns where they ended; nil: there are no more. The
// error is Err if no member had an answer; what some fail at is their status.
func (f *Forest) Rows(ctx context.Context, q Question, p Page, emit Emit) (*Position, error) {
	if q.Compare == nil {
		q.Compare = CompareKeys
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	merged := &merge{compare: q.Compare}
	streams := f.streams(ctx, q, p)
	for _, s := range streams {
		some, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		if some {
			merged.streams = append(merged.streams, s)
		}
	}
	heap.Init(merged)
	var at Position
	taken := 0
	for ; merged.Len() > 0 && (p.Limit == 0 || taken < p.Limit); taken++ {
		s := merged.streams[0]
		r := s.row()
		at.Key.Parent, at.Key.Name, at.member = r.Parent, r.Name, s.member.View
		if q.Extra != nil {
			at.Extra = q.Extra(r)
		}
		if err := emit(s.member, r); err != nil {
			return nil, err
		}
		some, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		if some {
			heap.Fix(merged, 0)
		} else {
			heap.Pop(merged)
		}
	}
	more := merged.Len() > 0 && !q.Whole
	for _, s := range streams {
		more = more || s.over && s.more
	}
	if more && taken > 0 {
		return &at, nil
	}
	if taken > 0 {
		return nil, nil
	}
	return nil, f.Err()
}

// CompareKeys is the order of keys.
func CompareKeys(a, b *evidence.Row) int {
	return layer.Key{Parent: a.Parent, Name: a.Name}.Compare(layer.Key{Parent: b.Parent, Name: b.Name})
}

// merge is a heap of streams that have a row, the one with the first row on top.
type merge struct {
	compare func(a, b *evidence.Row) int
	streams []*stream
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (m *merge) Len() int { return len(m.streams) }
func (m *merge) Less(i, j int) bool {
	a, b := m.streams[i], m.streams[j]
	if c := m.compare(a.row(), b.row()); c != 0 {
		return c < 0
	}
	return a.member.View < b.member.View
}
func (m *merge) Swap(i, j int) { m.streams[i], m.streams[j] = m.streams[j], m.streams[i] }
func (m *merge) Push(any)      { panic("streams are only taken out") }
func (m *merge) Pop() any {
	last := m.streams[len(m.streams)-1]
	m.streams = m.streams[:len(m.streams)-1]
	return last
}

// stream is the rows of one member.
type stream struct {
	member  *Member
	batches chan []evidence.Row // closed after the last
	batch   []evidence.Row      // the one that is read
	at      int
	more    bool  // it ended at the limit of the page, and has more rows; good once batches is closed
	err     error // the same
	over    bool  // batches is closed, and all is read

	began    time.Time
	working  atomic.Int64 // when it began to work on the batch that is awaited: ns after began; 0: it waits for its turn
	deadline time.Duration
	cancel   context.CancelFunc
	release  func() // its turn is over
}

// streams starts a stream for each member that is OK.
func (f *Forest) streams(ctx context.Context, q Question, p Page) (streams []*stream) {
	turns := make(chan struct{}, atOnce(q.deadline())) // held until the first batch
	for _, m := range f.Members {
		if m.Status != OK {
			continue
		}
		within, cancel := context.WithCancel(ctx)
		s := &stream{member: m, batches: make(chan []evidence.Row, 1), began: time.Now(), deadline: leaving(ctx, q.deadline()), cancel: cancel,
			release: sync.OnceFunc(func() { <-turns })}
		streams = append(streams, s)
		version, after := m.Version, p.After.in(m.View)
		go func() {
			defer cancel()
			defer close(s.batches)
			select {
			case turns <- struct{}{}:
			case <-within.Done():
				return
			}
			defer s.release()
			s.work()
			s.err = s.run(within, func(out engine.Emit) error {
				end, err := q.Ask(within, version, after, p.Limit, out)
				s.more = end != nil
				return err
			})
		}()
	}
	return streams
}

func (s *stream) work() { s.working.Store(int64(time.Since(s.began)) + 1) }

// run sends the rows that ask emits. A batch goes at once if none waits to be taken.
func (s *stream) run(ctx context.Context, ask func(out engine.Emit) error) error {
	var batch []evidence.Row
	sent := func() {
		batch = nil
		s.release()
		s.work()
	}
	send := func() error {
		select {
		case s.batches <- batch:
			sent()
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := ask(func(r *evidence.Row) error {
		batch = append(batch, *r)
		if len(batch) >= batchRows {
			return send()
		}
		select {
		case s.batches <- batch:
			sent()
		default:
		}
		return nil
	})
	if len(batch) > 0 {
		if failed := send(); err == nil {
			err = failed
		}
	}
	return err
}

// row is the current row.
func (s *stream) row() *evidence.Row { return &s.batch[s.at] }

// next goes to the next row; false if there is none, because the stream is over or the member has failed. The error is the context's.
func (s *stream) next(ctx context.Context) (bool, error) {
	if s.at++; s.at < len(s.batch) {
		return true, nil
	}
	s.at = 0
	for {
		wait := s.deadline
		if since := s.working.Load(); since != 0 {
			wait = time.Duration(since) + s.deadline - time.Since(s.began)
		}
		timer := time.NewTimer(wait)
		select {
		case batch, open := <-s.batches:
			timer.Stop()
			if open {
				s.batch = batch
				return true, nil
			}
			return false, s.end(ctx)
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		case <-timer.C:
		}
		if since := s.working.Load(); since == 0 || time.Since(s.began) < time.Duration(since)+s.deadline || len(s.batches) > 0 {
			continue
		}
		s.member.Fail(&TimeoutError{s.deadline})
		s.cancel()
		s.release()
		return false, nil
	}
}

// end notes what a stream that is over failed at.
func (s *stream) end(ctx context.Context) error {
	s.over = true
	if s.err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.member.Fail(s.err)
	return nil
}
