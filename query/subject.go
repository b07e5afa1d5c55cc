package query

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
	"github.com/fustor/fustor/query/problem"
)

// subject is what a call is about: one version of a view, or a forest with a version of each member. Handlers ask it for rows, and it
// says of which versions the answer is: in the body, the ETag and the headers.
type subject struct {
	view    string
	version *engine.Version // nil: a forest
	page    engine.Page
	from    *engine.Version // of a diff: the earlier version

	which engine.Which // the version that was asked for
	// moment is the time, ns, that the answer is as of: entries are suspect, and ages are, as they were then. Of the current version it is
	// the time of the question.
	moment int64

	forest     *forest.Forest // nil: a view
	forestPage forest.Page

	// varies: the answer depends on more than the version and the ends of suspicions, as on the time or on who leads. It has no ETag.
	varies bool
	names  rowNames // of the row that rows emits
	// reader is engine.ReaderTag of who asks; empty: somebody who may see everything.
	reader string
	// unreadable is how many paths at or below the one that the answer is about could not be read (about).
	unreadable int
}

// whichParams reads the parameters as_of and version: which version an answer is of.
func (s *Server) whichParams(q *httpapi.Params) (w engine.Which, err error) {
	text, number := q.String("as_of", ""), q.Int("version", 0, 1, math.MaxInt64)
	switch {
	case q.Has("as_of") && number != 0:
		return w, httpapi.BadRequest(`parameter "as_of" cannot be combined with version`, "send only one of them")
	case q.Has("as_of") && text == "":
		return w, httpapi.BadRequest(`parameter "as_of" is empty`, "leave it out for the current version")
	case number != 0:
		text = strconv.FormatInt(number, 10)
	}
	if err := q.Err(); err != nil || text == "" {
		return w, err
	}
	return engine.WhichOf("as_of", text, s.engine.Now()), nil
}

// open reads the parameters as_of and version, and checks that nothing else is asked for: call it after what reads the others. It opens
// that version of a view, or those of the members of a forest.
func (s *Server) open(r *http.Request, q *httpapi.Params, view string) (*subject, error) {
	which, err := s.whichParams(q)
	if err != nil {
		return nil, err
	}
	return s.openWhich(r, view, which)
}

// openWhich opens a version of a view, or of the members of a forest.
func (s *Server) openWhich(r *http.Request, view string, which engine.Which) (*subject, error) {
	a := &subject{view: view, which: which, reader: engine.ReaderTag(r.Context())}
	a.varies = a.reader != "" && !which.IsCurrent() // on the rights of the newest version
	var err error
	a.version, err = s.engine.Open(r.Context(), view, which)
	var of *engine.ForestError
	if errors.As(err, &of) {
		a.version = nil
		a.forest, err = s.forests.Open(r.Context(), of, which, s.mayRead(r.Context()))
	}
	if err != nil {
		return nil, err
	}
	a.moment = s.engine.Moment(which, a.version)
	return a, nil
}

// openPage reads the parameters limit, cursor, as_of and version, and opens what the page is of. parts are what two calls must have in
// common for a cursor of one to serve the other.
func (s *Server) openPage(r *http.Request, q *httpapi.Params, view string, limit, most int64, parts ...string) (*subject, error) {
	limit = q.Int("limit", limit, 1, most)
	given, cursor := q.Has("cursor"), q.String("cursor", "")
	which, err := s.whichParams(q)
	if err != nil {
		return nil, err
	}
	if given && cursor == "" {
		return nil, engine.ErrCursor
	}
	a := &subject{view: view, which: which, reader: engine.ReaderTag(r.Context())}
	a.varies = a.reader != "" && (!which.IsCurrent() || cursor != "")
	a.version, a.page, err = s.engine.OpenPage(r.Context(), view, which, cursor, int(limit), parts...)
	if of, isForest := s.forestOf(r.Context(), view, err); isForest {
		a.version = nil
		a.forest, a.forestPage, err = s.forests.OpenPage(r.Context(), of, which, s.mayRead(r.Context()), cursor, int(limit), parts...)
	}
	if err != nil {
		return nil, err
	}
	a.moment = s.engine.Moment(which, a.version)
	return a, nil
}

