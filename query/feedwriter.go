package query

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/query/engine"
)

// eventStream is the media type of server-sent events.
const eventStream = "text/event-stream"

// wantsEvents reports whether the client asks for server-sent events.
func wantsEvents(r *http.Request) bool {
	for accept := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		if media, _, err := mime.ParseMediaType(accept); err == nil && media == eventStream {
			return true
		}
	}
	return false
}

// feedWriter writes a feed as server-sent events or as NDJSON, through a buffer. Its heartbeats come from a goroutine of their own, as
// finding the next change may take long. A slow reader holds up whoever writes next, and so the reading of layers.
type feedWriter struct {
	events bool
	end    bool // an end record is the last line

	mu      sync.Mutex
	w       http.ResponseWriter
	flusher *http.ResponseController
	buffer  []byte
	records int64  // lines
	version uint64 // whose end was told, or will be
	passed  []byte // a record of the end of a version without changes, which is told with the next heartbeat
	silent  bool   // nothing was written since the last heartbeat
	err     error  // of writing: the client has gone
}

func newFeedWriter(w http.ResponseWriter, r *http.Request, events bool, from *engine.Version) *feedWriter {
	out := &feedWriter{w: w, flusher: http.NewResponseController(w), events: events, end: !events && endsWithRecord(r), version: from.Manifest.Version}
	h := w.Header()
	switch {
	case events:
		h.Set("Content-Type", eventStream)
		out.buffer = append(out.buffer, "retry: 2000\n\n"...)
	case out.end:
		h.Set("Content-Type", ndjsonEnd)
	default:
		h.Set("Content-Type", ndjson)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx holds answers back otherwise
	h.Add("Vary", "Accept")
	(&subject{version: from}).setFreshness(h)
	return out
}

// beat starts the heartbeats: one whenever nothing was written for that long. each is called with every beat. The function that it returns
// ends them.
func (out *feedWriter) beat(every time.Duration, each func()) (stop func()) {
	ended := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				each()
				out.heartbeat()
			}
		}
	})
	return sync.OnceFunc(func() { close(ended); running.Wait() })
}

func (out *feedWriter) heartbeat() {
	out.mu.Lock()
	defer out.mu.Unlock()
	switch {
	case len(out.buffer) > 0:
	case !out.silent:
	case out.passed != nil:
		out.tellPassed()
	case out.events:
		out.buffer = append(out.buffer, ": heartbeat\n\n"...)
	default:
		out.records++
		out.buffer = strconv.AppendUint(append(out.buffer, `{"heartbeat":true,"version":`...), out.version, 10)
		out.buffer = append(out.buffer, "}\n"...)
	}
	out.send()
	out.silent = true
}

// record begins a record with its name and cursor, and endRecord ends it; between them the record is appended to the buffer, as an object.
func (out *feedWriter) record(name, cursor string) {
	if !out.events {
		return
	}
	out.buffer = append(append(append(out.buffer, "event: "...), name...), '\n')
	if cursor != "" {
		out.buffer = append(append(append(out.buffer, "id: "...), cursor...), '\n')
	}
	out.buffer = append(out.buffer, "data: "...)
}

func (out *feedWriter) endRecord(cursor string) {
	if out.events {
		out.buffer = append(out.buffer, "\n\n"...)
		return
	}
	out.records++
	out.buffer = append(out.buffer[:len(out.buffer)-1], `,"cursor":"`...) // a cursor needs no escape
	out.buffer = append(append(out.buffer, cursor...), "\"}\n"...)
}

// change tells a change of a version.
func (out *feedWriter) change(of *manifest.Manifest, cursor string, entry func([]byte) []byte) error {
	out.mu.Lock()
	defer out.mu.Unlock()
	out.passed = nil // the change's cursor says more
	out.record("change", cursor)
	out.buffer = entry(out.buffer)
	out.buffer = strconv.AppendUint(append(out.buffer[:len(out.buffer)-1], `,"version":`...), of.Version, 10)
	out.buffer = appendSeconds(append(out.buffer, `,"folded_at":`...), of.FoldedAt)
	out.buffer = append(out.buffer, '}')
	out.endRecord(cursor)
	if len(out.buffer) >= lineBuffer {
		out.send()
	}
	return out.err
}

// told tells that all changes of the feed's version were told, n of them in this answer: now, or with the next heartbeat, unless a change
// comes first.
func (out *feedWriter) told(f *engine.Feed, n int, moves string, now bool) {
	m := f.At().Manifest
	out.mu.Lock()
	defer out.mu.Unlock()
	kept := out.buffer
	out.buffer = nil
	cursor := f.Cursor()
	out.record("version", cursor)
	b := strconv.AppendUint(append(out.buffer, `{"version":`...), m.Version, 10)
	b = appendSeconds(append(b, `,"complete":true,"folded_at":`...), m.FoldedAt)
	b = appendSeconds(append(b, `,"observed_at":`...), m.ObservedAt)
	b = strconv.AppendInt(append(b, `,"changes":`...), int64(n), 10)
	if n > 0 {
		b = append(append(append(b, `,"moves":"`...), moves...), '"')
	}
	out.buffer = append(b, '}')
	records := out.records
	out.endRecord(cursor)
	out.records, out.passed, out.buffer, out.version = records, out.buffer, kept, m.Version
	if now {
		out.tellPassed()
	}
}

// tellPassed tells the end of a version that is not told yet, under the lock.
func (out *feedWriter) tellPassed() {
	if out.passed == nil {
		return
	}
	if !out.events {
		out.records++
	}
	out.buffer, out.passed = append(out.buffer, out.passed...), nil
}

// flush sends what is buffered, and the headers.
func (out *feedWriter) flush() {
	out.mu.Lock()
	defer out.mu.Unlock()
	out.send()
}

// send is flush under the lock. The client waits for the headers, so that they are sent even if there is nothing else.
func (out *feedWriter) send() {
	if out.err != nil {
		return
	}
	if len(out.buffer) > 0 {
		out.silent = false
	}
	if _, out.err = out.w.Write(out.buffer); out.err == nil {
		_ = out.flusher.Flush() // what compresses would keep it
	}
	out.buffer = out.buffer[:0]
}

// finish ends the answer: with what is wrong, if it ended early.
func (out *feedWriter) finish(ctx context.Context, f *engine.Feed, err error) error {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.err != nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		httpapi.Note(out.w, cmp.Or(out.err, err)) // the client has gone
		return nil
	}
	out.tellPassed()
	if err != nil {
		e := problemOf(ctx, f.View(), err)
		out.record("problem", "")
		out.buffer = strconv.AppendInt(append(out.buffer, `{"status":`...), int64(e.Status), 10)
		out.buffer = appendString(append(out.buffer, `,"detail":`...), e.Detail)
		out.buffer = appendString(append(out.buffer, `,"hint":`...), e.Hint)
		if nearest, known := e.Extra["nearest"]; known {
			if b, err := json.Marshal(nearest); err == nil {
				out.buffer = append(append(out.buffer, `,"nearest":`...), b...)
			}
		}
		out.buffer = append(out.buffer, "}\n"...)
		if out.events {
			out.buffer = append(out.buffer, '\n')
		}
		out.send()
		httpapi.Abort(out.w, err)
	}
	if c := explainedCost(out.w); c != nil && !out.events {
		c.version = out.version
		out.buffer = append(c.member(append(out.buffer, '{')), "}\n"...)
	}
	if out.end {
		out.buffer = strconv.AppendInt(append(out.buffer, `{"end":true,"count":`...), out.records, 10)
		out.buffer = append(out.buffer, "}\n"...)
	}
	out.send()
	return nil
}
