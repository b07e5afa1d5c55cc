package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// MaxJSON bounds the bodies that ReadJSON reads unless told otherwise, in bytes.
const MaxJSON = 1 << 20

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		Fail(w, r, fmt.Errorf("encode answer: %w", err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that went away is no error of ours
}

// ReadJSON reads one JSON object of at most limit bytes (0: MaxJSON) into v, a pointer to a struct. Unknown fields,
// anything after the object, and a body that is not declared JSON are a 400, 413 or 415. An empty body leaves v as it is.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any, limit int64) error {
	if limit <= 0 {
		limit = MaxJSON
	}
	body, err := ReadBody(w, r, limit)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	if t := r.Header.Get("Content-Type"); t != "" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			return &Error{Status: http.StatusUnsupportedMediaType, Detail: "the body is not declared as JSON", Hint: "send Content-Type: application/json"}
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return BadRequest("the body is not valid for this call: "+jsonReason(err), "the fields and their types are in /openapi.json")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return BadRequest("the body has data after its JSON object", "")
	}
	return nil
}

// ReadLooseJSON is ReadJSON for clients that are not ours to change: fields that v does not have are skipped, and any content type
// will do. It returns the body, too.
func ReadLooseJSON(w http.ResponseWriter, r *http.Request, v any, limit int64) (body []byte, err error) {
	if body, err = ReadBody(w, r, limit); err != nil || len(bytes.TrimSpace(body)) == 0 {
		return body, err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return nil, BadRequest("the body is not valid for this call: "+jsonReason(err), "")
	}
	return body, nil
}

// ReadBody reads a body of at most limit bytes.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	tooLarge := &http.MaxBytesError{Limit: limit}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, limit)); err != nil {
		if errors.As(err, &tooLarge) {
			return nil, tooLarge
		}
		return nil, &Error{Status: http.StatusBadRequest, Detail: "the body broke off", Cause: err}
	}
	return b.Bytes(), nil
}

// jsonReason says what is wrong without Go's words for it.
func jsonReason(err error) string {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Sprintf("field %q cannot be a %s", wrong.Field, wrong.Value)
	case errors.As(err, &wrong):
		return "it is a " + wrong.Value
	case errors.As(err, &syntax):
		return fmt.Sprintf("syntax error at byte %d", syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
