package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// A stream ends with a record of its own, {"end":true,"count":N}. Without it, a stream that a proxy cuts off looks whole: HTTP/1.0, which
// nginx speaks to its upstreams by default, ends an answer by closing the connection. A server says in the media type that the record
// comes; servers of earlier builds send none, and of them the connection's end must do.

// acceptStream asks for a stream with its end record.
const acceptStream = "application/x-ndjson;end=true"

// streamTypes are the media types of streams.
var streamTypes = []string{"application/x-ndjson", "application/ndjson", "application/jsonl"}

// endPromised reports whether the server says that the stream has an end record.
func endPromised(resp *http.Response) bool {
	_, parameters, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && parameters["end"] == "true"
}

// streamEnd is the end of a stream.
type streamEnd struct {
	promised bool
	found    bool
	count    int // entries, as the server counted them
}

// is reports whether the line is the end record, and notes it.
func (e *streamEnd) is(line []byte) bool {
	if !bytes.HasPrefix(line, []byte(`{"end":true`)) {
		return false
	}
	var record struct {
		Count *int `json:"count"`
	}
	if json.Unmarshal(line, &record) != nil || record.Count == nil {
		return false
	}
	e.found, e.count = true, *record.Count
	return true
}

// check says what is wrong with a stream that ended after count entries.
func (e *streamEnd) check(count int) error {
	switch {
	case e.promised && !e.found:
		return fmt.Errorf("its end record is missing, so a proxy may have cut it off: %w", io.ErrUnexpectedEOF)
	case e.found && e.count != count:
		return fmt.Errorf("its end record counts %d", e.count)
	}
	return nil
}
