// Package forest answers a question about many views at once. A forest is a view whose settings name members, which are views; the
// engine answers for each of them, and this package asks them in parallel, merges their rows, and keeps account of how each fared.
//
// Invariants: what one member fails at is that member's status, and the others answer; nobody waits for a member beyond its deadline.
// All pages of an answer are of exactly one version of each member. Of a member that the reader may not read, nothing is read.
// It knows no HTTP. Callers: the handlers and pages of query.
package forest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/fustor/fustor/query/engine"
)

const (
	// Deadline is how long a member may take to open, to look something up, or to come to its next row.
	Deadline = 20 * time.Second
	// ReportDeadline is how long a member may take for a report, which reads whole columns.
	ReportDeadline = 2 * time.Minute
	// parallel bounds how many members are asked at once. The deadline of a member begins when it is asked.
	parallel = 32
	// parallelReports is the same for reports, each of which holds megabytes.
	parallelReports = 8
)

// atOnce is how many members are asked at once, by their deadline.
func atOnce(deadline time.Duration) int {
	if deadline == ReportDeadline {
		return parallelReports
	}
	return parallel
}

// Status is how a member fares.
type Status string

// The statuses. OK and Absent are answers; with any other, the answer of the forest lacks what that member has.
const (
	OK        Status = "ok"
	Absent    Status = "absent"    // it has no such path, or no directory there
	NotReady  Status = "not_ready" // its first scan is not complete, or it is live and nobody leads it
	Forbidden Status = "forbidden" // the reader's key is not for it
	Timeout   Status = "timeout"   // it did not answer in time
	Failed    Status = "error"     // anything else; Err says what
)

// Answered reports whether a member has answered, if only that it has no such path.
func (s Status) Answered() bool { return s == OK || s == Absent }

// Member is a member of a forest that was asked.
type Member struct {
	View    string
	Status  Status
	Err     error           // nil where the status is OK
	Version *engine.Version // nil unless it was opened
	index   int
	globbed bool // it is a member by a glob alone
}

// Fail notes what a member failed at. The first counts.
func (m *Member) Fail(err error) {
	var late *TimeoutError
	if errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &late) { // a read that it shares with another question has waited longer
		err = &TimeoutError{}
	}
	if m.Status.Answered() {
		m.Status, m.Err = statusOf(err), err
	}
}

func statusOf(err error) Status {
	var (
		noPath       *engine.NoPathError
		noOwner      *engine.NoOwnerError
		notDirectory *engine.NotDirectoryError
		notReady     *engine.NotReadyError
		notLed       *engine.NotLedError
		late         *TimeoutError
		out          *outError
	)
	switch {
	case errors.As(err, &out):
		return out.status
	case errors.As(err, &noPath), errors.As(err, &noOwner), errors.As(err, &notDirectory):
		return Absent
	case errors.As(err, &notReady), errors.As(err, &notLed):
		return NotReady
	case errors.As(err, &late):
		return Timeout
	}
	return Failed
}

// TimeoutError: a member did not answer in time: within After, or 0.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string {
	if e.After == 0 {
		return "no answer in time"
	}
	return fmt.Sprintf("no answer within %s", e.After)
}

// ForbiddenError: the reader's key is not for the view.
type ForbiddenError struct{ View string }

func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("this API key is not for view %q", e.View)
}

// NoMembersError: no view matches the members of the forest.
type NoMembersError struct{ View string }

func (e *NoMembersError) Error() string { return fmt.Sprintf("forest %q has no members yet", e.View) }

// NoTimeError: a version was asked for by its number or by a pin, and the members have versions and pins of their own.
type NoTimeError struct{ View, Text string }

func (e *NoTimeError) Error() string {
	return fmt.Sprintf("view %q is a forest: %q is not a time, and its members have versions and pins of their own", e.View, e.Text)
}

// MemberError: no member has an answer, and this is why the first has none. Absent is how many answered that they have no such path.
type MemberError struct {
	View   string
	Err    error
	Absent int
}

func (e *MemberError) Error() string { return fmt.Sprintf("member %s: %v", e.View, e.Err) }

// Unwrap returns the reason.
func (e *MemberError) Unwrap() error { return e.Err }

// Forest is a forest that is asked: its members, by name, and how they fare. One goroutine may use it.
type Forest struct {
	View    string
	Members []*Member
}

