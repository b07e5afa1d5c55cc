package query

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/fustor/fustor/internal/evidence"
)

// TestCompressed: every form of answer is the same in every encoding, with the same weak ETag.
func TestCompressed(t *testing.T) {
	f := newFixture(t)
	var rows []evidence.Row
	for i := range 3000 {
		rows = append(rows, file(fmt.Sprintf("/many/f%04d", i), int64(i)))
	}
	f.base(testView, treeOf(rows...))
	server := httptest.NewServer(f.server.Handler())
	defer server.Close()
	ask := func(method, target, accept, encoding string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", queryKey)
		r.Header.Set("Accept", accept)
		r.Header.Set("Accept-Encoding", encoding) // set by hand, so that the transport leaves the answer as it is
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body io.Reader = resp.Body
		switch resp.Header.Get("Content-Encoding") {
		case "gzip":
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		case "zstd":
			d, err := zstd.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			body = d
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatalf("%s %s: %v", encoding, target, err)
		}
		return resp, string(text)
	}
	for _, call := range []string{"tree", "list?path=/many", "search?pattern=f*", "reports/largest"} {
		target := "/api/v1/views/" + testView + "/" + call
		for _, accept := range []string{"application/json", ndjsonEnd} {
			plain, want := ask("GET", target, accept, "identity")
			if plain.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s: unasked, %s", target, plain.Header.Get("Content-Encoding"))
			}
			for asked, encoding := range map[string]string{"gzip": "gzip", "zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "GZIP;q=1, zstd;q=0": "gzip", "gzip;q=0": "", "br": ""} {
				resp, got := ask("GET", target, accept, asked)
				vary := strings.Join(resp.Header.Values("Vary"), ", ")
				if resp.Header.Get("Content-Encoding") != encoding || got != want || resp.Header.Get("ETag") != plain.Header.Get("ETag") ||
					!strings.Contains(vary, "Accept-Encoding") || !strings.Contains(vary+",", "Accept,") {
					t.Errorf("%s (%s) with %q: %v, %d bytes, want %d", target, accept, asked, resp.Header, len(got), len(want))
				}
			}
			if resp, body := ask("HEAD", target, accept, "gzip"); body != "" || resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != "" {
				t.Errorf("HEAD %s: %d %v", target, resp.StatusCode, resp.Header)
			}
		}
	}
	if resp, _ := ask("GET", "/api/v1/views/"+testView+"/metadata", "", "gzip"); resp.Header.Get("Content-Encoding") != "" {
		t.Error("a short answer is compressed")
	}
	for _, file := range []string{"style.css", "app.js"} {
		if resp, _ := ask("GET", "/web/"+file, "", "gzip"); resp.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(resp.Header.Get("ETag"), "W/") {
			t.Errorf("%s is not compressed, or has a strong ETag: %v", file, resp.Header)
		}
	}
}

// TestAccept: types are compared without case, one of q=0 is not accepted, and of two the one with the higher q is sent.
func TestAccept(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "text/html": "application/json",
		"application/x-ndjson": ndjson, "Application/X-NDJSON": ndjson, "application/x-ndjson;q=0": "application/json",
		"application/x-ndjson; Q=0.0": "application/json", "application/json;q=0.5, application/x-ndjson": ndjson,
		"application/json, application/x-ndjson;q=0.5": "application/json", "application/json, application/x-ndjson": ndjson,
		"APPLICATION/X-NDJSON;END=True": ndjsonEnd, "application/x-ndjson;end=true;q=0": "application/json",
	} {
		if a := f.get(viewURL("list"), "Accept", accept).is(200); a.header.Get("Content-Type") != want {
			t.Errorf("Accept: %s answers %s, not %s", accept, a.header.Get("Content-Type"), want)
		}
	}
}