// forestOf is the forest that a view is, by the error of opening the view. The cursor of a forest is none of a view.
func (s *Server) forestOf(ctx context.Context, view string, err error) (of *engine.ForestError, isForest bool) {
	if errors.Is(err, engine.ErrCursor) || errors.Is(err, engine.ErrCursorQuery) {
		_, err = s.engine.Head(ctx, view)
	}
	isForest = errors.As(err, &of)
	return of, isForest
}

// mayRead says which members of a forest the caller may ask.
func (s *Server) mayRead(ctx context.Context) func(view string) bool {
	record, _ := access.FromContext(ctx)
	return record.Views.Has
}

// limit is the limit of the page; 0: none was given.
func (a *subject) limit() int { return max(a.page.Limit, a.forestPage.Limit) }

// setLimit sets the limit of an answer without pages.
func (a *subject) setLimit(n int) { a.page.Limit, a.forestPage.Limit = n, n }

// extra is Position.Extra of where the page begins.
func (a *subject) extra() int64 {
	switch {
	case a.page.After != nil:
		return a.page.After.Extra
	case a.forestPage.After != nil:
		return a.forestPage.After.Extra
	}
	return 0
}

// beginning is the subject as of its first page.
func (a *subject) beginning() *subject {
	first := *a
	first.page.After, first.forestPage.After = nil, nil
	return &first
}

// cursorAt is the cursor of a page that begins before all rows, with that Position.Extra.
func (a *subject) cursorAt(extra int64) string {
	at := engine.Position{Extra: extra}
	if a.forest == nil {
		return a.page.Next(a.version, &at)
	}
	return a.forestPage.Next(a.forest, &forest.Position{Position: at})
}

// rows emits the rows of a question, up to a limit (0: all), each with its member; empty: of no forest. It returns the cursor of the next
// page.
func (a *subject) rows(ctx context.Context, q forest.Question, limit int, emit func(member string, r *evidence.Row) error) (next string, err error) {
	if a.forest == nil {
		at, err := q.Ask(ctx, a.version, a.page.After, limit, func(r *evidence.Row) error {
			if err := a.nameRows(ctx, a.version); err != nil {
				return err
			}
			return emit("", r)
		})
		return a.page.Next(a.version, at), err
	}
	p := a.forestPage
	p.Limit = limit
	at, err := a.forest.Rows(ctx, q, p, func(m *forest.Member, r *evidence.Row) error {
		if err := a.nameRows(ctx, m.Version); err != nil {
			return err
		}
		return emit(m.View, r)
	})
	return p.Next(a.forest, at), err
}

// nameRows sets the names of owners for the rows of a version.
func (a *subject) nameRows(ctx context.Context, v *engine.Version) (err error) {
	a.names.Names, err = v.Names(ctx)
	return err
}

// nodes writes the rows that the subject emits.
func (a *subject) nodes() nodeWriter {
	return nodeWriter{now: a.moment, names: &a.names, versions: a.versions()}
}

// tag names what the answer is of, and to whom it is, for ETags.
func (a *subject) tag() string {
	if a.reader != "" {
		return a.tagForAll() + ".reader-" + a.reader
	}
	return a.tagForAll()
}

func (a *subject) tagForAll() string {
	if a.forest != nil {
		return a.forest.Tag()
	}
	m := a.version.Manifest
	tag := m.View + "." + strconv.FormatUint(m.Version, 10) + "." + m.Nonce
	if a.from != nil {
		m = a.from.Manifest
		tag += ".since." + strconv.FormatUint(m.Version, 10) + "." + m.Nonce
	}
	return tag
}

