package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
)

const (
	// maxSegment bounds a segment's bytes as they are stored.
	maxSegment = event.MaxStoredBytes
	maxGrants  = 100
	grantTTL   = 5 * time.Minute
	// smallSegment is what goes through this process where somebody wants to hear of segments: what people change, not what scans find.
	smallSegment = 64 << 10
)

// grantUploads hands out presigned PUTs, so that agents need no credentials of the store.
func (i *Ingest) grantUploads(c *call) error {
	var q pipeapi.UploadsRequest
	if err := httpapi.ReadJSON(c.w, c.r, &q, 0); err != nil {
		return err
	}
	if q.FromSeq == nil || q.Count == nil || *q.Count < 1 || *q.Count > maxGrants || *q.FromSeq > maxSeq-uint64(*q.Count) {
		return httpapi.BadRequest("from_seq and count must name the next segments", fmt.Sprintf("use a count from 1 to %d", maxGrants))
	}
	record, err := c.alive()
	if err != nil {
		return err
	}
	grants := make([]pipeapi.Grant, *q.Count)
	for n := range grants {
		seq := *q.FromSeq + uint64(n)
		upload, err := i.store.PresignCreate(c.ctx, layout.Segment(c.view, record.ID, seq), grantTTL)
		if errors.Is(err, store.ErrUnsupported) {
			return &httpapi.Error{Status: http.StatusNotImplemented, Cause: err, Detail: "this server's object store cannot sign uploads",
				Hint: "send segments through the server: PUT /api/v1/pipe/session/{id}/segments/{seq}"}
		}
		if err != nil {
			return err
		}
		grants[n] = pipeapi.Grant{Seq: seq, Upload: upload}
	}
	through := int64(0)
	if i.onSegment != nil {
		through = smallSegment
	}
	return c.ok(pipeapi.Uploads{Session: record.ID, Uploads: grants, Through: through, Timed: c.timed()})
}

// maxSeq keeps a seq within what every JSON reader can carry exactly.
const maxSeq = 1 << 53

// putSegment stores a segment. The same bytes may be sent again, and are then stored already.
func (i *Ingest) putSegment(c *call) error {
	seq, err := strconv.ParseUint(c.r.PathValue("seq"), 10, 64)
	if err != nil || seq >= maxSeq {
		return httpapi.BadRequest("the segment's number is not an integer from 0 on", "segments are numbered 0, 1, 2 … without gaps")
	}
	record, err := c.alive()
	if err != nil {
		return err
	}
	body, release, err := i.readSegment(c)
	if err != nil {
		return err
	}
	defer release()
	if err := checkSegment(body, event.Header{View: c.view, Session: record.ID, Seq: seq}); err != nil {
		return err
	}
	// Swap takes an object with these very bytes for its own, and so answers a repeated upload as it did the first.
	_, err = store.Swap(c.ctx, i.store, layout.Segment(c.view, record.ID, seq), body, "")
	if errors.Is(err, store.ErrLost) {
		return &httpapi.Error{Status: http.StatusConflict, Cause: err, Detail: fmt.Sprintf("segment %d of this session exists with other bytes", seq),
			Hint: "a session must have only one writer; continue with a new session"}
	}
	if err != nil {
		return err
	}
	i.metrics.segments.Inc()
	i.metrics.segmentBytes.Add(float64(len(body)))
	if i.onSegment != nil {
		i.onSegment(c.view, record.ID, seq)
	}
	return c.ok(pipeapi.SegmentStored{Status: "stored", Session: record.ID, Seq: seq, Timed: c.timed()})
}

// readSegment reads the body once there is memory for it; release gives the memory back.
func (i *Ingest) readSegment(c *call) (body []byte, release func(), err error) {
	size := c.r.ContentLength
	switch {
	case size < 0:
		c.w.Header().Set("Connection", "close") // or the server would wait for the body before it answers
		return nil, nil, &httpapi.Error{Status: http.StatusLengthRequired, Detail: "the request does not say how long the segment is", Hint: "send a Content-Length"}
	case size > maxSegment:
		size = maxSegment // reading it fails
	}
	release, err = i.uploads.acquire(c.ctx, c.holder().Key, c.view, size)
	if err != nil {
		return nil, nil, uploadProblem(err)
	}
	// A slow client must not hold the memory for ever. Where there is no connection, as in a Lambda, there is no deadline.
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(requestTimeout))
	body, err = httpapi.ReadBody(c.w, c.r, maxSegment)
	if err != nil {
		release()
		return nil, nil, err
	}
	return body, release, nil
}

// checkSegment refuses what is no segment, a damaged one, or one that says to be another's: a compactor that found it
// later could only stop there.
func checkSegment(body []byte, want event.Header) error {
	const name = "in the body"
	reader, err := event.NewReader(name, bytes.NewReader(body), event.Limits{})
	if err == nil {
		h := reader.Header()
		if h.View != want.View || h.Session != want.Session || h.Seq != want.Seq {
			return httpapi.BadRequest("the segment's header names another view, session or number than this request",
				fmt.Sprintf("it should say view %q, session %q, seq %d", want.View, want.Session, want.Seq))
		}
		for err == nil {
			_, err = reader.Next()
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	var format *event.FormatError
	if errors.As(err, &format) {
		return httpapi.BadRequest(format.Error(), "the format is described in docs/formats.md")
	}
	return &httpapi.Error{Status: http.StatusBadRequest, Cause: err, Detail: "the body is not a segment", Hint: "the format is described in docs/formats.md"}
}
