package v2

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/internal/values"
)

// nodes writes rows as v2api.Node has them.
type nodes struct {
	now      int64 // ns, the store's time: decides which entries are suspect
	onlyPath bool
}

// open appends a row's node without its closing brace.
func (n nodes) open(b []byte, r *evidence.Row) []byte {
	b = append(b, `{"name":"`...)
	b = v2api.Text(r.Name).Append(b)
	b = append(b, `","content_type":"`...)
	if r.Type == event.Directory {
		b = append(b, `directory`...)
	} else {
		b = append(b, `file`...)
	}
	b = append(b, `","path":"`...)
	if r.Parent == "" {
		b = append(b, '/')
	}
	b = v2api.Text(r.Parent).Append(b)
	b = v2api.Text(r.Name).Append(b)
	b = append(b, '"')
	if n.onlyPath {
		return b
	}
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, r.Size, 10)
	b = append(b, `,"modified_time":`...)
	b = values.Seconds(r.MtimeNs).Append(b)
	b = append(b, `,"created_time":`...)
	b = values.Seconds(created(r)).Append(b)
	b = append(b, `,"integrity_suspect":`...)
	b = strconv.AppendBool(b, r.SuspectUntil > n.now)
	b = append(b, `,"agent_missing":`...)
	b = strconv.AppendBool(b, r.AgentMissing)
	b = append(b, `,"audit_skipped":false,"last_agent_id":"`...) // an audit here confirms every directory it passes
	b = v2api.Text(r.Agent).Append(b)
	b = append(b, `","source_uri":"`...)
	b = v2api.Text(r.Source).Append(b)
	return append(b, '"')
}

// created is V2's created_time, ns: the time of the last change to the inode. Where that is not known, the file was written no later.
func created(r *evidence.Row) int64 {
	if r.Measured() {
		return r.CtimeNs
	}
	return r.MtimeNs
}

// appendJSON appends a value of v2api, or a text, as JSON.
func appendJSON(b []byte, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers, texts and maps of texts
	}
	return append(b, body...)
}

// stream writes a JSON answer as it comes. An error before the first flush becomes an ordinary error answer; later the connection is
// cut.
type stream struct {
	w       http.ResponseWriter
	buffer  []byte
	started bool
}

const streamBuffer = 64 << 10

// more flushes the buffer if it is full. Its error: the client has gone.
func (s *stream) more() error {
	if len(s.buffer) < streamBuffer {
		return nil
	}
	return s.flush()
}

func (s *stream) flush() error {
	if !s.started {
		s.started = true
		s.w.Header().Set("Content-Type", "application/json")
		s.w.Header().Set("Cache-Control", "no-store")
	}
	_, err := s.w.Write(s.buffer)
	s.buffer = s.buffer[:0]
	return err
}

// finish ends the answer, given the error that ended it.
func (s *stream) finish(err error) error {
	if err != nil && !s.started {
		return err
	}
	if err != nil {
		httpapi.Abort(s.w, err)
	}
	_ = s.flush() // a client that went away is no error of ours
	return nil
}
