package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/testkit/wait"
)

// hostile are names that must be shown safely and in one line, and be found byte for byte.
var hostile = []string{
	`<img src=x onerror="document.title='ran'">`, "evil\u202Etxt.exe", "a\nb\tc\x1bd", "bytes\xff\xfe", "  blanks  ", strings.Repeat("w", 255), "שלום עולם", "%2e%2e", `"'&amp;`, "=cmd()",
}

// tab is a tab of Chromium at the pages of a fixture's server, and what it asked that server.
type tab struct {
	t    *testing.T
	ctx  context.Context
	root string
	mu   sync.Mutex
	said []string // exceptions, and what the browser logs: violations of the policy among it
	seen []string // the calls that the page made, by path and query
}

// browseAs opens a tab of somebody whom the server does not know yet, or skips the test.
func browseAs(t *testing.T, handler http.Handler) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	b := &tab{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.seen = append(b.seen, r.URL.RequestURI())
		b.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	ctx, stop := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true)))
	ctx, cancel := context.WithTimeout(ctx, wait.Limit(30*time.Second))
	t.Cleanup(func() {
		cancel()
		stop()
		server.CloseClientConnections() // the feed
		server.Close()
	})
	b.ctx, b.root = ctx, server.URL
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		t.Fatal(err)
	}
	thrown, logged := chromedp.Events(ctx, runtime.ExceptionThrown), chromedp.Events(ctx, log.EntryAdded)
	say := func(text string) {
		b.mu.Lock()
		b.said = append(b.said, text)
		b.mu.Unlock()
	}
	go func() {
		for e, err := range thrown {
			if err != nil {
				return
			}
			say(fmt.Sprintf("%+v", e.ExceptionDetails.Exception))
		}
	}()
	go func() {
		for e, err := range logged {
			if err != nil {
				return
			}
			say(e.Entry.Text + " " + e.Entry.URL)
		}
	}()
	return b
}

// browse opens a tab that has logged in with a key, or skips the test.
func browse(t *testing.T, f *fixture, handler http.Handler) *tab {
	t.Helper()
	b := browseAs(t, handler)
	b.open("/?code=" + f.keys.NewCode(queryKey))
	return b
}

func (b *tab) open(path string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(b.root+path)); err != nil {
		b.t.Fatalf("open %s: %v", path, err)
	}
}

// eval is the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for a condition in the page.
func (b *tab) until(condition string) {
	b.t.Helper()
	last, limit := "", wait.Limit(3*time.Second)
	deadline := time.Now().Add(limit)
	for !eval[bool](b, "Boolean("+condition+")") {
		if time.Now().After(deadline) {
			last = eval[string](b, "location.pathname + location.search + '\\n' + document.body.innerText.slice(0, 3000)")
			b.t.Fatalf("not within %v: %s\n%s\n%v", limit, condition, last, b.said)
		}
		_ = eval[bool](b, "new Promise(done => setTimeout(() => done(true), 20))")
	}
}

func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		if err := chromedp.Do(b.ctx, chromedp.KeyEvent(key)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// asked are the calls since the last time that it was asked, and how many of them are of one kind.
func (b *tab) asked(of string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, uri := range b.seen {
		if strings.Contains(uri, of) {
			n++
		}
	}
	b.seen = nil
	return n
}

// clean fails the test if something was thrown or refused.
func (b *tab) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.said {
		b.t.Errorf("the browser says: %s", text)
	}
}

// busyTree has the hostile names, a directory with more entries than a map has boxes, and a deep one.
func busyTree(more ...evidence.Row) []evidence.Row {
	rows := []evidence.Row{file("/deep/er/and/deeper/found-me.bam", 7<<20), file("/deep/report.txt", 3<<20), file("/small", 1)}
	for _, name := range hostile {
		rows = append(rows, file("/hostile/"+name, 1000))
	}
	for i := range 700 {
		rows = append(rows, file(fmt.Sprintf("/many/f%04d.dat", i), int64(100_000-i)))
	}
	return treeOf(append(rows, more...)...)
}

