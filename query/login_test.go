package query

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/openid"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/issuer"
)

// hostUser is a user of every Linux host, with the uid 1.
const hostUser = "daemon"

// TestPagesForUsers: pages of views that differ only in what a user may not see are the same, byte for byte.
func TestPagesForUsers(t *testing.T) {
	all, without := shared()
	open := func(rows []evidence.Row, errors int) (*fixture, string) {
		f := newFixture(t)
		info := f.layer(testView, rows)
		f.commit(testView, func(m *manifest.Manifest) {
			m.Base, m.Totals = append(m.Base, info), rows[0].Sub
			m.Scan.ErrorCount = uint64(errors)
			for range errors {
				m.Scan.Errors = append(m.Scan.Errors, manifest.ScanError{Path: []byte("/closed/hidden-dir"), Message: "permission denied"})
			}
		})
		return f, f.userKey(alice)
	}
	a, aliceA := open(all, 1)
	b, aliceB := open(without, 0)
	b.now = a.now
	cursors := regexp.MustCompile(`cursor=[^"]*|Request-Id:\[[^]]*`)
	canonical := func(of *answer) string {
		return cursors.ReplaceAllString(fmt.Sprint(of.status, of.header, string(of.body)), "")
	}
	shown := 0
	for _, page := range []string{"/", "/closed", "/closed/hidden.log", "/home", "/home/alice", "/home/bob", "/home/bob/public", "/project", "/project/locked",
		"/listed", "/listed/known-by-name", "/none", "/closed/none"} {
		for _, params := range []string{"", "?sort=size", "?sort=mtime", "?limit=2", "?q=.log", "?q=hidden", "?q=*&limit=3"} {
			target := "/browse/" + testView + page + params
			one, other := a.do("GET", target, "", "X-API-Key", aliceA), b.do("GET", target, "", "X-API-Key", aliceB)
			if x, y := canonical(one), canonical(other); x != y {
				t.Fatalf("%s: what is hidden shows:\n%s\nbut without it\n%s", target, x, y)
			}
			if strings.Contains(string(one.body), "hidden.log</a>") {
				t.Errorf("%s names what is hidden", target)
			}
			if one.status == http.StatusOK {
				shown++
			}
		}
	}
	if shown < 40 {
		t.Errorf("only %d pages were shown", shown)
	}
	root := string(a.do("GET", "/browse/"+testView+"/project", "", "X-API-Key", aliceA).is(200).body)
	if !strings.Contains(root, "data.log") || !strings.Contains(root, "<b>2 files</b>") || strings.Contains(root, "/state/") {
		t.Errorf("the page of a directory:\n%s", root)
	}
	a.do("GET", "/state/"+testView, "", "X-API-Key", aliceA).is(http.StatusForbidden)
	a.do("GET", "/", "", "X-API-Key", aliceA).is(http.StatusSeeOther)
}

// withProvider is a server whose view is open to the users of an OpenID provider: /mine is of hostUser, and /theirs is closed to it.
func withProvider(t *testing.T) (*fixture, *Server, *issuer.Issuer) {
	t.Helper()
	if exec.Command("getent", "passwd", hostUser).Run() != nil {
		t.Skip("getent, or its user " + hostUser + ", is missing")
	}
	f := newFixture(t)
	f.base(testView, treeOf(owned("/", 0o755, 0, 0), owned("/mine", 0o700, 1, 1), file("/mine/seen.log", 1), owned("/theirs", 0o700, 1002, 1002), file("/theirs/hidden.log", 1)))
	config := viewconfig.Default(testView)
	config.OpenTo = []string{viewconfig.OpenToOIDC}
	if err := viewconfig.Save(t.Context(), f.st, config); err != nil {
		t.Fatal(err)
	}
	provider := issuer.New(t)
	tokens, err := openid.New(openid.Options{Issuer: provider.URL(), Audience: "fustor"})
	if err != nil {
		t.Fatal(err)
	}
	tokens.Find(t.Context())
	keys, err := access.New(access.Options{Store: f.st, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Store: f.st, Authenticator: keys})
	if err != nil {
		t.Fatal(err)
	}
	return f, s, provider
}

