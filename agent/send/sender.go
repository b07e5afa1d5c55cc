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
	"github.com/fustor/fustor/internal/trace"
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
// ingest itself. Where presigned uploads fail and requests to ingest work, the rest of the session goes through ingest.
type Ingest struct {
	// OnRefused, if set, is told once a session that its segments go through ingest from now on, and why.
	OnRefused func(why error)

	client *Client
	// upload sends presigned requests, which go to the object store and not to ingest.
	upload *http.Client

	mu      sync.Mutex // held for no request
	direct  bool       // no presigned uploads here
	grants  map[grantKey]pipeapi.Grant
	session string // of the last segment; what follows is of it
	failing int    // points of the uploads that failed since the last that did not
	why     error  // the last failure of an upload
	refused bool   // segments go through ingest, as uploads fail
	small   int64  // segments of up to so many bytes go through ingest, as it wants to
}

type grantKey struct {
	session string
	seq     uint64
}

const (
	// grantsAtOnce is how many uploads are asked for in one request.
	grantsAtOnce = 16
	// An upload that fails counts these points, and from maxFailing on ingest is tried: after two refusals, as the first may be
	// a grant that expired by the store's clock, or after ten times that the store was busy.
	pointsRefused, pointsBusy, maxFailing = 5, 1, 10
)

// NewIngest makes a sender of the client's ingest. A nil upload client is http.DefaultClient.
func NewIngest(c *Client, upload *http.Client) *Ingest {
	return &Ingest{client: c, upload: httpclient.New(upload), grants: map[grantKey]pipeapi.Grant{}}
}

// NewThrough makes a sender that hands every segment to ingest, though its store may take presigned uploads: for hosts
// that reach nothing but ingest.
func NewThrough(c *Client) *Ingest { return &Ingest{client: c, direct: true} }

// Send implements Sender.
func (s *Ingest) Send(ctx context.Context, seg pipe.Segment) error {
	if err := s.send(ctx, seg); err != nil {
		return fmt.Errorf("send segment %d: %w", seg.Seq, err)
	}
	return nil
}

func (s *Ingest) send(ctx context.Context, seg pipe.Segment) error {
	switch s.way(seg) {
	case throughIngest:
		return s.through(ctx, seg)
	case smallOne:
		err := s.through(ctx, seg)
		s.sentSmall(err)
		return err
	case tryIngest:
		err := s.through(ctx, seg)
		s.tried(err)
		return err
	}
	g, ok, err := s.grant(ctx, seg)
	if err != nil {
		return err
	}
	if !ok {
		return s.through(ctx, seg)
	}
	err = s.put(ctx, g, seg.Body)
	s.uploaded(err)
	return err
}

// way is how a segment is to be sent.
type way int

const (
	presigned way = iota
	smallOne      // through ingest, as it wants to
	tryIngest     // uploads fail; whether ingest reaches the store is not known
	throughIngest
)

// way is how a segment is to be sent. A new session begins with presigned uploads again.
func (s *Ingest) way(seg pipe.Segment) way {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != seg.Session {
		s.session, s.failing, s.why, s.refused, s.small = seg.Session, 0, nil, false, 0
	}
	switch {
	case s.refused:
		return throughIngest
	case int64(len(seg.Body)) <= s.small:
		return smallOne
	case s.failing >= maxFailing:
		return tryIngest
	}
	return presigned
}

// sentSmall takes in how a small segment went through ingest. If it did not, it is uploaded, until grants say otherwise.
func (s *Ingest) sentSmall(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.small = 0
}

// uploaded takes in how a presigned upload ended.
func (s *Ingest) uploaded(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = err
	if err == nil {
		s.failing = 0
		return
	}
	points := pointsRefused
	var answer *uploadError
	if errors.As(err, &answer) && answer.busy() {
		points = pointsBusy
	} else {
		clear(s.grants) // the grant may have expired by the store's clock
	}
	s.failing += points
}

// tried takes in how a segment went through ingest after uploads had failed. If ingest does not reach the store either, it is
// not the uploads that do not work: the next try is one.
func (s *Ingest) tried(err error) {
	s.mu.Lock()
	if err != nil {
		s.failing = maxFailing - 1
		s.mu.Unlock()
		return
	}
	s.refused = true
	why := s.why
	s.mu.Unlock()
	if s.OnRefused != nil {
		s.OnRefused(why)
	}
}

// Refused is why the session's segments go through ingest though it presigns uploads; nil: they do not.
func (s *Ingest) Refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.refused {
		return nil
	}
	return s.why
}

// grant returns the presigned upload of a segment; ok is false where ingest does not presign.
func (s *Ingest) grant(ctx context.Context, seg pipe.Segment) (g pipeapi.Grant, ok bool, err error) {
	key := grantKey{seg.Session, seg.Seq}
	if g, ok, done := s.granted(key); done {
		return g, ok, nil
	}
	// The lock is not held while ingest is asked: whoever asks for the agent's status must not wait for that.
	var answer pipeapi.Uploads
	count := grantsAtOnce
	ask := pipeapi.UploadsRequest{FromSeq: &seg.Seq, Count: &count}
	err = s.client.call(ctx, http.MethodPost, "/api/v1/pipe/session/"+url.PathEscape(seg.Session)+"/uploads", ask, &answer, "uploads")
	s.mu.Lock()
	defer s.mu.Unlock()
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusNotImplemented || status.Status == http.StatusNotFound || status.Status == http.StatusMethodNotAllowed) {
		s.direct = true
		return pipeapi.Grant{}, false, nil
	}
	if err != nil {
		return pipeapi.Grant{}, false, err
	}
	s.small = answer.Through
	for _, g := range answer.Uploads {
		s.grants[grantKey{seg.Session, g.Seq}] = g
	}
	g, ok = s.grants[key]
	s.direct = !ok
	return g, ok, nil
}

// granted is a grant that is there already; done: ingest need not be asked, as there is one, or as it does not presign.
func (s *Ingest) granted(key grantKey) (g pipeapi.Grant, ok, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct {
		return pipeapi.Grant{}, false, true
	}
	if g, ok = s.grants[key]; ok && time.Until(g.Expires) > 30*time.Second {
		return g, true, true
	}
	clear(s.grants) // those of earlier segments and sessions
	return pipeapi.Grant{}, false, false
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
	// The store is not told of the trace: what was signed is sent and nothing else.
	_, span := trace.Within(ctx, trace.Client, g.Method, trace.Text("http.request.method", g.Method), trace.Text("server.address", req.URL.Host))
	defer span.End()
	resp, err := s.upload.Do(req)
	if err != nil {
		span.Failed("no answer")
		return redact(err)
	}
	defer resp.Body.Close()
	span.Is(trace.Number("http.response.status_code", int64(resp.StatusCode)))
	if err := httpclient.CheckNoPage(resp); err != nil && resp.StatusCode/100 == 2 {
		return err
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusPreconditionFailed {
		// 412: the key is taken. Only this session's grants lead to it, so it was this segment, sent before.
		return nil
	}
	return &uploadError{resp.StatusCode, text}
}

// uploadError is an object store's answer that an upload failed.
type uploadError struct {
	status int
	text   []byte
}

func (e *uploadError) Error() string {
	return fmt.Sprintf("the object store answers %d: %.200q", e.status, e.text)
}

// busy reports whether the same upload may well succeed later.
func (e *uploadError) busy() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.status >= 500 && e.status != http.StatusNotImplemented
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
