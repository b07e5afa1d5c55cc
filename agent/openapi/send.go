package openapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/event"
)

// segment is a segment on its way: its events are read as batches are needed, so that a try that fails goes on where it stopped.
type segment struct {
	t      *Target
	seq    uint64
	header event.Header
	reader *event.Reader
	over   bool // all events are read

	ready []batch
	open  opened
}

// Send implements send.Sender: it sends what a segment says, in order. Only one goroutine may call it.
func (t *Target) Send(ctx context.Context, seg pipe.Segment) error {
	if !t.isCurrent(seg.Session) {
		return fmt.Errorf("send segment %d: %w", seg.Seq, send.ErrSessionGone)
	}
	s := t.segment
	if s == nil || s.header.Session != seg.Session || s.seq != seg.Seq {
		if s == nil || s.header.Session != seg.Session {
			t.round = round{}
		}
		r, err := event.NewReader("segment", bytes.NewReader(seg.Body), event.Limits{})
		if err != nil {
			return err
		}
		s = &segment{t: t, seq: seg.Seq, header: r.Header(), reader: r}
		t.segment = s
	}
	for {
		b, err := s.next()
		if err != nil {
			return fmt.Errorf("read segment %d: %w", seg.Seq, err)
		}
		if b == nil {
			break
		}
		if err := t.post(ctx, s, b); err != nil {
			return fmt.Errorf("send events of segment %d: %w", seg.Seq, err)
		}
		s.ready = s.ready[1:]
	}
	return t.sent(ctx, seg.Session, seg.Seq)
}

// next is the first batch that is not sent; nil: there is none.
func (s *segment) next() (*batch, error) {
	for len(s.ready) == 0 && !s.over {
		ev, err := s.reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			s.over = true
			err = s.t.format.finish(s)
		case err == nil:
			err = s.t.format.write(s, ev)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(s.ready) == 0 {
		return nil, nil
	}
	return &s.ready[0], nil
}

// add adds a row to the open batch, of which all rows have one phase, and which has at most most rows. id names what the row
// says: the batch's idempotency key is made of them.
func (s *segment) add(phase, group, id string, row []byte, most int) {
	o := &s.open
	if o.count > 0 && (o.phase != phase || o.count >= most || o.buffer.Len()+len(row) > maxBytes) {
		s.flush()
	}
	if o.count == 0 {
		o.phase, o.sum = phase, sha256.New()
	}
	switch {
	case group == "" && o.count > 0, group != "" && group == o.group:
		o.buffer.WriteByte(',')
	case group != "":
		if o.group != "" {
			o.buffer.WriteString("]},")
		}
		o.group = group
		o.buffer.WriteString(`{"event_type":"` + group + `","rows":[`)
	}
	o.buffer.Write(row)
	o.count++
	io.WriteString(o.sum, id)
}

// end ends the open batch, or an empty one, as the last of its scan.
func (s *segment) end(phase string, mark *event.Event) {
	if s.open.count > 0 && s.open.phase != phase {
		s.flush()
	}
	if s.open.count == 0 {
		s.open.phase, s.open.sum = phase, sha256.New()
	}
	fmt.Fprintf(s.open.sum, "end %s %s %d", s.header.Agent, s.header.Source, mark.ObservedAt)
	s.close(true)
}

// flush ends the open batch.
func (s *segment) flush() {
	if s.open.count > 0 {
		s.close(false)
	}
}

func (s *segment) close(end bool) {
	o := &s.open
	if o.group != "" {
		o.buffer.WriteString("]}")
	}
	s.ready = append(s.ready, batch{phase: o.phase, end: end, rows: bytes.Clone(o.buffer.Bytes()), count: o.count, key: o.key()})
	o.buffer.Reset()
	o.count, o.group, o.phase = 0, "", ""
}

// post sends one batch.
func (t *Target) post(ctx context.Context, s *segment, b *batch) error {
	body, err := t.format.body(s, b)
	if err != nil {
		return err
	}
	return t.postBody(ctx, &s.header, b.key, body)
}

func (t *Target) postBody(ctx context.Context, h *event.Header, key string, body []byte) error {
	known := map[string]string{"view": h.View, "agent": h.Agent, "source": h.Source, "session": h.Session}
	r, err := t.events.request(ctx, t.o.Key, known, body)
	if err != nil {
		return err
	}
	r.Header.Set(idempotencyKey, key)
	_, err = do(t.o.HTTP, r)
	return t.meaning(err)
}

// meaning is what an error of a call with events says to the agent.
func (t *Target) meaning(err error) error {
	var status *send.StatusError
	if !errors.As(err, &status) {
		return err
	}
	switch status.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return err
	case http.StatusNotFound, http.StatusGone, http.StatusConflict, 419:
		if t.session != nil {
			return fmt.Errorf("%w: %w", send.ErrSessionGone, err)
		}
		if status.Status == http.StatusConflict {
			return errors.New(status.Error()) // another request with this key is on its way
		}
	}
	if status.Status/100 == 4 || status.Status/100 == 3 {
		return fmt.Errorf("%w: %s; nothing is left out: it is sent again every half minute until the server takes it", send.ErrUnacceptable, status)
	}
	return err
}