// TestPageInABrowser: list, map, search and reports by mouse and keyboard; nothing of a name runs, and the policy is never broken.
func TestPageInABrowser(t *testing.T) {
	f := newFixture(t)
	f.base(testView, busyTree())
	b := browse(t, f, f.server.Handler())

	b.until(`document.querySelector("#app table.entries [data-row]")`)
	if title := eval[string](b, "document.title"); title != "research – Fustor" {
		t.Errorf("the title is %q", title)
	}
	// By keyboard: to the first directory, in, and back up.
	b.press(kb.Tab)
	_ = eval[bool](b, `document.querySelector("table.entries [data-row]").focus(), true`)
	b.press(kb.ArrowDown, kb.Enter)
	b.until(`location.pathname === "/browse/research/hostile" && document.querySelectorAll("tbody tr").length === ` + fmt.Sprint(len(hostile)))
	for _, want := range []string{`<img src=x onerror="document.title='ran'">`, `evil\u202etxt.exe`, `a\nb\tc\x1bd`, `bytes\xff\xfe`} {
		if shown := eval[string](b, `document.querySelector("tbody").innerText`); !strings.Contains(shown, want) {
			t.Errorf("the list does not show %s: %s", want, shown)
		}
	}
	if rows := eval[bool](b, `[...document.querySelectorAll("tbody tr")].every(r => r.offsetWidth <= document.querySelector("main").offsetWidth)`); !rows {
		t.Error("a name breaks the table")
	}
	// Every name leads to its own entry, byte for byte.
	links := eval[[]string](b, `[...document.querySelectorAll("tbody [data-row]")].map(a => a.getAttribute("href"))`)
	for _, link := range links {
		f.get(link).is(200)
	}
	_ = eval[bool](b, `[...document.querySelectorAll("[data-row]")].find(a => a.textContent.includes("\\xff")).click(), true`)
	b.until(`location.pathname === "/browse/research/hostile/bytes%FF%FE" && document.querySelector(".card h2")`)
	if copies := eval[string](b, `document.querySelector(".crumbs button").title`); !strings.Contains(copies, "byte for byte") {
		t.Errorf("a name that is no text is copied as %q", copies)
	}
	_ = eval[bool](b, `Object.defineProperty(navigator, "clipboard", {value: {writeText: t => { window.copied = t; return Promise.resolve() }}}), document.querySelector(".crumbs button").click(), true`)
	b.until(`window.copied`)
	if copied := eval[string](b, "window.copied"); copied != `$'/hostile/bytes\xff\xfe'` {
		t.Errorf("copied %q", copied)
	}

	part := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			b.t = t
			f(t)
		})
		b.t = t
	}
	part("map", b.mapPage)
	part("search", b.searchPage)
	part("insight", func(t *testing.T) {
		for report, want := range map[string]string{"owners": "1000", "extensions": ".dat", "age-size": "76.5 MiB", "largest": "found-me.bam", "duplicates": "No two files", "odd": "name", "newest": "/many", "trend": "Version", "growth": "No directory here", "changes": "Nothing has changed", "empty": "no empty directory"} {
			b.open("/browse/research?show=insight&report=" + report)
			b.until(`document.querySelector(".insight section")?.innerText.includes("` + want + `")`)
		}
		b.open("/browse/research?show=insight&report=largest&name=*.bam")
		b.until(`document.querySelectorAll(".insight tbody tr").length === 1`)
	})
	part("state", func(t *testing.T) {
		b.open("/state/research")
		b.until(`document.body.innerText.includes("No agent is connected to this view") && document.body.innerText.includes("Every change was reported")`)
		_ = eval[bool](b, `[...document.querySelectorAll("button")].find(x => x.textContent === "Scan this now").click(), true`)
		b.until(`document.querySelector(".scan-now [role=status]").textContent !== ""`) // no agent leads: the answer says so
	})
	b.forgive("503") // what the scan was refused with
	part("missing", func(t *testing.T) {
		_ = eval[bool](b, `history.pushState(null, "", "/browse/research/nothing"), dispatchEvent(new PopStateEvent("popstate")), true`)
		b.until(`document.querySelector("[role=alert]")?.innerText.includes("nothing") && document.querySelector("[role=alert] a")`)
	})
	b.forgive("404")
	b.clean()
}

