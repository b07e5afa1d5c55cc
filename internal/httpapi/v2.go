package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// V2Prefix is the base path of what clients of Fustor V2 call.
const V2Prefix = "/v2"

// IsV2 reports whether a path lies below V2Prefix.
func IsV2(path string) bool { return path == V2Prefix || strings.HasPrefix(path, V2Prefix+"/") }

// ForV2 stands around the calls of Fustor V2's clients: every error is {"detail": …}, whoever finds it, and pages of any site may
// call, if they have a key.
func ForV2(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*r = *r.WithContext(context.WithValue(r.Context(), v2Key{}, true)) // the same request, on which the mux names the route
		if !anySite.answer(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

var anySite = CORS{[]string{AnyOrigin}}

// GreetV2 has a mux answer clients of Fustor V2 that ask, without a key, whether there is a server.
func GreetV2(mux *Mux) {
	for _, root := range []string{V2Prefix, V2Prefix + "/api/v1"} {
		mux.HandleFunc(http.MethodGet, root, func(w http.ResponseWriter, r *http.Request) error {
			WriteJSON(w, r, http.StatusOK, map[string]string{"message": "Fustor answers the calls of Fustor V2 here"})
			return nil
		})
	}
}

type v2Key struct{}

func forV2(ctx context.Context) bool {
	is, _ := ctx.Value(v2Key{}).(bool)
	return is
}

// Detailed is an error whose detail for clients of Fustor V2 is more than a text.
type Detailed struct {
	Err    *Error // for the log, and its status
	Detail any
}

// Error implements error.
func (e *Detailed) Error() string { return e.Err.Error() }

// Unwrap has Fail find the status.
func (e *Detailed) Unwrap() error { return e.Err }

// writeV2 writes an error as V2 does: what is wrong and what to do about it in one text, or what says more.
func writeV2(w http.ResponseWriter, e *Error, cause error) {
	var body struct {
		Detail any `json:"detail"`
	}
	body.Detail = e.Detail
	if e.Hint != "" {
		body.Detail = e.Detail + "; " + e.Hint
	}
	if more := (*Detailed)(nil); errors.As(cause, &more) {
		body.Detail = more.Detail
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		b.Reset()
		b.WriteString(`{"detail":"internal error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(e.Status)
	_, _ = w.Write(b.Bytes()) // a client that went away is no error of ours
}
