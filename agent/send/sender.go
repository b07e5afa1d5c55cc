package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
)

// Sender makes segments durable. It returns nil only once the segment is; a segment that is there already, byte for
// byte, counts. ErrSessionGone and ErrRefused say that trying again is of no use.
type Sender interface {
	Send(ctx context.Context, seg pipe.Segment) error
}

// Store sends to an object store directly.
type Store struct {
	Store store.Store
	// OnSegment, if set, is told the key of every segment that has become durable. It must not block.
	OnSegment func(key string)
}

// Send implements Sender.
func (s *Store) Send(ctx context.Context, seg pipe.Segment) error {
	key := layout.Segment(seg.View, seg.Session, seg.Seq)
	if _, err := store.Swap(ctx, s.Store, key, seg.Body, ""); err != nil {
		return fmt.Errorf("send segment: %w", err)
	}
	if s.OnSegment != nil {
		s.OnSegment(key)
	}
	return nil
}

// Ingest sends through ingest: to the uploads that it presigns where its store can do that, otherwise as requests to
// ingest itself.
type Ingest struct {
	client *Client
	// upload sends presigned requests, which go to the object store and not to ingest.
	upload *http.Client

	mu     sync.Mutex
	direct bool // no presigned uploads here
	grants map[grantKey]pipeapi.Grant
}

type grantKey struct {
	session string
	seq     uint64
}

// grantsAtOnce is how many uploads are asked for in one request.
const grantsAtOnce = 16

// NewIngest makes a sender of the client's ingest. A nil upload client is http.DefaultClient.
func NewIngest(c *Client, upload *http.Client) *Ingest {
	return &Ingest{client: c, upload: httpclient.New(upload), grants: map[grantKey]pipeapi.Grant{}}
}

// NewThrough makes a sender that hands every segment to ingest, though its store may take presigned uploads: for hosts
// that reach nothing but ingest.
func NewThrough(c *Client) *Ingest { return &Ingest{client: c, direct: true} }

// Send implements Sender.
func (s *Ingest) Send(ctx context.Context, seg pipe.Segment) error {
	g, ok, err := s.grant(ctx, seg)
	if err == nil {
		if ok {
			err = s.put(ctx, g, seg.Body)
		} else {
			err = s.through(ctx, seg)
		}
	}
	if err != nil {
		return fmt.Errorf("send segment %d: %w", seg.Seq, err)
	}
	return nil
}

// grant returns the presigned upload of a segment; ok is false where ingest does not presign.
func (s *Ingest) grant(ctx context.Context, seg pipe.Segment) (g pipeapi.Grant, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct {
		return pipeapi.Grant{}, false, nil
	}
	key := grantKey{seg.Session, seg.Seq}
	if g, ok = s.grants[key]; ok && time.Until(g.Expires) > 30*time.Second {
		return g, true, nil
	}
	clear(s.grants) // those of earlier segments and sessions
	var answer pipeapi.Uploads
	count := grantsAtOnce
	ask := pipeapi.UploadsRequest{FromSeq: &seg.Seq, Count: &count}
	err = s.client.call(ctx, http.MethodPost, "/api/v1/pipe/session/"+url.PathEscape(seg.Session)+"/uploads", ask, &answer, "uploads")
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusNotImplemented || status.Status == http.StatusNotFound || status.Status == http.StatusMethodNotAllowed) {
		s.direct = true
		return pipeapi.Grant{}, false, nil
	}
	if err != nil {
		return pipeapi.Grant{}, false, err
	}
	for _, g := range answer.Uploads {
		s.grants[grantKey{seg.Session, g.Seq}] = g
	}
	g, ok = s.grants[key]
	s.direct = !ok
	return g, ok, nil
}

// put sends a segment to its presigned upload.
func (s *Ingest) put(ctx context.Context, g pipeapi.Grant, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, g.Method, g.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make upload request: %w", err)
	}
	for name, values := range g.Header {
		req.Header[name] = values
	}
	if host := g.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := s.upload.Do(req)
	if err != nil {
		return redact(err)
	}
	defer resp.Body.Close()
	if err := httpclient.CheckNoPage(resp); err != nil && resp.StatusCode/100 == 2 {
		return err
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	switch {
	case resp.StatusCode/100 == 2, resp.StatusCode == http.StatusPreconditionFailed:
		// 412: the key is taken. Only this session's grants lead to it, so it was this segment, sent before.
		return nil
	case resp.StatusCode == http.StatusForbidden:
		s.mu.Lock()
		clear(s.grants) // it may have expired by the store's clock
		s.mu.Unlock()
	}
	return fmt.Errorf("the object store answers %d: %.200q", resp.StatusCode, text)
}

// redact keeps presigned URLs, which are credentials, out of messages.
func redact(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("upload to the object store: %w", u.Err)
	}
	return err
}

// through sends a segment as a request to ingest.
func (s *Ingest) through(ctx context.Context, seg pipe.Segment) error {
	path := "/api/v1/pipe/session/" + url.PathEscape(seg.Session) + "/segments/" + strconv.FormatUint(seg.Seq, 10)
	_, err := s.client.do(ctx, http.MethodPut, path, nil, "application/zstd", bytes.NewReader(seg.Body), "status")
	return err
}

// Echo prints the events that it is given, one JSON object a line, and keeps nothing: to see what an agent would send.
type Echo struct {
	W      io.Writer
	Fields []record.Field // of records, one for each entry; nil: the events as they are
}

// Send implements Sender.
func (e Echo) Send(_ context.Context, seg pipe.Segment) error {
	r, err := event.NewReader("segment", bytes.NewReader(seg.Body), event.Limits{})
	if err != nil {
		return err
	}
	if e.Fields != nil {
		return record.Write(e.W, r, e.Fields)
	}
	return event.Cat(e.W, r)
}