// forgive drops what the browser said of a refusal that a test asked for.
// The browser says it a while after the page has shown it, so forgive waits for that.
func (b *tab) forgive(text string) {
	b.t.Helper()
	wait.For(b.t, 3*time.Second, "the browser to say "+text, func() bool { return b.forgiveAny(text) })
}

// forgiveAny drops what the browser has said with a text, and reports whether it had.
func (b *tab) forgiveAny(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.said)
	b.said = slices.DeleteFunc(b.said, func(s string) bool { return strings.Contains(s, text) })
	return len(b.said) < before
}

func (b *tab) mapPage(t *testing.T) {
	b.open("/browse/research/many?show=map")
	b.until(`document.querySelector(".map canvas")?.dataset.milliseconds`)
	if boxes := eval[int](b, `Number(document.querySelector(".map canvas").dataset.boxes)`); boxes != 501 {
		t.Errorf("a directory of 700 files has %d boxes, not 500 and the rest", boxes)
	}
	_ = eval[bool](b, `document.querySelector(".map").focus(), true`)
	b.press(kb.ArrowRight)
	b.until(`document.querySelector(".map-status").innerText.includes("f0000.dat")`)
	b.press(kb.Backspace)
	b.until(`location.pathname === "/browse/research" && location.search === "?show=map" && Number(document.querySelector(".map canvas")?.dataset.boxes) > 80`) // with what is inside
	b.press(kb.ArrowRight, kb.Enter)
	b.until(`location.pathname !== "/browse/research"`)
	where := eval[string](b, "location.pathname")
	_ = eval[bool](b, `history.back(), true`)
	b.until(`location.pathname === "/browse/research" && document.querySelector(".map canvas")?.dataset.milliseconds`)
	_ = eval[bool](b, `[...document.querySelectorAll(".choice button")].find(x => x.textContent === "Extension").click(), true`)
	b.until(`location.search.includes("color=extension") && document.querySelector(".legend")?.innerText.includes(".dat")`)
	if where != "/browse/research/many" && where != "/browse/research/deep" {
		t.Errorf("Enter led to %s", where)
	}
	for _, size := range []struct{ w, h int64 }{{390, 844}, {2560, 1440}, {1280, 800}} {
		if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(size.w, size.h)); err != nil {
			t.Fatal(err)
		}
		b.until(`document.documentElement.scrollWidth <= innerWidth && document.querySelector(".map canvas").clientWidth > 300`)
	}
}

