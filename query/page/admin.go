package page

import (
	"context"
	"net/http"

	"github.com/fustor/fustor/internal/access"
)

// The place of administrators is app.js alone: it makes the calls of internal/admin with the browser's cookie (WithOwnCookie). Where the
// server does not answer them, it says so and has the commands. Whoever is no administrator finds no page there.

const adminPath = "/admin"

// What the pages say to app.js of administration; nothing to others than administrators.
const (
	administerHere      = "here"      // by the calls of this server
	administerElsewhere = "elsewhere" // by `fustor admin`
)

// isAdmin reports whether who asks may act in the role admin.
func isAdmin(ctx context.Context) bool {
	record, ok := access.FromContext(ctx)
	return ok && record.Allows(access.Admin) && !isUser(ctx)
}

// administration is what a page says to app.js; empty: who asks is no administrator.
func (s *Pages) administration(ctx context.Context) string {
	switch {
	case !isAdmin(ctx):
		return ""
	case s.administers:
		return administerHere
	}
	return administerElsewhere
}

type adminPage struct {
	Title, Admin string
	View         string // from which one came; may be empty
}

func (s *Pages) adminPage(w http.ResponseWriter, r *http.Request, _ access.Record) error {
	if !isAdmin(r.Context()) {
		r.SetPathValue("view_id", "")
		Unknown(w, r)
		return nil
	}
	view := r.PathValue("view_id")
	if view != "" {
		if err := access.CheckView(r.Context(), view); err != nil {
			return err
		}
	}
	render(w, http.StatusOK, "admin", adminPage{"Administration", s.administration(r.Context()), view})
	return nil
}
