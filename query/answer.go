package query

import (
	"context"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/problem"
)

// An ETag is the version and, if the answer shows a suspect entry, the time until which it is right: an entry stops being suspect
// when its time is over, without a new version. So 304 is answered without reading a layer. An answer as of an earlier time shows what was
// suspect then, and its ETag is compared with that time: of "7d" it goes on like the clock, and otherwise it stays. An answer that depends
// on anything else has no ETag (subject.varies), nor has a stream: it begins before it is known which entries it has.

// etag is the ETag of an answer that holds until the given time (ns; 0: as long as its versions).
func (a *subject) etag(until int64) string {
	tag := a.tag()
	if until != 0 {
		tag += ".until-" + strconv.FormatInt(until, 10)
	}
	return `W/"` + tag + `"`
}

// matchingETag is the one ETag among the request's If-None-Match that is of the subject and still valid; empty if there is none.
func matchingETag(r *http.Request, a *subject) string {
	version := strings.TrimSuffix(a.etag(0), `"`)
	for given := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		tag, ok := strings.CutPrefix(strings.TrimSuffix("W/"+strings.TrimPrefix(strings.TrimSpace(given), "W/"), `"`), version)
		if !ok {
			continue
		}
		end, limited := strings.CutPrefix(tag, ".until-")
		if ns, err := strconv.ParseInt(end, 10, 64); tag == "" || limited && err == nil && a.moment < ns {
			return a.etag(ns)
		}
	}
	return ""
}

// validity is until when an answer is right: the earliest time at which an entry in it stops being suspect.
type validity struct {
	now   int64
	until int64 // 0: no end
}

func (v *validity) add(r *evidence.Row) { v.addEnd(r.SuspectUntil) }

func (v *validity) addEnd(ns int64) {
	if ns > v.now && (v.until == 0 || ns < v.until) {
		v.until = ns
	}
}

// notModified answers 304 if an ETag of the request is still valid.
func notModified(w http.ResponseWriter, r *http.Request, a *subject) bool {
	if a.varies {
		return false
	}
	tag := matchingETag(r, a)
	if tag == "" {
		return false
	}
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", cacheControl)
	h.Add("Vary", "Accept")
	w.WriteHeader(http.StatusNotModified)
	return true
}

// cacheControl lets clients keep answers, but they must check the ETag each time.
const cacheControl = "private, no-cache"

// writeBody answers with a finished JSON body.
func writeBody(w http.ResponseWriter, a *subject, until int64, body []byte) {
	writeHeaders(w, a, until)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a client that went away is no error of ours
}

// writeHeaders sets the headers of an answer that is a JSON object.
func writeHeaders(w http.ResponseWriter, a *subject, until int64) {
	noteVersion(w, a)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if !a.varies {
		h.Set("ETag", a.etag(until))
	}
	a.setFreshness(h)
	h.Set("Cache-Control", cacheControl)
	h.Add("Vary", "Accept")
}

// ndjson is the media type of streams: one JSON object a line.
const ndjson = "application/x-ndjson"

// ndjsonEnd is the media type of streams whose last line is an end record.
const ndjsonEnd = ndjson + ";end=true"

// wantsLines reports whether the client asks for a stream.
func wantsLines(r *http.Request) bool {
	lines, _ := acceptedLines(r)
	return lines
}

// acceptedLines reports whether the client accepts a stream, unless it likes a JSON object better, and whether it asks for the end record.
func acceptedLines(r *http.Request) (lines, end bool) {
	var ofLines, ofObject float64
	for accept := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, parameters, err := mime.ParseMediaType(accept)
		if err != nil {
			continue
		}
		quality := 1.0
		if given, ok := parameters["q"]; ok {
			if quality, err = strconv.ParseFloat(given, 64); err != nil {
				continue
			}
		}
		switch media {
		case ndjson, "application/ndjson", "application/jsonl":
			ofLines, end = max(ofLines, quality), end || strings.EqualFold(parameters["end"], "true")
		case "application/json":
			ofObject = max(ofObject, quality)
		}
	}
	lines = ofLines > 0 && ofLines >= ofObject
	return lines, lines && end
}

