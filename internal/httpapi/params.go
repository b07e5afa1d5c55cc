package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/values"
)

// Params reads the query string strictly. Ask for every parameter that the call knows, then ask Err: it is the first
// thing wrong, which includes any parameter that was not asked for. An absent parameter is its default; an empty one is
// malformed, but for strings.
type Params struct {
	values url.Values
	asked  map[string]bool
	err    error

	relative bool // a time was read that counts from now
}

// Query begins to read r's query string.
func Query(r *http.Request) *Params {
	values, err := url.ParseQuery(r.URL.RawQuery)
	p := &Params{values: values, asked: map[string]bool{}}
	if err != nil {
		p.err = BadRequest("the query string is malformed", "percent-encode special characters: & is %26, ; is %3B, % is %25")
	}
	return p
}

// Err is the first error, an *Error 400, or nil.
func (p *Params) Err() error {
	if p.err != nil {
		return p.err
	}
	unknown := []string{}
	for name := range p.values {
		if !p.asked[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	known := make([]string, 0, len(p.asked))
	for name := range p.asked {
		known = append(known, name)
	}
	slices.Sort(known)
	hint := "this call takes no parameters"
	if len(known) > 0 {
		hint = "known here: " + strings.Join(known, ", ")
	}
	return BadRequest(fmt.Sprintf("unknown parameter %q", unknown[0]), hint)
}

// get returns the one value of a parameter and whether it was given.
func (p *Params) get(name string) (string, bool) {
	p.asked[name] = true
	values := p.values[name]
	if len(values) > 1 {
		p.fail(name, "is set more than once", "")
	}
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

func (p *Params) fail(name, wrong, hint string) {
	if p.err == nil {
		p.err = BadRequest(fmt.Sprintf("parameter %q %s", name, wrong), hint)
	}
}

// Has reports whether a parameter is given; it counts as asked for.
func (p *Params) Has(name string) bool {
	_, given := p.get(name)
	return given
}

// String reads free text of at most 64 KiB without NUL; it may be empty.
func (p *Params) String(name, absent string) string {
	s, given := p.get(name)
	switch {
	case !given:
		return absent
	case len(s) > values.MaxText:
		p.fail(name, fmt.Sprintf("is longer than %d bytes", values.MaxText), "")
	case strings.IndexByte(s, 0) >= 0:
		p.fail(name, "contains a NUL byte", "")
	}
	return s
}

// Strings reads a parameter that may be given several times, each free text as String reads it.
func (p *Params) Strings(name string) []string {
	p.asked[name] = true
	for _, s := range p.values[name] {
		switch {
		case len(s) > values.MaxText:
			p.fail(name, fmt.Sprintf("is longer than %d bytes", values.MaxText), "")
		case strings.IndexByte(s, 0) >= 0:
			p.fail(name, "contains a NUL byte", "")
		}
	}
	return p.values[name]
}

// Enum reads one of the allowed words.
func (p *Params) Enum(name, absent string, allowed ...string) string {
	s, given := p.get(name)
	if !given {
		return absent
	}
	if !slices.Contains(allowed, s) {
		p.fail(name, "is not one of the allowed values", "one of "+strings.Join(allowed, ", "))
	}
	return s
}

// Int reads a decimal integer within [lowest, highest].
func (p *Params) Int(name string, absent, lowest, highest int64) int64 {
	s, given := p.get(name)
	if !given {
		return absent
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < lowest || n > highest {
		p.fail(name, "is not an integer in its range", fmt.Sprintf("from %d to %d", lowest, highest))
		return absent
	}
	return n
}

// Bool reads true or false (also True, False, 1 and 0, as clients in Python send them).
func (p *Params) Bool(name string, absent bool) bool {
	s, given := p.get(name)
	if !given {
		return absent
	}
	switch s {
	case "true", "True", "1":
		return true
	case "false", "False", "0":
		return false
	}
	p.fail(name, "is not a boolean", "true or false")
	return absent
}

// Time reads a time, ns since 1970, in the forms of ParseTime; dates are in UTC.
func (p *Params) Time(name string, now time.Time) (ns int64, given bool) {
	s, given := p.get(name)
	if !given {
		return 0, false
	}
	ns, err := values.ParseTime(s, now.UTC())
	switch {
	case errors.Is(err, values.ErrBareNumber):
		p.fail(name, "is a bare number", "write @"+s+" for Unix seconds; otherwise "+values.TimeForms)
	case err != nil:
		p.fail(name, "is not a time", values.TimeForms)
	}
	p.relative = p.relative || values.CountsFromNow(s)
	return ns, true
}

// Relative reports whether a time that was read counts from now, such as "7d" or "yesterday": the same query string asks for something
// else later.
func (p *Params) Relative() bool { return p.relative }

// Size reads a number of bytes, in the forms of ParseSize.
func (p *Params) Size(name string) (bytes int64, given bool) {
	s, given := p.get(name)
	if !given {
		return 0, false
	}
	bytes, err := values.ParseSize(s)
	if err != nil {
		p.fail(name, "is not a size", values.SizeForms)
	}
	return bytes, true
}

// Path reads `path` or its twin `path_b64` (base64url of the bytes) and returns it cleaned: "/" or "/a/b", any bytes
// but NUL. Giving both, or a path with "..", is an error.
func (p *Params) Path(absent string) string { return p.PathNamed("path", absent) }

// PathNamed is Path for a parameter of another name; its twin is name + "_b64".
func (p *Params) PathNamed(name, absent string) string {
	plain, isPlain := p.get(name)
	coded, isCoded := p.get(name + "_b64")
	switch {
	case isPlain && isCoded:
		p.fail(name, "cannot be combined with "+name+"_b64", "send only one of them")
		return absent
	case isCoded:
		raw, err := values.DecodeB64(coded)
		if err != nil {
			p.fail(name+"_b64", "is not base64url", "use the URL-safe alphabet of RFC 4648, with or without =")
			return absent
		}
		plain = raw
		name += "_b64"
	case !isPlain:
		return absent
	}
	clean, err := values.CleanPath(plain)
	if err != nil {
		p.fail(name, err.Error(), `a path from the view's root, such as "/" or "/a/b"`)
		return absent
	}
	return clean
}
