package forest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/query/engine"
)

// A page of a forest's answer is cut from the merged rows of all members, so one position serves all of them: the next page begins after
// it in the members up to the one that the last row was of, and at it in the members after that one. The cursor also has the version of
// each member, and which members were out: they stay out, as pages that have a member's rows from its middle on would be worth little.

// Page is what a paged question asks for.
type Page struct {
	Limit int // entries; 0: all
	// After is where the page before ended; nil: from the beginning.
	After *Position
	query uint64
}

// Position is where a page ended: the next page begins after it.
type Position struct {
	engine.Position
	member string // the last row's
}

// in is the position in one of the members.
func (p *Position) in(member string) *engine.Position {
	if p == nil {
		return nil
	}
	at := p.Position
	at.Including = member > p.member
	return &at
}

// token is a cursor of a forest.
type token struct {
	Query   uint64        `json:"q"` // as in a view's
	After   []byte        `json:"a"`
	Extra   int64         `json:"r,omitempty"`
	Last    string        `json:"l"` // the member that the last row was of
	Members []tokenMember `json:"m"`
}

// tokenMember is a member with its version, or one that is out.
type tokenMember struct {
	View    string `json:"v"`
	Version uint64 `json:"n,omitempty"`
	Nonce   string `json:"o,omitempty"`
	Status  Status `json:"s,omitempty"`
}

// outError: a member did not answer an earlier page.
type outError struct{ status Status }

func (e *outError) Error() string { return "it did not answer an earlier page of this answer" }

// OpenPage opens the versions of a page: those of the cursor, or without a cursor the ones that are meant. parts are what two calls must
// have in common to be the same query, beside which version. engine.ErrCursor if the cursor is none, engine.ErrCursorQuery if it is of another query.
func (f *Forests) OpenPage(ctx context.Context, of *engine.ForestError, w engine.Which, may func(view string) bool, cursor string, limit int, parts ...string) (*Forest, Page, error) {
	p := Page{Limit: limit, query: w.QueryHash(engine.ReaderParts(ctx, parts)...)}
	if cursor == "" {
		fo, err := f.Open(ctx, of, w, may)
		return fo, p, err
	}
	t, err := decodeToken(cursor, p.query)
	if err != nil {
		return nil, p, err
	}
	if !w.IsCurrent() && !w.IsTime() {
		return nil, p, &NoTimeError{of.View, w.String()}
	}
	p.After = &Position{Position: engine.Position{Key: engine.CursorKey(t.After), Extra: t.Extra}, member: t.Last}
	fo := &Forest{View: of.View}
	for i, m := range t.Members {
		opened := &Member{View: m.View, Status: OK, index: i}
		switch {
		case m.Status != "":
			opened.Status, opened.Err = m.Status, &outError{m.Status}
		case !may(m.View):
			opened.Status, opened.Err = Forbidden, &ForbiddenError{m.View}
		}
		fo.Members = append(fo.Members, opened)
	}
	return fo, p, fo.open(ctx, func(ctx context.Context, m *Member) (*engine.Version, error) {
		return f.engine.Reopen(ctx, m.View, t.Members[m.index].Version, t.Members[m.index].Nonce)
	})
}

func decodeToken(s string, query uint64) (t token, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(b, &t) != nil || len(t.Members) == 0 {
		return t, engine.ErrCursor
	}
	for _, m := range t.Members {
		known := m.Status == "" && m.Version > 0 && layout.ValidID(m.Nonce)
		if !layout.ValidView(m.View) || !known && (m.Status == "" || m.Status.Answered()) {
			return t, engine.ErrCursor
		}
	}
	if t.Query != query {
		return t, engine.ErrCursorQuery
	}
	return t, nil
}

// Next is the cursor of the next page; empty without a position.
func (p Page) Next(fo *Forest, at *Position) string {
	if at == nil {
		return ""
	}
	t := token{Query: p.query, After: engine.CursorAt(at.Key), Extra: at.Extra, Last: at.member}
	for _, m := range fo.Members {
		of := tokenMember{View: m.View}
		if m.Status.Answered() && m.Version != nil {
			of.Version, of.Nonce = m.Version.Manifest.Version, m.Version.Manifest.Nonce
		} else {
			of.Status = m.Status
		}
		t.Members = append(t.Members, of)
	}
	b, _ := json.Marshal(t) // numbers, strings and bytes: it cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

// CursorExtra is the Position.Extra in a cursor, whatever query the cursor belongs to; false if the text is no cursor of a forest.
func CursorExtra(text string) (extra int64, ok bool) {
	t, err := decodeToken(text, 0)
	return t.Extra, err == nil || errors.Is(err, engine.ErrCursorQuery)
}
