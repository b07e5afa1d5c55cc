package v2

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/v2api"
)

// detailed is an error whose detail is more than a text.
type detailed struct {
	short  *httpapi.Error // for the log
	detail any
}

// Error implements error.
func (e *detailed) Error() string { return e.short.Error() }

// Unwrap has httpapi.Fail find the status.
func (e *detailed) Unwrap() error { return e.short }

// writeError writes an error as V2 does: what is wrong and what to do about it, in one text, or what says more.
func writeError(w http.ResponseWriter, e *httpapi.Error, cause error) {
	var detail any = e.Detail
	if e.Hint != "" {
		detail = e.Detail + "; " + e.Hint
	}
	var more *detailed
	if errors.As(cause, &more) {
		detail = more.detail
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v2api.Detail{Detail: detail}); err != nil {
		body.Reset()
		body.WriteString(`{"detail":"internal error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(e.Status)
	_, _ = w.Write(body.Bytes()) // a client that went away is no error of ours
}

// invalid is V2's 422: a parameter, or a field of the body, that is missing or malformed.
func invalid(kind, message string, input any, where ...string) error {
	return &detailed{httpapi.Errorf(http.StatusUnprocessableEntity, "%s %q: %s", where[0], where[len(where)-1], message),
		[]v2api.Invalid{{Type: kind, Location: where, Message: message, Input: input}}}
}
