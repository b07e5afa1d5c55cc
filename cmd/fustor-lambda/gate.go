package main

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

// gate keeps requests from a store that nobody has found to keep the rules that writers rely on. To probe a store takes
// longer than a function may take to begin, and rights that ingest has no other need of: the compactor's function does it,
// at its first event.
type gate struct {
	http.Handler
	store store.Store
	fit   atomic.Bool
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.fit.Load() {
		passed, err := doctor.Passed(r.Context(), g.store)
		if err == nil && !passed {
			err = &httpapi.Error{Status: http.StatusServiceUnavailable, RetryAfter: 15 * time.Second,
				Detail: "the object store was not checked for writing yet",
				Hint:   "the compactor's function checks it at its next event; if this continues, see its log"}
		}
		if err != nil {
			httpapi.Fail(w, r, httpapi.StoreFailure(err))
			return
		}
		g.fit.Store(true)
	}
	g.Handler.ServeHTTP(w, r)
}
