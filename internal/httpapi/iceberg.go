package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// IcebergPrefix is the base path of the REST catalog of Iceberg.
const IcebergPrefix = "/iceberg"

// IsIceberg reports whether a path lies below IcebergPrefix.
func IsIceberg(path string) bool {
	return path == IcebergPrefix || strings.HasPrefix(path, IcebergPrefix+"/")
}

// ForIceberg stands around the calls of the catalog: every error has the form of Iceberg's REST specification, whoever finds it.
func ForIceberg(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*r = *r.WithContext(context.WithValue(r.Context(), icebergKey{}, true)) // the same request, on which the mux names the route
		h.ServeHTTP(w, r)
	})
}

type icebergKey struct{}

func forIceberg(ctx context.Context) bool {
	is, _ := ctx.Value(icebergKey{}).(bool)
	return is
}

// IcebergError is an error that has a type of its own in the specification.
type IcebergError struct {
	Err  *Error
	Type string // such as NoSuchTableException
}

// Error implements error.
func (e *IcebergError) Error() string { return e.Err.Error() }

// Unwrap has Fail find the status.
func (e *IcebergError) Unwrap() error { return e.Err }

// icebergTypes are the types of errors that are known by their status.
var icebergTypes = map[int]string{
	http.StatusBadRequest: "BadRequestException", http.StatusUnauthorized: "NotAuthorizedException", http.StatusForbidden: "ForbiddenException",
	http.StatusNotFound: "NotFoundException", http.StatusMethodNotAllowed: "UnsupportedOperationException",
	http.StatusRequestEntityTooLarge: "BadRequestException", http.StatusServiceUnavailable: "ServiceUnavailableException", http.StatusTooManyRequests: "TooManyRequestsException",
}

// writeIceberg writes an error as the specification has it.
func writeIceberg(w http.ResponseWriter, e *Error, cause error) {
	var body struct {
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
			Code    int    `json:"code"`
		} `json:"error"`
	}
	body.Error.Message, body.Error.Type, body.Error.Code = e.Detail, icebergTypes[e.Status], e.Status
	if e.Hint != "" {
		body.Error.Message += "; " + e.Hint
	}
	if body.Error.Type == "" {
		body.Error.Type = "InternalServerError"
	}
	if own := (*IcebergError)(nil); errors.As(cause, &own) {
		body.Error.Type = own.Type
	}
	b, err := json.Marshal(body)
	if err != nil {
		b = []byte(`{"error":{"message":"internal error","type":"InternalServerError","code":500}}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(b) // a client that went away is no error of ours
}
