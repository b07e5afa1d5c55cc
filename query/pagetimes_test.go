package query

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
)

// The times of docs/benchmarks.md: "The page". They are measured on a view of a store that is not made here:
//
//	go run ./tools/gentree -rows 10000000 -store file:///tmp/big -view v
//	FUSTOR_PAGE_STORE=file:///tmp/big go test ./query -run 'TestPageTimes|TestTyping' -v
func pageStore(t *testing.T) store.Store {
	t.Helper()
	url := os.Getenv("FUSTOR_PAGE_STORE")
	if url == "" {
		t.Skip("FUSTOR_PAGE_STORE names no store (tools/gentree makes one, with a view v)")
	}
	st, err := open.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// freshServer has nothing in its caches, and as much memory as `fustor query` by default.
func freshServer(t *testing.T, st store.Store) (*Server, *access.Authenticator) {
	t.Helper()
	keys, err := access.New(access.Options{Store: st, Static: []access.Static{{Key: adminKey, Record: access.Record{Name: "all", Roles: []access.Role{access.Admin}, Views: access.AllViews}}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Store: st, Authenticator: keys, Administer: true})
	if err != nil {
		t.Fatal(err)
	}
	return s, keys
}

// millionFiles makes a view with one directory of a million files beside the view v.
func millionFiles(t *testing.T, st store.Store) {
	t.Helper()
	const view, n = "million", 1_000_000
	if _, _, err := manifest.Load(t.Context(), st, view); err == nil {
		return
	}
	file := func(i int) evidence.Row {
		r := entry(fmt.Sprintf("/drop/f%07d.dat", i), event.File, int64(i%4096)*997)
		r.UID, r.MtimeNs = uint32(1000+i%50), observed-int64(i)*60e9
		return r
	}
	sub := entry("/drop", event.Directory, 4096)
	sub.Sub = evidence.Totals{LatestMtimeNs: evidence.NoMtime}.Plus(sub.Own())
	w := layer.NewWriter(layer.WriterOptions{ID: "01KBS2M3QXTB1V6X2Y8Z9A0B1C", RowsPerGroup: 0})
	for i := range n {
		sub.Sub = sub.Sub.Plus(new(file(i)).Own())
	}
	root := entry("/", event.Directory, 4096)
	root.Sub = sub.Sub.Plus(root.Own())
	for _, r := range []evidence.Row{root, sub} {
		if err := w.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := w.Append(new(file(i))); err != nil {
			t.Fatal(err)
		}
	}
	built, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := layer.Publish(t.Context(), st, view, built); err != nil {
		t.Fatal(err)
	}
	m := &manifest.Manifest{Format: manifest.Format, View: view, Version: 1, Reason: "fold", Nonce: "n", FoldedAt: observed, ObservedAt: observed, Base: []layer.Info{built.Info}, Totals: root.Sub}
	m.Scan.SnapshotDone = 1
	if _, err := manifest.Commit(context.Background(), st, m, ""); err != nil {
		t.Fatal(err)
	}
}

// shownAfter is when a condition came true, ms since the navigation began.
func shownAfter(b *tab, condition string) float64 {
	b.t.Helper()
	return eval[float64](b, `new Promise(done => { const look = () => (`+condition+`) ? done(performance.now()) : requestAnimationFrame(look); look() })`)
}

const firstPaint = `performance.getEntriesByType("paint").find(p => p.name === "first-contentful-paint")?.startTime ?? 0`

// TestPageTimes: first paint, and when what was asked for is there, of each place: by a server and a browser with empty caches, and again.
func TestPageTimes(t *testing.T) {
	st := pageStore(t)
	millionFiles(t, st)
	listed := `document.querySelectorAll("#app tbody tr").length > 0 && !document.querySelector("#app .loading")`
	drawn := `document.querySelector(".map canvas")?.dataset.milliseconds`
	pages := []struct {
		what, path, until string
	}{
		{"list of the root", "/browse/v", listed},
		{"list of a million files", "/browse/million/drop", listed},
		{"search for a name", "/browse/v?q=run0042", `document.querySelector(".counted") && !document.querySelector(".stale")`},
		{"map of the root", "/browse/v?show=map", drawn},
		{"map of a million files", "/browse/million/drop?show=map", drawn},
		{"owners", "/browse/v?show=insight", listed},
		{"state", "/state/v", `document.querySelectorAll("#app section").length > 4 && !document.querySelector("#app .loading")`},
		{"administration: views", "/admin/v", listed},
	}
	t.Logf("| page | first paint, cold | there, cold | first paint, warm | there, warm |")
	var more []string
	for _, p := range pages {
		s, keys := freshServer(t, st)
		b := browseAs(t, s.Handler())
		b.open("/?code=" + keys.NewCode(adminKey)) // the cookie; the view of a list of views costs its heads
		var cells []string
		for try := range 2 {
			if try == 0 {
				if _, err := chromedp.Call(b.ctx, network.ClearBrowserCache, cdp.Empty{}); err != nil {
					t.Fatal(err)
				}
			}
			b.open(p.path)
			there := shownAfter(b, p.until)
			cells = append(cells, fmt.Sprintf("%.0f ms", eval[float64](b, firstPaint)), fmt.Sprintf("%.0f ms", there))
		}
		t.Logf("| %s | %s |", p.what, strings.Join(cells, " | "))
		if strings.HasPrefix(p.what, "map") {
			d := eval[string](b, `document.querySelector(".map canvas").dataset.milliseconds`)
			more = append(more, fmt.Sprintf("| %s: drawn after its answer | %s ms |", p.what, d))
			if took, err := strconv.ParseFloat(d, 64); err != nil || took > 200 {
				t.Errorf("%s: drawn %s ms after its answer", p.what, d)
			}
		}
		b.clean()
	}
	for _, line := range more {
		t.Log(line)
	}
}

// counting is a handler that notes what the searches that it answers took.
type counting struct {
	next     http.Handler
	mu       sync.Mutex
	searches int
	left     int // whose client had gone
	took     time.Duration
	bytes    int64
}

type countedBody struct {
	http.ResponseWriter
	n int64
}

func (c *countedBody) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

func (c *countedBody) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/search") {
		c.next.ServeHTTP(w, r)
		return
	}
	out, began := &countedBody{ResponseWriter: w}, time.Now()
	c.next.ServeHTTP(out, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.searches++
	c.took += time.Since(began)
	c.bytes += out.n
	if r.Context().Err() != nil {
		c.left++
	}
}

// typed are words that people look for, of the names that tools/gentree makes and of those that are not there.
var typed = []string{"run0042", "sample", "calibration", "notes2019", "nowhere", "archive", "checkpoint", "thesis-final"}

// TestTypingInABrowser: what a server does for each keystroke while one types into the box of search.
func TestTypingInABrowser(t *testing.T) {
	s, keys := freshServer(t, pageStore(t))
	c := &counting{next: s.Handler()}
	b := browseAs(t, c)
	b.open("/browse/v?code=" + keys.NewCode(adminKey))
	b.until(`document.querySelector("#app [data-row]")`)
	strokes := 0
	for _, word := range typed {
		b.press("/")
		b.until(`document.activeElement.type === "search"`)
		_ = eval[bool](b, `document.activeElement.select(), true`)
		for _, key := range word {
			b.press(string(key))
			strokes++
			_ = eval[bool](b, `new Promise(done => setTimeout(() => done(true), 150))`) // 80 words a minute
		}
		b.until(`new URLSearchParams(location.search).get("q") === ` + strconv.Quote(word) + ` && document.querySelector(".counted, .empty") && !document.querySelector(".stale")`)
		_ = eval[bool](b, `document.activeElement.blur(), true`)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := float64(strokes)
	t.Logf("%d keystrokes: %d searches (%.2f each), %d of them overtaken; %.1f ms and %.1f KB for each keystroke", strokes, c.searches, float64(c.searches)/n, c.left, float64(c.took.Microseconds())/1000/n, float64(c.bytes)/1000/n)
	if c.searches > strokes {
		t.Errorf("%d searches for %d keystrokes", c.searches, strokes)
	}
}

// TestTypingByFifty: fifty people type at once, as the page does: from the third character on a search 120 ms after each keystroke, which the next
// keystroke cancels.
func TestTypingByFifty(t *testing.T) {
	s, _ := freshServer(t, pageStore(t))
	c := &counting{next: s.Handler()}
	server := httptest.NewServer(c)
	defer server.Close()
	const people, words, pause = 50, 6, 120 * time.Millisecond
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: people, MaxConnsPerHost: 0}}
	var mu sync.Mutex
	var took []time.Duration
	var failed []string
	ask := func(ctx context.Context, text string) error {
		r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/views/v/search?path=%2F&limit=100&pattern="+text, nil)
		if err != nil {
			return err
		}
		r.Header.Set("X-API-Key", adminKey)
		a, err := client.Do(r)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		var body [4096]byte
		for {
			if _, err := a.Body.Read(body[:]); err != nil {
				break
			}
		}
		if a.StatusCode != 200 {
			return fmt.Errorf("%s: %d", text, a.StatusCode)
		}
		return ctx.Err()
	}
	began := time.Now()
	var all sync.WaitGroup
	for person := range people {
		all.Go(func() {
			for w := range words {
				word := typed[(person+w)%len(typed)]
				ctx, cancel := context.WithCancel(t.Context())
				for i := range word {
					cancel()
					ctx, cancel = context.WithCancel(t.Context())
					last := i == len(word)-1
					if i+1 >= 3 {
						at := time.Now()
						run := func(ctx context.Context) {
							select {
							case <-time.After(pause):
							case <-ctx.Done():
								return
							}
							err := ask(ctx, word[:i+1])
							mu.Lock()
							defer mu.Unlock()
							if ctx.Err() == nil && err != nil {
								failed = append(failed, err.Error())
							} else if err == nil {
								took = append(took, time.Since(at)-pause)
							}
						}
						if last {
							run(ctx)
							continue
						}
						all.Go(func() { run(ctx) })
					}
					time.Sleep(time.Duration(120+(person*37+i*53)%160) * time.Millisecond) // people do not type in step
				}
				cancel()
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	at := func(q float64) time.Duration {
		return took[min(len(took)-1, int(q*float64(len(took))))].Round(time.Millisecond / 10)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d people, %v: %d searches, %d of them overtaken, %d answered: p50 %v, p99 %v, at most %v; peak memory of the process, the people included, %s", people, time.Since(began).Round(time.Second), c.searches, c.left, len(took), at(0.5), at(0.99), took[len(took)-1].Round(time.Millisecond/10), peakMemory())
	if len(failed) > 0 {
		t.Errorf("%d failed, such as %s", len(failed), failed[0])
	}
}

// peakMemory is what Linux says that this process had at most.
func peakMemory() string {
	body, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return fmt.Sprintf("%d MiB", kb>>10)
		}
	}
	return cmp.Or("", "not known")
}
