package httpclient

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// AnswerError is an answer that is a success by its status, and none of a Fustor server: of a proxy, a login page, or
// some other server at the URL.
type AnswerError struct {
	From string // the origin that was asked
	Why  string // what is wrong with the answer
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("the server at %s answered %s", e.From, e.Why)
}

// CheckType returns an AnswerError unless the answer is of one of the media types, such as "application/json". Without any, every answer
// is wrong.
func CheckType(resp *http.Response, wanted ...string) error {
	given := resp.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if err == nil || media != "" {
		for _, w := range wanted {
			if media == w {
				return nil
			}
		}
	}
	e := &AnswerError{From: origin(resp.Request.URL)}
	switch {
	case media == "text/html" || media == "application/xhtml+xml":
		e.Why = fmt.Sprintf("%d with a web page (%s): it may be a proxy or a login page, and no Fustor server", resp.StatusCode, media)
	case resp.ContentLength == 0:
		e.Why = fmt.Sprintf("%d with nothing", resp.StatusCode)
	case given == "":
		e.Why = fmt.Sprintf("%d without a content type: it is no Fustor server", resp.StatusCode)
	case len(wanted) == 0:
		e.Why = fmt.Sprintf("%d with %.100q, where no content was expected: it is no Fustor server", resp.StatusCode, given)
	default:
		e.Why = fmt.Sprintf("%d with %.100q instead of %s: it is no Fustor server", resp.StatusCode, given, strings.Join(wanted, " or "))
	}
	return e
}

// Lacking is an AnswerError that says which field an answer must have.
func Lacking(asked *url.URL, field string) error {
	return &AnswerError{From: origin(asked), Why: fmt.Sprintf("without %q: it is no Fustor server, or one of another version", field)}
}

// CheckNoPage returns an AnswerError if the answer is a web page, for servers that may answer with anything else.
func CheckNoPage(resp *http.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "text/html" || media == "application/xhtml+xml" {
		return CheckType(resp)
	}
	return nil
}

// Missing is the first of the fields that a JSON object lacks or has as null; "" if it has them all. Without fields, it
// checks that there is an object at all: then the result is "{}".
func Missing(body []byte, fields ...string) string {
	var members map[string]present
	if json.Unmarshal(body, &members) != nil || members == nil {
		return "{}"
	}
	for _, f := range fields {
		if !members[f] {
			return f
		}
	}
	return ""
}

// present is a value that is not null.
type present bool

// UnmarshalJSON implements json.Unmarshaler.
func (p *present) UnmarshalJSON(b []byte) error {
	*p = string(b) != "null"
	return nil
}