// endsWithRecord reports whether a stream gets an end record. Whoever asks for it does, and whoever speaks HTTP/1.0, where the end of an
// answer and a broken connection look alike. Earlier builds of Fustor's own client take a line that they do not know for damage, and
// they do not ask: a proxy may be what speaks HTTP/1.0 for them.
func endsWithRecord(r *http.Request) bool {
	_, asked := acceptedLines(r)
	old := r.ProtoMajor == 1 && r.ProtoMinor == 0
	return asked || old && !strings.HasPrefix(r.UserAgent(), "fustor/")
}

// ndjsonWriter writes an answer as NDJSON through a buffer. An error before the first flush becomes an ordinary error answer. After
// that, the error is the last line, and the connection is closed without an end.
type ndjsonWriter struct {
	w          http.ResponseWriter
	of         *subject
	buffer     []byte
	count      int64 // entries
	end        bool  // an end record is the last line
	started    bool
	writeError error // of writing: the client has gone
}

func newLines(w http.ResponseWriter, r *http.Request, of *subject) *ndjsonWriter {
	return &ndjsonWriter{w: w, of: of, end: endsWithRecord(r)}
}

const lineBuffer = 64 << 10

// endLine ends an entry.
func (out *ndjsonWriter) endLine() error {
	out.count++
	out.buffer = append(out.buffer, '\n')
	if len(out.buffer) < lineBuffer {
		return nil
	}
	if err := out.flush(); err != nil {
		return err
	}
	_ = http.NewResponseController(out.w).Flush() // what compresses would keep it; where nothing does, it is sent already
	return nil
}

func (out *ndjsonWriter) flush() error {
	out.start()
	_, out.writeError = out.w.Write(out.buffer)
	out.buffer = out.buffer[:0]
	return out.writeError
}

func (out *ndjsonWriter) start() {
	if out.started {
		return
	}
	out.started = true
	h := out.w.Header()
	h.Set("Content-Type", ndjson)
	if out.end {
		h.Set("Content-Type", ndjsonEnd)
	}
	out.of.setFreshness(h)
	h.Set("Cache-Control", cacheControl)
	h.Add("Vary", "Accept")
}

// finish ends the answer with a cursor if there is a next page, or with the error.
func (out *ndjsonWriter) finish(ctx context.Context, next string, err error) error {
	if err != nil && !out.started {
		return err
	}
	if err != nil {
		if out.writeError == nil {
			err = problem.Of(out.of.view, err)
		}
		e := httpapi.Explain(ctx, err)
		out.buffer = append(out.buffer, `{"status":`...)
		out.buffer = strconv.AppendInt(out.buffer, int64(e.Status), 10)
		out.buffer = append(out.buffer, `,"detail":`...)
		out.buffer = appendString(out.buffer, e.Detail)
		out.buffer = append(out.buffer, `,"hint":`...)
		out.buffer = appendString(out.buffer, e.Hint)
		out.buffer = append(out.buffer, "}\n"...)
		_ = out.flush()
		_ = http.NewResponseController(out.w).Flush()
		httpapi.Abort(out.w, err)
	}
	if next != "" {
		out.buffer = append(out.buffer, `{"next_cursor":`...)
		out.buffer = appendString(out.buffer, next)
		out.buffer = append(out.buffer, "}\n"...)
	}
	if out.of.forest != nil {
		out.buffer = append(out.of.appendMembers(ctx, append(out.buffer, '{')), "}\n"...)
	}
	if c := explainedCost(out.w); c != nil {
		noteVersion(out.w, out.of)
		out.buffer = append(c.member(append(out.buffer, '{')), "}\n"...)
	}
	if out.end {
		out.buffer = append(out.buffer, `{"end":true,"count":`...)
		out.buffer = append(strconv.AppendInt(out.buffer, out.count, 10), "}\n"...)
	}
	_ = out.flush() // a client that went away is no error of ours
	return nil
}