// Err is nil if a member has an answer, OK. Otherwise it is what is wrong with the first that failed; or, if none failed, that the path
// is nowhere; or that the reader may read none of them.
func (f *Forest) Err() error {
	worst := func(m *Member) int {
		switch m.Status {
		case OK:
			return 0
		case Forbidden:
			return 3
		case Absent:
			return 2
		}
		return 1
	}
	if len(f.Members) == 0 {
		return &NoMembersError{f.View}
	}
	m := slices.MinFunc(f.Members, func(a, b *Member) int { return cmp.Compare(worst(a), worst(b)) })
	if m.Status == OK {
		return nil
	}
	e := &MemberError{View: m.View, Err: m.Err}
	for _, m := range f.Members {
		if m.Status == Absent {
			e.Absent++
		}
	}
	return e
}

// Complete reports whether all members have answered.
func (f *Forest) Complete() bool {
	return !slices.ContainsFunc(f.Members, func(m *Member) bool { return !m.Status.Answered() })
}

// ObservedAt is the time of the oldest of the members' newest observations, ns: how fresh the whole answer is at least; 0 without any.
func (f *Forest) ObservedAt() (ns int64) {
	for _, m := range f.Members {
		if m.Version != nil && m.Status.Answered() && (ns == 0 || m.Version.Manifest.ObservedAt < ns) {
			ns = m.Version.Manifest.ObservedAt
		}
	}
	return ns
}

// Tag tells two states of a forest apart: the version of each member, and which of them do not answer, and why.
func (f *Forest) Tag() string {
	h := fnv.New128a()
	for _, m := range f.Members {
		if m.Version != nil && m.Status.Answered() {
			fmt.Fprintf(h, "%s=%d.%s\n", m.View, m.Version.Manifest.Version, m.Version.Manifest.Nonce)
		} else {
			fmt.Fprintf(h, "%s!%s %v\n", m.View, m.Status, m.Err)
		}
	}
	return fmt.Sprintf("%s.forest.%x", f.View, h.Sum(nil))
}

// leaving is a deadline that leaves time to answer, where the whole question has one too, as in a Lambda function.
func leaving(ctx context.Context, deadline time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(deadline, time.Until(end)*3/4)
	}
	return deadline
}

// Ask runs f for every member that is OK, in parallel, and gives each a deadline. The results are by member. What f fails at, and a
// deadline that passes, becomes the member's status; its result is void then. The error is that of the whole question: the context's, or
// Err where no member is left.
func Ask[T any](ctx context.Context, fo *Forest, deadline time.Duration, f func(ctx context.Context, m *Member) (T, error)) ([]T, error) {
	type result struct {
		index int
		value T
		err   error
	}
	tokens := make(chan struct{}, atOnce(deadline))
	deadline = leaving(ctx, deadline)
	done := make(chan result, len(fo.Members)) // those who answer too late find room, too
	asked := 0
	for _, m := range fo.Members {
		if m.Status != OK {
			continue
		}
		asked++
		given := *m // f may outlive this call
		go func() {
			tokens <- struct{}{}
			defer func() { <-tokens }()
			within, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			one := make(chan result, 1)
			go func() {
				value, err := f(within, &given)
				one <- result{given.index, value, err}
			}()
			select {
			case r := <-one:
				if r.err != nil && within.Err() != nil && ctx.Err() == nil {
					r.err = &TimeoutError{deadline}
				}
				done <- r
			case <-within.Done(): // f need not heed its context
				done <- result{index: given.index, err: &TimeoutError{deadline}}
			}
		}()
	}
	values := make([]T, len(fo.Members))
	for range asked {
		r := <-done
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if values[r.index] = r.value; r.err != nil {
			fo.Members[r.index].Fail(r.err)
		}
	}
	values = drop(fo, values)
	return values, fo.Err()
}

// drop drops what a glob matched and should not have: forests, and views that are deleted.
func drop[T any](fo *Forest, values []T) (left []T) {
	members := fo.Members
	fo.Members = nil
	for i, m := range members {
		var forest *engine.ForestError
		var deleted *engine.NoViewError
		if m.globbed && (errors.As(m.Err, &forest) || errors.As(m.Err, &deleted)) {
			continue
		}
		m.index = len(fo.Members)
		fo.Members, left = append(fo.Members, m), append(left, values[i])
	}
	return left
}
