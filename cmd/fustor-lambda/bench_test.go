//go:build unix

package main

import (
	"io"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/store/doctor"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/testkit/lambdatest"
	"github.com/fustor/fustor/testkit/s3test"
)

// BenchmarkColdStart measures how a function begins, on MinIO: from the start of its process to the first question for an
// invocation, the first invocation, one that follows, and the most memory that the process had.
func BenchmarkColdStart(b *testing.B) {
	url := s3test.MinIO(b).URL("s3", "")
	st, err := open.Open(b.Context(), url)
	if err == nil {
		err = doctor.Require(b.Context(), st)
	}
	if err == nil {
		err = access.Register(b.Context(), st, testKey, access.Record{Name: "bench", Roles: []access.Role{access.Ingest, access.Query},
			Views: access.AllViews, CreatedAt: 1})
	}
	if err != nil {
		b.Fatal(err)
	}
	request := func(method, path string) []byte {
		payload, err := lambdatest.URLEvent(method, path, "view="+testView, withKey(), nil, "203.0.113.7")
		if err != nil {
			b.Fatal(err)
		}
		return payload
	}
	for part, payload := range map[string][]byte{
		"ingest":    request("GET", "/api/v1/pipe/session/"),
		"query":     request("GET", "/api/v1/views/"+testView+"/stats"),
		"compactor": lambdatest.ScheduledEvent(),
	} {
		b.Run(part, func(b *testing.B) {
			var init, first, next time.Duration
			var memory int64
			for b.Loop() {
				f := lambdatest.New(b, lambdatest.Options{Binary: bootstrap, Name: part, Handler: part, Memory: 512, Timeout: time.Minute,
					Env: append(s3test.Env(), "FUSTOR_STORE="+url)})
				cold, took := timed(b, f, payload)
				init, first = init+cold, first+took
				_, took = timed(b, f, payload)
				next += took
				memory = max(memory, f.Memory())
				f.End()
			}
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(b.N) }
			b.ReportMetric(ms(init), "ms-init")
			b.ReportMetric(ms(first), "ms-first")
			b.ReportMetric(ms(next), "ms-next")
			b.ReportMetric(float64(memory)/(1<<20), "MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// timed is one invocation, and how the process began if it did.
func timed(b *testing.B, f *lambdatest.Function, payload []byte) (init, took time.Duration) {
	b.Helper()
	began := time.Now()
	r, err := f.Invoke(b.Context(), payload)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if err != nil {
		b.Fatal(err)
	}
	took = time.Since(began)
	if r.Cold != nil {
		init = r.Cold.Init
	}
	return init, took - init
}
