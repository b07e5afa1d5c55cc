package query

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/problem"
)

// An ETag is the version, and where the answer shows an entry as suspect the time until which it may do so: "suspect"
// ends by time alone, without a new version. So 304 is right without a look at any layer.

// etag is the ETag of an answer from m that holds until the given time (ns; 0: as long as the version).
func etag(m *manifest.Manifest, until int64) string {
	tag := fmt.Sprintf("%s.%d.%s", m.View, m.Version, m.Nonce)
	if until != 0 {
		tag += ".until-" + strconv.FormatInt(until, 10)
	}
	return `W/"` + tag + `"`
}

// fresh is the one ETag among the request's If-None-Match that is of an answer from m and still holds; empty if none is.
func fresh(r *http.Request, m *manifest.Manifest, now int64) string {
	version := strings.TrimSuffix(etag(m, 0), `"`)
	for given := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		tag, ok := strings.CutPrefix(strings.TrimSuffix("W/"+strings.TrimPrefix(strings.TrimSpace(given), "W/"), `"`), version)
		if !ok {
			continue
		}
		end, limited := strings.CutPrefix(tag, ".until-")
		if ns, err := strconv.ParseInt(end, 10, 64); tag == "" || limited && err == nil && now < ns {
			return etag(m, ns)
		}
	}
	return ""
}

// validity is until when an answer holds: the earliest end of a suspicion that it shows.
type validity struct {
	now   int64
	until int64 // 0: no end
}

func (v *validity) add(r *evidence.Row) { v.end(r.SuspectUntil) }

func (v *validity) end(ns int64) {
	if ns > v.now && (v.until == 0 || ns < v.until) {
		v.until = ns
	}
}

// notModified answers 304 where the request's ETag still holds.
func (s *Server) notModified(w http.ResponseWriter, r *http.Request, m *manifest.Manifest) bool {
	tag := fresh(r, m, s.engine.Now())
	if tag == "" {
		return false
	}
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", cacheControl)
	w.WriteHeader(http.StatusNotModified)
	return true
}

// cacheControl lets clients keep answers, and has them ask every time whether they still hold.
const cacheControl = "private, no-cache"

// writeBody answers with a finished JSON body from m.
func writeBody(w http.ResponseWriter, m *manifest.Manifest, until int64, body []byte) {
	writeHead(w, m, until)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a client that went away is no error of ours
}

// writeHead sets the headers of an answer that is a JSON object.
func writeHead(w http.ResponseWriter, m *manifest.Manifest, until int64) {
	answered(w, m)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("ETag", etag(m, until))
	setFreshness(h, m)
	h.Set("Cache-Control", cacheControl)
	h.Set("Vary", "Accept")
}

// setFreshness says which version an answer is of, and as of when: the time of its newest observation.
func setFreshness(h http.Header, m *manifest.Manifest) {
	h.Set("Fustor-Version", strconv.FormatUint(m.Version, 10))
	h.Set("Fustor-Observed-At", values.Seconds(m.ObservedAt).String())
}

// ndjson is the media type of streams: one JSON object a line.
const ndjson = "application/x-ndjson"

// wantsLines reports whether the client asks for a stream.
func wantsLines(r *http.Request) bool {
	for accept := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, _, _ := strings.Cut(accept, ";")
		switch strings.TrimSpace(media) {
		case ndjson, "application/ndjson", "application/jsonl":
			return true
		}
	}
	return false
}

// lines writes an answer as NDJSON, through a buffer of its own. What fails before the first flush is answered as an
// error; later the last line is the problem, and the connection is cut.
type lines struct {
	w       http.ResponseWriter
	m       *manifest.Manifest
	b       []byte
	started bool
	lost    error // what writing failed with: the client has gone
}

const lineBuffer = 64 << 10

func (l *lines) end() error {
	l.b = append(l.b, '\n')
	if len(l.b) < lineBuffer {
		return nil
	}
	return l.flush()
}

func (l *lines) flush() error {
	l.start()
	_, l.lost = l.w.Write(l.b)
	l.b = l.b[:0]
	return l.lost
}

func (l *lines) start() {
	if l.started {
		return
	}
	l.started = true
	h := l.w.Header()
	h.Set("Content-Type", ndjson)
	h.Set("ETag", etag(l.m, 0))
	setFreshness(h, l.m)
	h.Set("Cache-Control", cacheControl)
	h.Set("Vary", "Accept")
}

// finish ends the answer: with a cursor if there is more, or with what went wrong.
func (l *lines) finish(ctx context.Context, next string, err error) error {
	if err != nil && !l.started {
		return err
	}
	if err != nil {
		if l.lost == nil {
			err = problem.Of(l.m.View, err)
		}
		e := httpapi.Explain(ctx, err)
		l.b = append(l.b, `{"status":`...)
		l.b = strconv.AppendInt(l.b, int64(e.Status), 10)
		l.b = append(l.b, `,"detail":`...)
		l.b = appendString(l.b, e.Detail)
		l.b = append(l.b, `,"hint":`...)
		l.b = appendString(l.b, e.Hint)
		l.b = append(l.b, "}\n"...)
		_ = l.flush()
		_ = http.NewResponseController(l.w).Flush()
		httpapi.Abort(l.w, err)
	}
	if next != "" {
		l.b = append(l.b, `{"next_cursor":`...)
		l.b = appendString(l.b, next)
		l.b = append(l.b, "}\n"...)
	}
	if c := explains(l.w); c != nil {
		answered(l.w, l.m)
		l.b = append(c.member(append(l.b, '{')), "}\n"...)
	}
	_ = l.flush() // a client that went away is no error of ours
	return nil
}
