package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/page"
)

// Some readers are users: their key, their connection to a socket, or the administrator who asks as them, says who they are, and the
// answer is what their file permissions allow (query/engine/reader.go). Every other call refuses them.

// forReaders are the calls about a view that are answered to users as well. A call belongs here once nothing in its answer, its headers and
// its errors depends on what is hidden: TestHiddenIsNonexistent asks all of them.
var forReaders = map[string]bool{
	"tree": true, "list": true, "metadata": true, "search": true, "stats": true,
	"reports/largest": true, "reports/usage": true, "reports/histogram": true, "reports/empty-directories": true, "reports/odd": true,
	"reports/duplicates": true,
}

// protectReader lets requests through that may read; if a user asks, with that user in the context.
func (s *Server) protectReader(next http.Handler) http.Handler {
	return page.WithCookie(s.keys.RequireReader(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if who, ok := access.ReaderFrom(r.Context()); ok {
			*r = *r.WithContext(engine.WithReader(r.Context(), who.Identity))
		}
		next.ServeHTTP(w, r)
	})))
}

// checkOpen is an error if the caller has no key, and the view is not open to callers without.
func (s *Server) checkOpen(ctx context.Context, view string) error {
	who, ok := access.ReaderFrom(ctx)
	if !ok || !who.Socket {
		return nil
	}
	open, err := s.openTo(ctx, view, who)
	if err == nil && !open {
		err = &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("there is no view %q that is open to you without a key", view),
			Hint: "an administrator opens a view: `fustor admin view configure VIEW --open-to socket`; or ask with a key"}
	}
	return err
}

// openTo reports whether a view is open to somebody who comes through the socket.
func (s *Server) openTo(ctx context.Context, view string, who access.Reader) (bool, error) {
	config, err := s.engine.Config(ctx, view)
	if err != nil {
		return false, err
	}
	groups, all := config.OpenGroups()
	if all {
		return true, nil
	}
	for _, name := range groups {
		gid, err := s.keys.Users().Group(ctx, name)
		if errors.Is(err, access.ErrNoUser) {
			continue
		}
		if err != nil {
			return false, &httpapi.Error{Status: http.StatusServiceUnavailable, Passing: true, Cause: err,
				Detail: "the name service of the server's host does not answer, so nobody can say who is in the groups that may ask", Hint: "try again"}
		}
		if slices.Contains(who.Groups, gid) {
			return true, nil
		}
	}
	return false, nil
}
