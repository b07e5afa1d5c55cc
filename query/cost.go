package query

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// cost is what one call took, for the answer's Fustor-Cost header and, where it asks with explain=true, for its body.
// Reads that calls share are charged to the first.
type cost struct {
	started time.Time
	now     func() time.Time
	explain bool // the body says it, too
	gets    atomic.Int64
	bytes   atomic.Int64
	rows    atomic.Int64 // that were looked at
	skipped atomic.Int64 // row groups that indexes ruled out
	version atomic.Uint64
	layers  layer.Meter
}

type costKey struct{}

func withCost(ctx context.Context, now func() time.Time) (context.Context, *cost) {
	c := &cost{started: now(), now: now}
	return layer.WithMeter(context.WithValue(ctx, costKey{}, c), &c.layers), c
}

// costOf is the cost of the call that a context belongs to.
func costOf(ctx context.Context) *cost {
	if c, ok := ctx.Value(costKey{}).(*cost); ok {
		return c
	}
	return &cost{}
}

func (c *cost) milliseconds() string {
	return strconv.FormatFloat(float64(c.now().Sub(c.started).Microseconds())/1000, 'f', 3, 64)
}

// header is the cost until now as Fustor-Cost has it.
func (c *cost) header() string {
	l := c.layers.Cost()
	return fmt.Sprintf("gets=%d, bytes=%d, ms=%s, rows=%d, groups_read=%d, groups_skipped=%d, cache_hits=%d",
		c.gets.Load(), c.bytes.Load(), c.milliseconds(), c.rows.Load(), l.Groups, c.skipped.Load(), l.Hits)
}

// member appends the cost until now as a member of a JSON object.
func (c *cost) member(b []byte) []byte {
	l := c.layers.Cost()
	b = fmt.Appendf(b, `"explain":{"gets":%d,"bytes":%d,"rows":%d,"groups_read":%d,"groups_skipped":%d,"cache_hits":%d,"milliseconds":%s`,
		c.gets.Load(), c.bytes.Load(), c.rows.Load(), l.Groups, c.skipped.Load(), l.Hits, c.milliseconds())
	if v := c.version.Load(); v > 0 {
		b = fmt.Appendf(b, `,"version":%d`, v)
	}
	return append(b, '}')
}

// explainParam takes the parameter explain, which every call knows, out of a request.
func explainParam(r *http.Request) (explain bool, err error) {
	if !strings.Contains(r.URL.RawQuery, "explain") {
		return false, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !values.Has("explain") {
		return false, nil // the call itself says what is wrong
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

// metered is the store as the handlers see it: it charges reads to the call in the context.
type metered struct{ store.Store }

func (m metered) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := m.Store.Get(ctx, key)
	m.charge(ctx, len(o.Body))
	return o, err
}

func (m metered) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	o, err := m.Store.GetIfChanged(ctx, key, etag)
	m.charge(ctx, len(o.Body))
	return o, err
}

func (m metered) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	b, err := m.Store.GetRange(ctx, key, off, n)
	m.charge(ctx, len(b))
	return b, err
}

func (metered) charge(ctx context.Context, n int) {
	if c, ok := ctx.Value(costKey{}).(*cost); ok {
		c.gets.Add(1)
		c.bytes.Add(int64(n))
	}
}

// costWriter sets the header before the answer begins, and where the call asks to explain, adds that to a body that is
// one JSON object.
type costWriter struct {
	http.ResponseWriter
	cost    *cost
	status  int // that was set and is not sent yet
	written bool
}

// WriteHeader implements http.ResponseWriter. With explain it waits for the body, whose length it is to say.
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
	w.Header().Set("Fustor-Cost", w.cost.header())
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.ResponseWriter.WriteHeader(w.status)
}

func (w *costWriter) Write(b []byte) (int, error) {
	if !w.written && w.cost.explain {
		if explained := w.explained(b); explained != nil {
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

// explained is a whole body that is a JSON object, with what it cost; nil for others.
func (w *costWriter) explained(b []byte) []byte {
	h := w.Header()
	body := strings.TrimRight(string(b), "\n")
	if h.Get("Content-Type") != "application/json" || h.Get("Content-Length") != strconv.Itoa(len(b)) ||
		len(body) < 3 || body[0] != '{' || body[len(body)-1] != '}' {
		return nil
	}
	out := append([]byte(body[:len(body)-1]), ',')
	return append(w.cost.member(out), '}')
}

// Unwrap serves http.ResponseController and the frame.
func (w *costWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// answered notes which version an answer is of.
func answered(w http.ResponseWriter, m *manifest.Manifest) {
	if c, ok := w.(*costWriter); ok {
		c.cost.version.Store(m.Version)
	}
}

// explains is the cost of a call that asks to explain, nil of others.
func explains(w http.ResponseWriter) *cost {
	if c, ok := w.(*costWriter); ok && c.cost.explain {
		return c.cost
	}
	return nil
}