// setFreshness sets the headers for what the answer is of, and for the time of its newest observation; of a forest, that of its member
// that is furthest behind.
func (a *subject) setFreshness(h http.Header) {
	if a.unreadable > 0 {
		h.Set("Fustor-Unreadable", strconv.Itoa(a.unreadable))
	}
	if a.forest == nil {
		h.Set("Fustor-Version", strconv.FormatUint(a.version.Manifest.Version, 10))
		h.Set("Fustor-Published-At", values.Seconds(a.version.Manifest.FoldedAt).String())
		h.Set("Fustor-Observed-At", values.Seconds(a.version.Manifest.ObservedAt).String())
		if a.from != nil {
			h.Set("Fustor-From-Version", strconv.FormatUint(a.from.Manifest.Version, 10))
		}
		return
	}
	if ns := a.forest.ObservedAt(); ns != 0 {
		h.Set("Fustor-Observed-At", values.Seconds(ns).String())
	}
	setMembers(h, a.forest)
}

// maxMembersHeader bounds the members in a header: proxies refuse long ones.
const maxMembersHeader = 100

// setMembers sets the header for how the members of a forest fare. If there are too many, those that answered are left out.
func setMembers(h http.Header, fo *forest.Forest) {
	var members []string
	for _, m := range fo.Members {
		if len(fo.Members) > maxMembersHeader && (m.Status.Answered() || len(members) == maxMembersHeader) {
			continue
		}
		members = append(members, m.View+"="+string(m.Status))
	}
	if members == nil {
		members = []string{fo.Members[0].View + "=" + string(fo.Members[0].Status)}
	}
	h.Set("Fustor-Members", strings.Join(members, ", "))
}

// memberStatus is how a member of a forest fares in an answer.
type memberStatus struct {
	View    string `json:"view"`
	Status  string `json:"status"`
	Error   string `json:"error,omitempty"`
	Version uint64 `json:"version,omitempty"`
	// PublishedAt is when that version was published.
	PublishedAt *values.Seconds `json:"published_at,omitempty"`
}

func statusOf(ctx context.Context, m *forest.Member) memberStatus {
	s := memberStatus{View: m.View, Status: string(m.Status)}
	if m.Version != nil {
		s.Version, s.PublishedAt = m.Version.Manifest.Version, secondsOrNil(m.Version.Manifest.FoldedAt)
	}
	if m.Err != nil {
		s.Error = httpapi.Explain(ctx, problem.Of(m.View, m.Err)).Detail
	}
	return s
}

// forestAnswer is what answers about a forest have, and those about a view lack.
type forestAnswer struct {
	Members  []memberStatus `json:"members,omitempty"`
	Complete *bool          `json:"complete,omitempty"` // every member has answered
}

func (a *subject) forestAnswer(ctx context.Context) (f forestAnswer) {
	if a.forest == nil {
		return f
	}
	for _, m := range a.forest.Members {
		f.Members = append(f.Members, statusOf(ctx, m))
	}
	complete := a.forest.Complete()
	f.Complete = &complete
	return f
}

// appendOf appends the members of a JSON object that say what the answer is of: its version, or how the members of a forest fare.
func (a *subject) appendOf(ctx context.Context, b []byte) []byte {
	if a.forest == nil {
		b = strconv.AppendUint(append(b, `,"version":`...), a.version.Manifest.Version, 10)
		if a.from != nil {
			b = strconv.AppendUint(append(b, `,"from_version":`...), a.from.Manifest.Version, 10)
		}
		return b
	}
	return a.appendMembers(ctx, append(b, ','))
}

// appendMembers appends forestAnswer as members of a JSON object.
func (a *subject) appendMembers(ctx context.Context, b []byte) []byte {
	object, _ := json.Marshal(a.forestAnswer(ctx)) // strings, numbers and a boolean: it cannot fail
	return append(b, object[1:len(object)-1]...)
}
