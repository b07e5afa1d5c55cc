package httpapi

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Pace bounds how long a client may take to send a body or to take an answer, so that those who do neither hold no connection. A stream
// and a large upload may last for ever, as long as they go on. How long a handler thinks is not bounded here. On the zero value the
// defaults hold.
type Pace struct {
	Stranger time.Duration // for each PaceBytes, before a key is known; 0: 10 s
	Body     time.Duration // for those of a body, after it; 0: 1 min
	Answer   time.Duration // for those of an answer, after it; 0: 5 min, as people page through `fustor find | less`
}

// PaceBytes is what a client must send or take within the times of a Pace.
const PaceBytes = 64 << 10

// Wrap returns h with deadlines on the connection. It must stand around everything else.
func (p Pace) Wrap(h http.Handler) http.Handler {
	if p.Stranger <= 0 {
		p.Stranger = 10 * time.Second
	}
	if p.Body <= 0 {
		p.Body = time.Minute
	}
	if p.Answer <= 0 {
		p.Answer = 5 * time.Minute
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &pacedWriter{ResponseWriter: w, connection: http.NewResponseController(w), pace: p}
		c.allowWrite()
		if r.Body != nil && r.Body != http.NoBody {
			c.body = &pacedBody{ReadCloser: r.Body, of: c}
			r.Body = c.body
			c.body.allow()
		}
		defer c.finish()
		h.ServeHTTP(c, r)
	})
}

// Trust gives the sender of a request the longer times of a Pace, once its key is known.
func Trust(w http.ResponseWriter) {
	for w != nil {
		if c, ok := w.(*pacedWriter); ok {
			c.trust()
			return
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = wrapper.Unwrap()
	}
}

// pacedWriter moves the deadline on with each part of an answer.
type pacedWriter struct {
	http.ResponseWriter
	connection *http.ResponseController
	pace       Pace
	body       *pacedBody // nil: the request has none

	trusted atomic.Bool // a handler may read and write at once
}

// within is the time of the next PaceBytes: known is that of a client whose key is known.
func (c *pacedWriter) within(known time.Duration) time.Duration {
	if c.trusted.Load() {
		return known
	}
	return c.pace.Stranger
}

// allowWrite sets the deadline. Where there is no connection, as in a Lambda or a test, there is none to set.
func (c *pacedWriter) allowWrite() {
	_ = c.connection.SetWriteDeadline(time.Now().Add(c.within(c.pace.Answer)))
}

// finish leaves time for what the server does after a handler: it waits for the rest of a body, then sends what is buffered.
func (c *pacedWriter) finish() {
	_ = c.connection.SetWriteDeadline(time.Now().Add(c.within(c.pace.Body) + c.within(c.pace.Answer)))
}

func (c *pacedWriter) trust() {
	c.trusted.Store(true)
	c.allowWrite()
	if c.body != nil {
		c.body.allow()
	}
}

// Write implements io.Writer: each PaceBytes have the whole time.
func (c *pacedWriter) Write(b []byte) (n int, err error) {
	for {
		part := b[n:min(len(b), n+PaceBytes)]
		c.allowWrite()
		m, err := c.ResponseWriter.Write(part)
		n += m
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// Flush implements http.Flusher.
func (c *pacedWriter) Flush() {
	c.allowWrite()
	_ = c.connection.Flush()
}

// SetReadDeadline bounds the reading of the body further: a handler calls it through http.ResponseController.
func (c *pacedWriter) SetReadDeadline(t time.Time) error {
	if c.body == nil {
		return c.connection.SetReadDeadline(t)
	}
	return c.body.bound(t)
}

// Unwrap serves http.ResponseController.
func (c *pacedWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// pacedBody moves the deadline on as a body comes.
type pacedBody struct {
	io.ReadCloser
	of *pacedWriter

	mu    sync.Mutex
	part  int       // bytes since the deadline was moved
	last  time.Time // the handler's own deadline; zero: none
	ended bool
}

// allow gives the next PaceBytes the whole time.
func (b *pacedBody) allow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set()
}

func (b *pacedBody) bound(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = t
	return b.set()
}

func (b *pacedBody) set() error {
	if b.ended {
		return nil
	}
	b.part = 0
	until := time.Now().Add(b.of.within(b.of.pace.Body))
	if !b.last.IsZero() && b.last.Before(until) {
		until = b.last
	}
	return b.of.connection.SetReadDeadline(until)
}

// Read implements io.Reader. After the end there is no deadline: from then on the server reads only to learn that the client has gone, and
// a deadline would look like that.
func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == io.EOF {
		b.ended = true
		_ = b.of.connection.SetReadDeadline(time.Time{})
		return n, err
	}
	if b.part += n; b.part >= PaceBytes {
		_ = b.set()
	}
	return n, err
}
