package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/testkit/fault"
)

var errRefused = errors.New("connection refused")

// network is what lies between an agent and the ingests.
type network struct{ from *process }

// RoundTrip implements http.RoundTripper.
func (n network) RoundTrip(req *http.Request) (*http.Response, error) {
	p := n.from
	took, err := p.begin(req.Method, req.URL.Path)
	if err != nil {
		return nil, err
	}
	if p.chance(p.w.plan.rates.slow) {
		p.w.trace.fault("slow request", p.name)
		took += p.upTo(6 * time.Second)
	}
	if err := sleep.For(req.Context(), took); err != nil {
		return nil, err
	}
	var body []byte
	if req.Body != nil {
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	to := p.w.ingests[int(p.upTo(time.Duration(len(p.w.ingests))))]
	switch {
	case p.chance(p.w.plan.rates.lost):
		p.w.trace.fault("lost request", p.name)
		return nil, fault.ErrNetwork
	case p.chance(p.w.plan.rates.late):
		p.w.trace.fault("late request", p.name)
		p.w.later(p.upTo(5*time.Second), func() { _, _ = to.serve(req.WithContext(context.Background()), body) })
		return nil, fault.ErrNetwork
	}
	resp, err := to.serve(req, body)
	if err == nil && p.chance(p.w.plan.rates.lostBack) {
		p.w.trace.fault("lost answer", p.name)
		return nil, fault.ErrNetwork
	}
	if !p.lives() {
		return nil, errCrashed
	}
	return resp, err
}

// serve answers a request by the ingest that runs now.
func (i *ingestHost) serve(req *http.Request, body []byte) (*http.Response, error) {
	i.mu.Lock()
	p, handler := i.process, i.handler
	i.mu.Unlock()
	if p == nil || !p.lives() {
		return nil, errRefused
	}
	in := req.Clone(req.Context())
	in.Body = io.NopCloser(bytes.NewReader(body))
	begin := time.Now()
	resp, err := handler.RoundTrip(in)
	if err == nil {
		err = p.w.checkTime(resp, begin)
	}
	if !p.lives() {
		return nil, fault.ErrNetwork
	}
	return resp, err
}

// checkTime checks what an answer tells of the store's time. It may be a little off just after the host's clock was set.
func (w *world) checkTime(resp *http.Response, begin time.Time) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var told struct {
		ServerTime int64 `json:"server_time_ns"`
	}
	if json.Unmarshal(body, &told) != nil || told.ServerTime == 0 {
		return nil
	}
	off := time.Duration(told.ServerTime - w.store.now().UnixNano())
	if off.Abs() > 10*time.Second+time.Since(begin) {
		w.fail(fmt.Errorf("an ingest tells a time that is off by %v, %v after the begin", off, time.Since(w.trace.begin)))
	}
	return nil
}