func (b *tab) searchPage(t *testing.T) {
	b.open("/browse/research")
	b.until(`document.querySelector("#app [data-row]")`)
	b.asked("")
	b.press("/")
	b.until(`document.activeElement.type === "search"`)
	_ = eval[bool](b, `document.activeElement.select(), true`)
	b.press("f", "o")
	if n := b.asked("/search?"); n != 0 || eval[string](b, "location.search") != "" {
		t.Errorf("after two characters %d searches were made", n)
	}
	b.press("u", "n", "d", "-", "m", "e")
	b.until(`document.querySelector("mark")?.textContent === "found-me"`)
	if n := b.asked("/search?"); n == 0 || n > 3 { // each keystroke within the pause takes the one before back
		t.Errorf("while seven characters were typed, %d searches were made", n)
	}
	if at := eval[string](b, "location.search"); at != "?q=found-me" {
		t.Errorf("the address of the search has %s", at)
	}
	for _, c := range " --type d" {
		b.press(string(c))
	}
	b.until(`document.body.innerText.includes("No name matches")`)
	_ = eval[bool](b, `{ const s = document.querySelector(".chip select"); s.focus(); s.value = "0"; s.dispatchEvent(new Event("change", {bubbles: true})) } true`)
	b.until(`document.querySelector("input[type=search]").value === "found-me --type f" && document.querySelectorAll("tbody tr").length === 1`)
	_ = eval[bool](b, `document.querySelector("input[type=search]").focus(), true`)
	b.press(kb.ArrowDown, kb.Enter)
	b.until(`location.pathname === "/browse/research/deep/er/and/deeper/found-me.bam" && document.querySelector(".card")`)
	b.open("/browse/research?q=*.dat&min_size=97K") // the same address without scripts: TestSearchPageFilters
	b.until(`document.querySelectorAll("tbody tr").length === 100`)
	_ = eval[bool](b, `scrollTo(0, document.body.scrollHeight), true`)
	b.until(`document.querySelectorAll("tbody tr").length > 100`)
	line := eval[string](b, `document.querySelector(".menu pre").textContent`)
	if line != "fustor search '*.dat' --min-size 97K --view research" {
		t.Errorf("the command is %s", line)
	}
}

// TestSearchPageFilters: an address that the page made is answered by the server alone, too.
func TestSearchPageFilters(t *testing.T) {
	f := newFixture(t)
	f.base(testView, busyTree())
	for target, want := range map[string]int{
		"/browse/research?q=*.dat&min_size=98K&limit=1000": 0, "/browse/research?q=*.dat&type=f&limit=1000": 700, "/browse/research?q=*&type=d&name=deep*": 2, "/browse/research?q=*.bam&owner=1000": 1,
		"/browse/research/many?show=map&color=growth&since=1d&by=allocated": 100, "/browse/research/deep?show=insight&report=owners&min_size=1M&q=x": 2,
	} {
		page := string(f.get(target).is(200).body)
		if got := strings.Count(page, `<td class="name">`); got != want {
			t.Errorf("%s has %d rows, not %d", target, got, want)
		}
	}
	next := string(f.get("/browse/research?q=*.dat&max_size=1M&limit=2").body)
	if !strings.Contains(next, "max_size=1M") || !strings.Contains(next, "cursor=") {
		t.Errorf("the next page loses the filter: %s", next)
	}
	f.get("/browse/research?q=x&min_size=many").is(400)
	f.get("/browse/research?show=map&unknown=1").is(400)
	f.get("/browse/research?show=painting").is(400)
}

// TestPageUnderAPrefix: behind a proxy that takes a path off, pages, scripts, calls and redirects stay below it.
func TestPageUnderAPrefix(t *testing.T) {
	f := newFixture(t)
	f.base(testView, busyTree())
	for prefix, want := range map[string]string{"/tools/fustor": "/tools/fustor", "/tools/": "/tools", "//elsewhere": "", `/a"b`: "", "relative": ""} {
		a := f.get("/browse/research", "X-Forwarded-Prefix", prefix).is(200)
		if !strings.Contains(string(a.body), `src="`+want+`/web/app.js"`) || !strings.Contains(string(a.body), `href="`+want+`/browse/research/deep"`) {
			t.Errorf("prefix %q: %.600s", prefix, a.body)
		}
		if to := f.get("/", "X-Forwarded-Prefix", prefix).is(303).header.Get("Location"); to != want+"/browse/research" {
			t.Errorf("prefix %q leads to %s", prefix, to)
		}
	}
	b := browse(t, f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Forwarded-Prefix", "/tools/fustor")
		http.StripPrefix("/tools/fustor", f.server.Handler()).ServeHTTP(w, r)
	}))
	b.open("/tools/fustor/?code=" + f.keys.NewCode(queryKey))
	b.until(`location.pathname === "/tools/fustor/browse/research" && document.querySelector("#app [data-row]")`)
	_ = eval[bool](b, `document.querySelector("#app [data-row]").click(), true`)
	b.until(`location.pathname.startsWith("/tools/fustor/browse/research/") && document.querySelector("#app [data-row]")`)
	b.forgive("404") // this server has nothing at its root
	b.clean()
}

