//go:build unix

package e2e

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// span is one that was collected.
type span struct {
	service string
	*otlp.Span
	attributes map[string]string
}

// spans is a collector of OpenTelemetry, over HTTP.
type spans struct {
	mu  sync.Mutex
	all []span
	raw strings.Builder // everything that came, to look for what must not
}

func (c *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			panic(err)
		}
	}
	b, err := io.ReadAll(body)
	var said collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &said)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(b)
	for _, from := range said.ResourceSpans {
		service := ""
		for _, a := range from.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scope := range from.ScopeSpans {
			for _, s := range scope.Spans {
				is := map[string]string{}
				for _, a := range s.Attributes {
					is[a.Key] = a.Value.GetStringValue()
					if is[a.Key] == "" {
						is[a.Key] = fmt.Sprint(a.Value.GetIntValue())
					}
				}
				c.all = append(c.all, span{service, s, is})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// find is a span that is of a service and name, and is as wanted; nil: there is none yet.
func (c *spans) find(service, name string, is func(span) bool) *span {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.all {
		if s := &c.all[i]; s.service == service && s.GetName() == name && (is == nil || is(*s)) {
			return s
		}
	}
	return nil
}

// TestTraces: with the standard variables every part sends traces, from an agent's segment to ingest, from a fold and a question to each
// request to the store, and nothing in them says what files there are.
func TestTraces(t *testing.T) {
	sent := &spans{}
	collect := httptest.NewServer(sent)
	t.Cleanup(collect.Close)
	dir := t.TempDir()
	p := &parts{t: t, store: "file://" + t.TempDir(), env: []string{"FUSTOR_API_KEY=" + apiKey, "OTEL_EXPORTER_OTLP_ENDPOINT=" + collect.URL, "OTEL_BSP_SCHEDULE_DELAY=100",
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test"}}
	p.known(p.store)
	p.ingest, p.ingestURL = p.startServer("ingest")
	p.query, p.queryURL = p.startServer("query")
	p.compact = p.startCompact()
	p.server = server{"--url", p.queryURL, "--api-key", apiKey, "--view", viewID}
	p.startAgent(dir, "traced", "")
	if err := os.WriteFile(filepath.Join(dir, "secret-name.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dir, time.Now(), patience(settle))

	child := func(service, name string, of *span) *span {
		t.Helper()
		var found *span
		p.await(p.query, fmt.Sprintf("a span %q of %s below %q of %s", name, service, of.GetName(), of.service), func() bool {
			found = sent.find(service, name, func(s span) bool {
				return string(s.GetTraceId()) == string(of.GetTraceId()) && string(s.GetParentSpanId()) == string(of.GetSpanId())
			})
			return found != nil
		})
		return found
	}
	root := func(service, name string, is func(span) bool) *span {
		t.Helper()
		var found *span
		p.await(p.query, fmt.Sprintf("a span %q of %s", name, service), func() bool {
			found = sent.find(service, name, is)
			return found != nil
		})
		return found
	}
	segment := root("fustor-agent", "send segment", nil)
	if segment.attributes["fustor.view"] != viewID || segment.attributes["fustor.events"] == "0" {
		t.Errorf("a segment tells %v", segment.attributes)
	}
	call := child("fustor-agent", "PUT", segment)
	put := child("fustor-ingest", "PUT /api/v1/pipe/session/{id}/segments/{seq}", call)
	child("fustor-ingest", "store create", put)
	if put.attributes["http.response.status_code"] != "200" {
		t.Errorf("ingest tells %v", put.attributes)
	}
	root("fustor-agent", "scan", func(s span) bool { return s.attributes["fustor.scan"] == "snapshot" })
	fold := root("fustor-compactor", "fold", nil)
	child("fustor-compactor", "store create", fold)

	// A question is a part of the trace of whoever asks.
	trace, parent := strings.Repeat("ab", 16), strings.Repeat("cd", 8)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.queryURL+"/api/v1/views/"+viewID+"/search?pattern=*secret-name*", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", apiKey)
	request.Header.Set("traceparent", "00-"+trace+"-"+parent+"-01")
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != 200 {
		t.Fatal(answer, err)
	}
	answer.Body.Close()
	question := root("fustor-query", "GET /api/v1/views/{view_id}/search", func(s span) bool { return hex.EncodeToString(s.GetTraceId()) == trace })
	if hex.EncodeToString(question.GetParentSpanId()) != parent || question.attributes["fustor.view"] != viewID {
		t.Errorf("a question tells %v, below %x", question.attributes, question.GetParentSpanId())
	}
	if sent.find("fustor-query", "GET /healthz", nil) != nil {
		t.Error("probes are traced")
	}
	sent.mu.Lock()
	for _, secret := range []string{"secret-name", apiKey} {
		if strings.Contains(sent.raw.String(), secret) {
			t.Errorf("traces tell %q", secret)
		}
	}
	if !strings.Contains(sent.raw.String(), "deployment.environment") {
		t.Error("OTEL_RESOURCE_ATTRIBUTES does not count")
	}
	sent.mu.Unlock()
}
