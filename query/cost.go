package query

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
)

// cost is the cost of one call, for the header Fustor-Cost and, with explain=true, for the body.
type cost struct {
	*engine.Cost
	started time.Time
	now     func() time.Time
	explain bool   // the body has it, too
	hidden  bool   // it is not shown at all
	version uint64 // of the answer; 0: none
}

func (c *cost) milliseconds() string {
	return strconv.FormatFloat(float64(c.now().Sub(c.started).Microseconds())/1000, 'f', 3, 64)
}

// header is the cost until now, as the value of Fustor-Cost.
func (c *cost) header() string {
	f := c.Figures()
	return fmt.Sprintf("gets=%d, bytes=%d, ms=%s, rows=%d, groups_read=%d, groups_skipped=%d, cache_hits=%d",
		f.Gets, f.Bytes, c.milliseconds(), f.Rows, f.GroupsRead, f.GroupsSkipped, f.CacheHits)
}

// member appends the cost until now as a member of a JSON object.
func (c *cost) member(b []byte) []byte {
	f := c.Figures()
	b = fmt.Appendf(b, `"explain":{"gets":%d,"bytes":%d,"rows":%d,"groups_read":%d,"groups_skipped":%d,"cache_hits":%d,"milliseconds":%s`,
		f.Gets, f.Bytes, f.Rows, f.GroupsRead, f.GroupsSkipped, f.CacheHits, c.milliseconds())
	if c.version > 0 {
		b = fmt.Appendf(b, `,"version":%d`, c.version)
	}
	return append(b, '}')
}

// takeExplain removes the parameter explain, which every call has, from a request and returns it.
func takeExplain(r *http.Request) (explain bool, err error) {
	if !strings.Contains(r.URL.RawQuery, "explain") {
		return false, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !values.Has("explain") {
		return false, nil // the handler reports what is wrong
	}
	only := *r
	only.URL = &url.URL{RawQuery: url.Values{"explain": values["explain"]}.Encode()}
	q := httpapi.Query(&only)
	explain = q.Bool("explain", false)
	values.Del("explain")
	changed := *r.URL
	changed.RawQuery = values.Encode()
	r.URL = &changed
	return explain, q.Err()
}

// costWriter sets the header Fustor-Cost before the answer begins. With explain=true it also adds the cost to a body that is one JSON
// object.
type costWriter struct {
	http.ResponseWriter
	cost    *cost
	status  int // set by the handler; sent with the first byte of the body
	written bool
}

// WriteHeader implements http.ResponseWriter. With explain it waits for the body, as Content-Length depends on it.
func (w *costWriter) WriteHeader(status int) {
	if w.written || w.status != 0 {
		return
	}
	w.status = status
	if !w.cost.explain {
		w.send()
	}
}

// send sends the header, if it is not sent yet.
func (w *costWriter) send() {
	if w.written {
		return
	}
	w.written = true
	if !w.cost.hidden {
		w.Header().Set("Fustor-Cost", w.cost.header())
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.ResponseWriter.WriteHeader(w.status)
}

func (w *costWriter) Write(b []byte) (int, error) {
	if !w.written && w.cost.explain {
		if explained := w.withExplain(b); explained != nil {
			w.Header().Set("Content-Length", strconv.Itoa(len(explained)))
			w.send()
			if _, err := w.ResponseWriter.Write(explained); err != nil {
				return 0, err
			}
			return len(b), nil
		}
	}
	w.send()
	return w.ResponseWriter.Write(b)
}

// withExplain is the body with its cost, if the body is a whole JSON object; nil for others.
func (w *costWriter) withExplain(b []byte) []byte {
	h := w.Header()
	body := strings.TrimRight(string(b), "\n")
	if h.Get("Content-Type") != "application/json" || h.Get("Content-Length") != strconv.Itoa(len(b)) ||
		len(body) < 3 || body[0] != '{' || body[len(body)-1] != '}' {
		return nil
	}
	out := append([]byte(body[:len(body)-1]), ',')
	return append(w.cost.member(out), '}')
}

// Unwrap gives http.ResponseController and the frame the writer below.
func (w *costWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// noteVersion notes the version of an answer, for explain.
func noteVersion(w http.ResponseWriter, a *subject) {
	if c, ok := w.(*costWriter); ok && a.version != nil {
		c.cost.version = a.version.Manifest.Version
	}
}

// explainedCost is the cost of a call with explain=true; nil for others.
func explainedCost(w http.ResponseWriter) *cost {
	if c, ok := w.(*costWriter); ok && c.cost.explain {
		return c.cost
	}
	return nil
}
