package query

import (
	"net/http"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/page"
)

// Some readers are users: their key, or the administrator who asks as them, says who they are, and the
// answer is what their file permissions allow (query/engine/reader.go). Every other call refuses them.

// forReaders are the calls about a view that are answered to users as well. A call belongs here once nothing in its answer, its headers and
// its errors depends on what is hidden: TestHiddenIsNonexistent asks all of them.
var forReaders = map[string]bool{
	"tree": true, "list": true, "metadata": true, "search": true, "stats": true,
	"diff": true, "changes": true, "log": true, "complete": true, "versions": true,
	"access": true, "suspect-list": true, "blind-spots": true, "jobs": true, "jobs/{job_id}": true,
	"reports/largest": true, "reports/usage": true, "reports/histogram": true, "reports/empty-directories": true, "reports/odd": true,
	"reports/duplicates": true, "reports/growth": true, "reports/trend": true,
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