// TestPageFollowsTheView: what changes is shown without a reload, and an earlier version stays what it was.
func TestPageFollowsTheView(t *testing.T) {
	f := newFixture(t)
	rows := busyTree()
	f.base(testView, rows)
	listed := make(chan struct{})
	b := browse(t, f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch deep := strings.Contains(r.URL.RawQuery, "path=%2Fdeep"); {
		case deep && strings.HasSuffix(r.URL.Path, "/list"):
			select {
			case <-listed:
			default:
				close(listed)
			}
		case deep && strings.HasSuffix(r.URL.Path, "/metadata"): // the first list does not wait for it
			select {
			case <-listed:
			case <-time.After(wait.Limit(2 * time.Second)):
				http.Error(w, "the list was not asked for", http.StatusInternalServerError)
				return
			}
		}
		f.server.Handler().ServeHTTP(w, r)
	}))
	b.open("/browse/research/deep")
	b.until(`document.querySelector("[data-state=live]") && document.querySelectorAll("tbody tr").length === 2`)
	f.delta(testView, change(rows, busyTree(file("/deep/arrived.txt", 5))))
	b.until(`document.body.innerText.includes("arrived.txt")`)
	b.open("/browse/research/deep?as_of=1")
	b.until(`document.querySelectorAll("tbody tr").length === 2 && document.querySelector(".time.past")?.innerText.includes("+5 B")`)
	b.clean()
}

// axeVersion is the checker of accessibility that the pages are held to; npm has it.
const axeVersion = "4.14.1"

// axe is its script, downloaded once.
func axe(t *testing.T) string {
	t.Helper()
	directory, err := filepath.Abs(filepath.Join("..", ".cache", "axe-core-"+axeVersion))
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(directory, "package", "axe.min.js")
	if _, err := os.Stat(script); err != nil {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			t.Fatal(err)
		}
		pack := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "axe-core@"+axeVersion)
		pack.Dir = directory
		if said, err := pack.CombinedOutput(); err != nil {
			t.Skipf("axe-core %s cannot be had from npm: %v %s", axeVersion, err, said)
		}
		if said, err := exec.CommandContext(t.Context(), "tar", "-xzf", filepath.Join(directory, "axe-core-"+axeVersion+".tgz"), "-C", directory).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	body, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// feeding has an agent feed the view, and scan it.
func feeding(f *fixture) {
	f.t.Helper()
	const id = "01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65"
	f.putJSON(layout.Roster(testView), `{"sessions":{"`+id+`":{}},"nonce":"n"}`)
	f.put(layout.Session(testView, id), session.Record{ID: id, CreatedAt: f.now.Add(-time.Hour).UnixNano(), View: testView, Agent: "nfs07", Source: "fs://nfs07/srv", TimeoutSeconds: 1e6, Nonce: "n", AgentStatus: &pipeapi.AgentStatus{
		State: "audit", Scan: &pipeapi.RunningScan{Scan: "audit", Seconds: 100}, Directories: 1000, Files: 20000, Bytes: 5 << 30, Rates: pipeapi.Rates{Entries: 210},
		LastScan: &pipeapi.LastScan{Scan: "audit", Directories: 4000}, Coverage: "realtime", WatchMethod: "inotify"}}, 0)
	f.put(layout.Lease(testView), session.Lease{Term: 5, Session: id, TTLSeconds: 1e6}, 0)
}

// TestPageShowsScans: the state of a view says how far a scan is.
func TestPageShowsScans(t *testing.T) {
	f := newFixture(t)
	f.base(testView, busyTree())
	feeding(f)
	b := browse(t, f, f.server.Handler())
	b.open("/state/research")
	b.until(`document.querySelector("progress")?.value === 1000 && document.querySelector(".agent").innerText.includes("1,000 of about 4,000 directories, 20,000 files")`)
	b.until(`document.querySelector(".agent").innerText.includes("210 entries a second, about 5 minutes left")`)
	b.clean()
}

