package query

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/query/engine"
)

// contentPolicy allows our style sheet, our script, its calls, and our forms, and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// TestKeyCookie: a code in the URL, once, or a key in the form, becomes a cookie that opens the pages; nothing else does.
func TestKeyCookie(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for target, next := range map[string]string{
		"/?code=": "/", "/browse/research/docs?sort=size&code=": "/browse/research/docs?sort=size", "/browse/research/b%FF?code=": "/browse/research/b%FF",
	} {
		code := f.keys.NewCode(queryKey)
		a := f.do("GET", target+code, "").is(303)
		if a.header.Get("Location") != next {
			t.Errorf("%s goes on to %s", target, a.header.Get("Location"))
		}
		checkCookie(t, f, a)
		if again := f.do("GET", target+code, "").is(401); again.header.Get("Set-Cookie") != "" || !strings.Contains(string(again.body), "This link has been used") || strings.Contains(string(again.body), code) {
			t.Errorf("%s again: %v\n%s", target, again.header, again.body)
		}
	}
	if a := f.do("GET", "/browse/research/docs?key="+queryKey, "").is(403); a.header.Get("Set-Cookie") != "" || !strings.Contains(string(a.body), "Keys in addresses") || strings.Contains(string(a.body), queryKey) {
		t.Errorf("a key in the address: %v\n%s", a.header, a.body)
	}
	old := f.keys.NewCode(queryKey)
	f.keysTurned.Add(int64(access.CodeFor))
	f.do("GET", "/?code="+old, "").is(401)
	form := func(key, next string) *answer {
		return f.do("POST", "/login", url.Values{"key": {key}, "next": {next}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	for next, want := range map[string]string{
		"/browse/research/docs": "/browse/research/docs", "/state/research": "/state/research", "": "/", "https://elsewhere/browse/": "/", "//elsewhere/browse/": "/",
		"/browse/research/x%0d%0aSet-Cookie:a": "/browse/research/x%0d%0aSet-Cookie:a", "/login": "/", `\\elsewhere`: "/",
	} {
		a := form(" "+queryKey+"\n", next).is(303)
		if a.header.Get("Location") != want {
			t.Errorf("next %q leads to %q, not %q", next, a.header.Get("Location"), want)
		}
		checkCookie(t, f, a)
	}
	for _, key := range []string{"", "wrong", ingestKey} {
		if a := form(key, "/").is(401); a.header.Get("Set-Cookie") != "" || !strings.Contains(string(a.body), "This key is unknown") {
			t.Errorf("key %q: %v", key, a.header)
		}
	}
	f.do("POST", "/login", "key="+queryKey, "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site").is(403)
	for _, from := range []string{"cross-site", "same-site"} {
		a := f.do("GET", "/browse/research/docs?code="+f.keys.NewCode(queryKey), "", "Sec-Fetch-Site", from).is(403)
		if a.header.Get("Set-Cookie") != "" || !strings.Contains(string(a.body), "A link on another site") {
			t.Errorf("a link from a page that is %s: %v\n%s", from, a.header, a.body)
		}
	}
	out := f.do("POST", "/logout", "").is(303).header.Get("Set-Cookie")
	if !strings.Contains(out, "fustor_key=;") || !strings.Contains(out, "Max-Age=0") {
		t.Errorf("logging out: %s", out)
	}
	secure := f.do("GET", "/?code="+f.keys.NewCode(queryKey), "", "X-Forwarded-Proto", "https").header.Get("Set-Cookie")
	if !strings.Contains(secure, "; Secure") {
		t.Errorf("over TLS: %s", secure)
	}
}

// TestWrongKeys: an address that sends many wrong keys is to wait, in calls and on pages; its right keys work, and so do other addresses.
func TestWrongKeys(t *testing.T) {
	f := newFixture(t)
	f.from = "192.0.2.1:1234"
	f.base(testView, sample())
	form := func(key string) *answer {
		return f.do("POST", "/login", url.Values{"key": {key}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	for i := range 20 {
		if i%2 == 0 {
			form("wrong").is(401)
		} else {
			f.do("GET", viewURL("tree"), "", "X-API-Key", "wrong").is(401)
		}
	}
	a := f.do("GET", viewURL("tree"), "", "X-API-Key", "wrong").is(429)
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 || s > 60 {
		t.Errorf("try again after %q", a.header.Get("Retry-After"))
	}
	if a := form("wrong").is(429); a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "Too many wrong keys") || !strings.Contains(string(a.body), `name="key"`) {
		t.Errorf("the page: %v\n%s", a.header, a.body)
	}
	f.do("GET", "/browse/research", "", "Cookie", "fustor_key=d3Jvbmc").is(429)
	f.do("GET", "/?code=wrong", "").is(429)
	form(queryKey).is(303)
	f.do("GET", viewURL("tree"), "", "X-API-Key", queryKey).is(200)
	f.keysTurned.Add(int64(time.Minute))
	f.do("GET", viewURL("tree"), "", "X-API-Key", "wrong").is(401)
}

func checkCookie(t *testing.T, f *fixture, a *answer) {
	t.Helper()
	set := a.header.Get("Set-Cookie")
	if !strings.Contains(set, "; HttpOnly") || !strings.Contains(set, "; SameSite=Strict") || strings.Contains(set, queryKey) {
		t.Errorf("cookie: %s", set)
	}
	cookie, _, _ := strings.Cut(set, ";")
	f.do("GET", "/browse/research", "", "Cookie", cookie).is(200)
	f.do("GET", viewURL("tree"), "", "Cookie", cookie).is(200)
	f.do("GET", viewURL("tree"), "", "Cookie", cookie, "X-API-Key", "wrong").is(401)
}

// TestBrowse: every link on every page leads to a page, whatever the names are.
func TestBrowse(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	seen, todo := map[string]bool{}, []string{"/browse/research", "/browse/research/data?q=a", "/browse/research?q=*&limit=2", "/browse/research/data?limit=2&sort=mtime"}
	for len(todo) > 0 {
		target := todo[0]
		todo = todo[1:]
		if seen[target] {
			continue
		}
		seen[target] = true
		a := f.get(target).is(200)
		if strings.HasPrefix(target, "/browse/") || strings.HasPrefix(target, "/state/") {
			if a.header.Get("Content-Security-Policy") != contentPolicy || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Fatalf("%s: %v", target, a.header)
			}
			if strings.Contains(string(a.body), "<b>'") || strings.Contains(string(a.body), "\xff") || strings.Contains(string(a.body), "ZgotmplZ") {
				t.Fatalf("%s: not escaped: %s", target, a.body)
			}
			for _, m := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(string(a.body), -1) {
				if link := strings.ReplaceAll(m[1], "&amp;", "&"); link != "/" && link != "/logout" {
					todo = append(todo, link)
				}
			}
		}
	}
	for _, want := range []string{"/browse/research/data/x", "/browse/research/data-2", "/browse/research/empty", "/state/research"} {
		if !seen[want] {
			t.Errorf("no link leads to %s: %v", want, seen)
		}
	}
	page := string(f.get("/browse/research/data").body)
	for _, want := range []string{`b<span class="raw" title="bytes that are not text">\xff</span>`, `x y&amp;&lt;b&gt;&#39;&#34;`, `\n</span>line`, "1.0 TiB"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if file := string(f.get("/browse/research/readme.txt").is(200).body); !strings.Contains(file, "10 B") {
		t.Errorf("the page of a file: %s", file)
	}
	f.get("/browse/research/nothing").is(404)
	f.get("/browse/nothing").is(404)
	f.get("/browse/research?q=[").is(400)
	f.get("/browse/research?sort=age").is(400)
	f.get("/browse/research?unknown=1").is(400)
	f.do("GET", "/browse/research", "", "X-API-Key", otherKey).is(403)
}

// TestBrowsePages: the page's pages are those of the list.
func TestBrowsePages(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	var got []string
	name := regexp.MustCompile(`(?s)<td class="name">.*?</td>`)
	tags := regexp.MustCompile(`<[^>]*>|being written\?|blind spot`)
	for target := "/browse/research?limit=2&sort=size"; target != ""; {
		page := string(f.get(target).is(200).body)
		for _, m := range name.FindAllString(page, -1) {
			got = append(got, "/"+strings.TrimSpace(tags.ReplaceAllString(m, "")))
		}
		target = ""
		if m := regexp.MustCompile(`<p class="next"><a href="([^"]*)"`).FindStringSubmatch(page); m != nil {
			target = strings.ReplaceAll(m[1], "&amp;", "&") + "&limit=2"
		}
	}
	equal(t, "pages", got, model(sample()).list("/", engine.BySize))
}

func TestIndexPage(t *testing.T) {
	f := newFixture(t)
	if page := string(f.get("/").is(200).body); !strings.Contains(page, "no views to show yet") {
		t.Errorf("without views: %s", page)
	}
	f.base(testView, sample())
	if to := f.get("/").is(303).header.Get("Location"); to != "/browse/research" {
		t.Errorf("with one view it leads to %s", to)
	}
	for _, view := range []string{"research-2", "research0", "a"} {
		f.putJSON(layout.Roster(view), `{"sessions":{},"nonce":"n"}`)
	}
	page := string(f.get("/").is(200).body)
	for _, view := range []string{"research", "research-2", "research0", "a"} {
		if !strings.Contains(page, `href="/browse/`+view+`"`) {
			t.Errorf("no link to %s: %s", view, page)
		}
	}
	if to := f.do("GET", "/", "", "X-API-Key", otherKey).is(303).header.Get("Location"); to != "/browse/other" {
		t.Errorf("a key for one view leads to %s", to)
	}
}

// TestWaitPage: while the first scan is under way there is a page that says so and looks again.
func TestWaitPage(t *testing.T) {
	f := newFixture(t)
	f.putJSON(layout.Roster("new"), `{"sessions":{},"nonce":"n"}`)
	a := f.get("/browse/new").is(http.StatusServiceUnavailable)
	if a.header.Get("Refresh") != "2" || a.header.Get("Retry-After") != "2" || !strings.Contains(string(a.body), "Nothing has arrived yet") {
		t.Errorf("before anything came: %v %s", a.header, a.body)
	}
	f.commit("new", func(m *manifest.Manifest) {
		m.Scan.SnapshotDone, m.Totals = 0, evidence.Totals{Files: 1234567, Directories: 89, Bytes: 5 << 40}
	})
	a = f.get("/browse/new/some/path").is(http.StatusServiceUnavailable)
	for _, want := range []string{"1,234,567", "89", "5.0 TiB"} {
		if !strings.Contains(string(a.body), want) {
			t.Errorf("the page lacks %s: %s", want, a.body)
		}
	}
	info := f.layer("new", sample())
	f.commit("new", func(m *manifest.Manifest) { m.Base = append(m.Base, info) })
	f.get("/browse/new").is(200)
	if _, err := f.st.Get(context.Background(), layout.Head("new")); err != nil {
		t.Fatal(err)
	}
}

// A browser gets a page with a title at a path that has none, a program a problem.
func TestUnknownPage(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/nothing", "/browse", "/favicon.ico", "/web/nothing.css"} {
		a := f.get(path, "Accept", "Text/HTML,application/xhtml+xml,*/*;q=0.8").is(404)
		if !strings.Contains(string(a.body), "<title>Not Found") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s %.300s", path, a.header.Get("Content-Type"), a.body)
		}
		f.get(path, "Accept", "*/*").problem(404, "nothing at this path")
	}
	f.get("/api/v1/nothing", "Accept", "text/html").problem(404, "nothing at this path")
}
