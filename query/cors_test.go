package query

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
)

// corsPage asks the server at %[1]q with the key %[2]q, and shows what its script may see: a call, its headers, the same call with its ETag,
// an error, and a stream.
const corsPage = `<!doctype html><title>x</title><body><script>
const url = %[1]q + '/api/v1/views/v/', key = {'X-API-Key': %[2]q};
const show = (name, text) => { const p = document.createElement('p'); p.id = name; p.textContent = text; document.body.append(p) };
const ask = (path, headers) => fetch(url + path, {headers: headers, cache: 'no-store'});
(async () => {
	try {
		const r = await ask('metadata?path=/a', key), node = await r.json();
		show('entry', r.status + ' ' + node.size);
		show('headers', [...r.headers.keys()].filter(h => h == 'etag' || h.startsWith('fustor-version')).sort().join(' '));
		show('again', (await ask('metadata?path=/a', {...key, 'If-None-Match': r.headers.get('ETag')})).status);
		show('error', (await (await ask('metadata?path=/none', key)).json()).status);
		show('nokey', (await ask('metadata?path=/a', {})).status);
		const lines = (await (await ask('search?pattern=a', {...key, Accept: 'application/x-ndjson;end=true'})).text()).trim().split('\n');
		show('stream', lines.length);
	} catch (e) { show('failed', e) }
	show('done', 'yes');
})();
</script>`

// TestCORSInABrowser: a page of another site may call from a browser if its origin is listed, and gets nothing otherwise.
func TestCORSInABrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	f := newFixture(t)
	f.base("v", []evidence.Row{entry("/", event.Directory, 0), entry("/a", event.File, 42)})
	var page atomic.Value // a string: browsers may ask for more than the page, late
	page.Store("")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, fmt.Sprint(page.Load()))
	}))
	defer site.Close()
	for _, c := range []struct {
		name    string
		origins []string
		shown   map[string]string
	}{
		{"listed", []string{"https://a.example", site.URL}, map[string]string{"entry": "200 42", "headers": "etag fustor-version", "again": "304", "error": "404", "nokey": "401", "stream": "2"}},
		{"any", []string{"*"}, map[string]string{"entry": "200 42", "headers": "etag fustor-version", "again": "304", "error": "404", "nokey": "401", "stream": "2"}},
		{"not listed", []string{"https://a.example"}, map[string]string{"failed": "TypeError: Failed to fetch"}},
		{"off", nil, map[string]string{"failed": "TypeError: Failed to fetch"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cors, err := httpapi.NewCORS(c.origins)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(cors.Wrap(f.server.Handler()))
			defer server.Close()
			page.Store(fmt.Sprintf(corsPage, server.URL, queryKey))
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			browser := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
				"--user-data-dir="+t.TempDir(), "--virtual-time-budget=60000", "--dump-dom", site.URL)
			browser.WaitDelay = 10 * time.Second
			shown, err := browser.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, shown)
			}
			c.shown["done"] = "yes"
			for id, text := range c.shown {
				if !strings.Contains(string(shown), fmt.Sprintf(`<p id="%s">%s</p>`, id, text)) {
					t.Errorf("%s: not %q in %s", id, text, shown[strings.LastIndex(string(shown), "</script>"):])
				}
			}
		})
	}
}