// TestPageIsAccessible: axe finds nothing that WCAG 2.2 AA forbids, half of the pages in each theme. FUSTOR_E2E_LONG=1 tries every page in both
// at every size, and keeps what it saw in .cache/screens.
func TestPageIsAccessible(t *testing.T) {
	checker := axe(t)
	f := newFixture(t)
	f.base(testView, busyTree())
	feeding(f)
	for i, name := range hostile {
		record := access.Record{Name: strings.ToValidUTF8(name, "?"), Roles: []access.Role{access.Query}, Views: access.AllViews, CreatedAt: f.now.UnixNano() + int64(i)}
		if err := access.Register(t.Context(), f.st, access.GenerateKey(), record); err != nil {
			t.Fatal(err)
		}
	}
	long := os.Getenv("FUSTOR_E2E_LONG") != ""
	type place struct{ path, click string } // click: a button that opens more of it
	pages := []place{{path: "/browse/research/hostile"}, {path: "/browse/research?show=map"}, {path: "/browse/research?q=*.dat&type=f"}, {path: "/browse/research?show=insight&report=extensions"}, {path: "/state/research"},
		{path: "/admin/research?section=keys", click: "New key…"}, {path: "/admin/research?section=retention"}}
	sizes := [][2]int64{{1280, 800}}
	if long {
		pages = append(pages, place{path: "/admin/research"}, place{"/admin/research", "New view…"}, place{"/admin/research", "Settings of research"}, place{"/admin/research", "Delete research"},
			place{path: "/admin/research?section=keys"}, place{path: "/admin/research?section=sessions"}, place{path: "/admin?section=cost"}, place{path: "/browse/research/deep/report.txt"}, place{path: "/browse/research?as_of=1"},
			place{path: "/browse/research?show=insight&report=age-size"}, place{path: "/browse/research?show=insight&report=largest"}, place{path: "/browse/research?show=insight&report=newest"}, place{path: "/browse/research?show=map&color=growth"})
		sizes = append(sizes, [2]int64{390, 844}, [2]int64{2560, 1440})
	}
	var b *tab
	for n, theme := range []string{"light", "dark"} {
		for _, size := range sizes {
			if b == nil || long { // a tab ends after some minutes
				b = browseAs(t, f.server.Handler())
				b.open("/?code=" + f.keys.NewCode(adminKey))
			}
			_ = eval[bool](b, `localStorage.setItem("fustor-theme", "`+theme+`"), true`)
			if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(size[0], size[1])); err != nil {
				t.Fatal(err)
			}
			for i, page := range pages {
				if !long && i%2 != n {
					continue
				}
				b.open(page.path)
				b.until(`document.querySelector("#app main")?.innerText.length > 40 && !document.querySelector(".loading") && !document.querySelector(".stale")`)
				if page.click != "" {
					b.click(page.click)
				}
				found := eval[string](b, checker+`;axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, at: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? ""))}))))`)
				var violations []struct {
					ID string   `json:"id"`
					At []string `json:"at"`
				}
				if err := json.Unmarshal([]byte(found), &violations); err != nil {
					t.Fatalf("%s: %v", found, err)
				}
				for _, v := range violations {
					t.Errorf("%s, %s, %v: %s: %q", page, theme, size, v.ID, v.At)
				}
				if wide := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
					t.Errorf("%s, %s, %v: wider than the window by %d pixels", page, theme, size, wide)
				}
				if long {
					b.keep(fmt.Sprintf("%02d-%dx%d-%s.png", i, size[0], size[1], theme))
				}
			}
			b.clean()
		}
	}
}

// keep saves what the tab shows.
func (b *tab) keep(name string) {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	directory := filepath.Join("..", ".cache", "screens")
	if err := os.MkdirAll(directory, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, name), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
