package v2

import (
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/v2api"
)

// params reads a query string as V2 does: unknown parameters are skipped, and of several of one name the last counts.
type params struct {
	values url.Values
	err    error // the first
}

func paramsOf(r *http.Request) *params {
	return &params{values: r.URL.Query()}
}

func (p *params) get(name string) (string, bool) {
	if v := p.values[name]; len(v) > 0 {
		return v[len(v)-1], true
	}
	return "", false
}

func (p *params) fail(kind, message, name string, input any) {
	if p.err == nil {
		p.err = invalid(kind, message, input, "query", name)
	}
}

// required reads a text that must be given.
func (p *params) required(name string) string {
	s, given := p.get(name)
	if !given {
		p.fail("missing", "Field required", name, nil)
	}
	return s
}

// boolean reads a boolean in any case.
func (p *params) boolean(name string, absent bool) bool {
	s, given := p.get(name)
	if !given {
		return absent
	}
	switch strings.ToLower(s) {
	case "true", "t", "1", "yes", "y", "on":
		return true
	case "false", "f", "0", "no", "n", "off":
		return false
	}
	p.fail("bool_parsing", "Input should be a valid boolean, unable to interpret input", name, s)
	return absent
}

// integer reads an integer; one that is too large counts as the largest.
func (p *params) integer(name string, absent int) int {
	s, given := p.get(name)
	if !given {
		return absent
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		p.fail("int_parsing", "Input should be a valid integer, unable to parse string as an integer", name, s)
		return absent
	}
	return int(max(math.MinInt32, min(n, math.MaxInt32)))
}

// path reads the path, normalized as Python's os.path.normpath does. Not ok: no view has such a path.
func (p *params) path() (clean string, ok bool) {
	s, given := p.get("path")
	if !given {
		return "/", true
	}
	return path.Clean(s), strings.HasPrefix(s, "/") && strings.IndexByte(s, 0) < 0
}

// invalid is V2's 422: a parameter, or a field of the body, that is missing or malformed.
func invalid(kind, message string, input any, where ...string) error {
	return &httpapi.Detailed{Err: httpapi.Errorf(http.StatusUnprocessableEntity, "%s %q: %s", where[0], where[len(where)-1], message),
		Detail: []v2api.Invalid{{Type: kind, Location: where, Message: message, Input: input}}}
}