// TestBrowserLogsInWithProvider: Chromium logs in with the provider by the page's link, and shows what that user may see: in a directory,
// in a search, and in none that is closed. After the logout it shows nothing.
func TestBrowserLogsInWithProvider(t *testing.T) {
	_, s, provider := withProvider(t)
	provider.LogIn(hostUser, "")
	b := browseAs(t, s.Handler())
	b.open("/browse/" + testView)
	b.until(`document.querySelector('a[href^="/login/oidc"]')`)
	if text := eval[string](b, "document.body.innerText"); strings.Contains(text, "mine") {
		t.Fatalf("before the login: %s", text)
	}
	b.mu.Lock()
	b.said = nil // the page answers 401, which the browser logs
	b.mu.Unlock()
	b.open(eval[string](b, `document.querySelector('a[href^="/login/oidc"]').getAttribute("href")`))
	b.until(`location.pathname === "/browse/` + testView + `" && document.body.innerText.includes("mine")`)
	b.open("/browse/" + testView + "/mine")
	b.until(`document.body.innerText.includes("seen.log")`)
	b.open("/browse/" + testView + "?q=*.log")
	b.until(`document.body.innerText.includes("seen.log")`)
	if text := eval[string](b, "document.body.innerText"); strings.Contains(text, "hidden.log") {
		t.Errorf("a search shows what is hidden: %s", text)
	}
	if token := eval[string](b, "document.cookie"); strings.Contains(token, "fustor_token") {
		t.Errorf("scripts can read the token: %s", token)
	}
	b.mu.Lock()
	if len(b.said) > 0 {
		t.Errorf("the browser says %q", b.said)
	}
	b.mu.Unlock()
	b.open("/browse/" + testView + "/theirs")
	b.until(`document.body.innerText.includes("may not list")`)
	b.open("/browse/" + testView)
	b.until(`[...document.querySelectorAll("#app [data-row]")].some(a => a.innerText === "theirs")`)
	_ = eval[bool](b, `[...document.querySelectorAll("#app [data-row]")].find(a => a.innerText === "theirs").click(), true`)
	b.until(`document.querySelector("#app main [role=alert]")?.innerText.includes("may not list")`)
	if text := eval[string](b, "document.body.innerText"); strings.Contains(text, "hidden.log") {
		t.Errorf("a closed directory: %s", text)
	}
	_ = eval[bool](b, `fetch("/logout", {method: "POST"}).then(() => true)`)
	b.open("/browse/" + testView + "/mine")
	b.until(`document.querySelector('a[href^="/login/oidc"]') && !document.body.innerText.includes("seen.log")`)
}

// TestLoginWithProvider logs a browser in with an OpenID provider, which then reads pages and calls as that user.
func TestLoginWithProvider(t *testing.T) {
	f, s, provider := withProvider(t)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	browser := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Client{Jar: jar}
	}
	open := func(c *http.Client, path string) (status int, at *url.URL, header http.Header, body string) {
		t.Helper()
		resp, err := c.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Request.URL, resp.Header, string(text)
	}
	const page = "/browse/" + testView + "/mine"
	c := browser()
	status, _, _, body := open(c, page)
	link := regexp.MustCompile(`href="(/login/oidc[^"]*)"`).FindStringSubmatch(body)
	if status != http.StatusUnauthorized || link == nil {
		t.Fatalf("%d %s", status, body)
	}
	provider.LogIn(hostUser, "")
	status, at, _, body := open(c, link[1])
	if status != http.StatusOK || at.Path != page || !strings.Contains(body, "seen.log") {
		t.Fatalf("after the login: %d at %s\n%s", status, at, body)
	}
	if status, _, _, _ := open(c, "/browse/"+testView+"/theirs"); status != http.StatusForbidden {
		t.Errorf("another's directory: %d", status)
	}
	status, _, header, body := open(c, "/api/v1/views/"+testView+"/search?pattern=*.log")
	if status != http.StatusOK || !strings.Contains(body, "seen.log") || strings.Contains(body, "hidden.log") {
		t.Errorf("a call with the cookie: %d %s", status, body)
	}
	if got := header.Get("Cache-Control"); !strings.Contains(got, "private") && got != "no-store" {
		t.Errorf("caches shared by users may keep the answer: %q", got)
	}
	here, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	token := ""
	for _, cookie := range c.Jar.Cookies(here) {
		switch cookie.Name {
		case "fustor_token":
			token = cookie.Value
		default:
			t.Errorf("the cookie %s is left", cookie.Name)
		}
	}
	// Another browser with that answer of the provider, and one with a link to it.
	for name, path := range map[string]string{"a login that was not begun here": "/login/return?code=x&state=y", "without anything": "/login/return"} {
		other := browser()
		if status, _, _, body := open(other, path); status != http.StatusForbidden || len(other.Jar.Cookies(here)) != 0 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _, _, body := open(browser(), "/login/return?error=access_denied&error_description=<script>"); status != http.StatusForbidden || strings.Contains(body, "<script>") || !strings.Contains(body, "access_denied") {
		t.Errorf("a refusal of the provider: %d %s", status, body)
	}
	// The login leads to pages of this server alone.
	if _, at, _, _ := open(c, "/login/oidc?next=https://example.org/"); at.Host != here.Host {
		t.Errorf("the login leads to %s", at)
	}
	r, err := http.NewRequest("GET", server.URL+"/login/oidc", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-Proto", "https")
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cookie := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %s lacks %s", cookie, want)
		}
	}
	if to := resp.Header.Get("Location"); !strings.Contains(to, "code_challenge_method=S256") || !strings.Contains(to, url.QueryEscape("https://"+here.Host+"/login/return")) {
		t.Errorf("the login begins at %s", to)
	}
	// A logout forgets the token.
	out, err := http.NewRequest("POST", server.URL+"/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err = c.Do(out)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if status, _, _, _ := open(c, page); status != http.StatusUnauthorized {
		t.Errorf("after the logout: %d", status)
	}
	if got := f.serverAs(s, page, token); got != http.StatusOK {
		t.Errorf("the token as bearer: %d", got)
	}
}

// serverAs is the status of a page for the bearer of a token.
func (f *fixture) serverAs(s *Server, target, token string) int {
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Code
}
