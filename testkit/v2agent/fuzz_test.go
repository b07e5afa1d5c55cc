package v2agent

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/fustor/fustor/internal/v2api"
)

// Whatever the body of an events call is, it is taken or refused, and what is taken can be folded.
func FuzzEvents(f *testing.F) {
	for _, source := range []string{"message", "snapshot", "audit", "on_demand_job", "job_complete", "config_report"} {
		for _, end := range []bool{false, true} {
			row := v2api.Row{Path: "/a\xff/b", Name: "b", Size: v2api.Whole(1), Modified: v2api.Seconds(15e8), IsDirectory: v2api.Of(end)}
			b, err := json.Marshal(map[string]any{"source_type": source, "is_end": end, "metadata": map[string]any{"job_id": "x"}, "events": []any{Event(v2api.Update, source, row), Event(v2api.Delete, source, row)}})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	x := newFixture(f, 1)
	a := &Agent{URL: x.urls[0], Key: key, Task: "a:p", Timeout: 86400}
	if _, err := a.Create(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := http.NewRequestWithContext(t.Context(), "POST", a.URL+"/api/v1/pipe/ingest/"+a.Session()+"/events", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-Key", key)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 && (response.StatusCode < 400 || response.StatusCode >= 500) {
			t.Fatalf("%q is answered with %d %s, %v", body, response.StatusCode, answer, err)
		}
		if response.StatusCode == 200 {
			if n, err := x.compact.Fold(t.Context(), view); err != nil {
				t.Fatalf("after %q: %d segments folded, %v", body, n, err)
			}
		}
	})
}
