package query

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/viewconfig"
)

// cookieOf is the header of a browser that has logged in with a key.
func cookieOf(key string) string {
	return "fustor_key=" + base64.RawURLEncoding.EncodeToString([]byte(key))
}

// TestAdminByCookie: a browser's cookie administers from the server's own pages alone; a key in a header from anywhere.
func TestAdminByCookie(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	n := 0
	create := func(header ...string) *answer {
		n++
		return f.do("POST", admin.Prefix+"/views", fmt.Sprintf(`{"view_id":"made-%d"}`, n), append(header, "Content-Type", "application/json")...)
	}
	of := cookieOf(adminKey)
	for _, own := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://example.com"}, {"Origin", "https://example.com"}} { // the host of these requests
		create(append(own, "Cookie", of)...).is(201)
		f.do("GET", admin.Prefix+"/keys", "", append(own, "Cookie", of)...).is(200)
	}
	for _, other := range [][]string{{}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "none"}, {"Origin", "https://elsewhere"}, {"Origin", "null"},
		{"Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"}, {"Origin", "http://example.com:8080"}} {
		create(append(other, "Cookie", of)...).is(401)
		create(append(other, "X-API-Key", adminKey)...).is(201)
		if len(other) > 0 {
			f.do("GET", admin.Prefix+"/keys", "", append(other, "Cookie", of)...).is(401)
		}
	}
	f.do("GET", admin.Prefix+"/keys", "", "Cookie", of).is(200)
	create("Cookie", cookieOf(queryKey), "Sec-Fetch-Site", "same-origin").is(403)
	create("Cookie", cookieOf(f.userKey(alice)), "Sec-Fetch-Site", "same-origin").is(403)

	// What was changed is what the next question sees.
	f.do("PATCH", admin.Prefix+"/views/"+testView, `{"live":true,"user_scans_per_hour":3}`, "X-API-Key", adminKey).is(200)
	if c, err := f.server.engine.Settings(t.Context(), testView); err != nil || c.UserScans != 3 {
		t.Errorf("the settings after a change: %+v %v", c, err)
	}
	f.do("DELETE", admin.Prefix+"/views/"+testView, "", "X-API-Key", adminKey).is(200)
	f.call("list").is(404)
}

// TestAdminWhereItIsNot: a server that does not administer has no such calls, and tells its administrators so; others are told nothing.
func TestAdminWhereItIsNot(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	user := f.userKey(alice)
	body := func(target, key string) string {
		a := f.do("GET", target, "", "X-API-Key", key, "Accept", "text/html")
		return strings.ReplaceAll(fmt.Sprint(a.status, a.header, string(a.body)), a.header.Get("Request-Id"), "")
	}
	for _, key := range []string{queryKey, user} {
		for _, target := range []string{"/admin", "/admin/" + testView, "/admin/none", "/admin?section=keys"} {
			if got, want := body(target, key), body(strings.Replace(target, "admin", "nothing", 1), key); got != want {
				t.Errorf("%s is answered\n%s\nand what is not there\n%s", target, got, want)
			}
		}
		for _, target := range []string{"/", "/browse/" + testView, "/state/" + testView} {
			if strings.Contains(strings.ToLower(body(target, key)), "admin") && !strings.Contains(body(target, key), "403") {
				t.Errorf("%s speaks of administration", target)
			}
		}
	}
	if login := f.do("GET", "/admin/"+testView+"?section=keys", "", "Accept", "text/html").is(401); !strings.Contains(string(login.body), `value="/admin/research?section=keys"`) {
		t.Errorf("the login does not lead back: %s", login.body)
	}
	if here := body("/browse/"+testView, adminKey); !strings.Contains(here, `data-admin="here"`) {
		t.Errorf("an administrator's page: %.800s", here)
	}
	s, err := New(Options{Store: f.st, Authenticator: f.keys})
	if err != nil {
		t.Fatal(err)
	}
	f.server = s
	if there := body("/admin", adminKey); !strings.Contains(there, `data-admin="elsewhere"`) || !strings.Contains(there, "fustor admin") {
		t.Errorf("where it is not: %s", there)
	}
	for _, method := range []string{"GET", "POST"} { // the document of such a server does not have them
		r := httptest.NewRequest(method, admin.Prefix+"/keys", strings.NewReader("{}"))
		r.Header.Set("Cookie", cookieOf(adminKey))
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("X-API-Key", adminKey)
		w := httptest.NewRecorder()
		if s.Handler().ServeHTTP(w, r); w.Code != 404 {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	b := browseAs(t, s.Handler())
	b.open("/admin?code=" + f.keys.NewCode(adminKey))
	b.until(`document.querySelector(".admin")?.innerText.includes("fustor admin view list") && document.querySelector(".admin").innerText.includes("This server only reads")`)
	b.clean()
}

// TestCostOfViews: the estimate is of what the views are.
func TestCostOfViews(t *testing.T) {
	f := newFixture(t)
	none := f.do("GET", admin.Prefix+"/cost", "", "X-API-Key", adminKey).is(200).object()
	f.dated = true
	f.base(testView, sample())
	feeding(f)
	some := f.do("GET", admin.Prefix+"/cost?queries=100000", "", "X-API-Key", adminKey).is(200).object()
	total := func(of map[string]any) float64 {
		return of["estimate"].(map[string]any)["dollars"].(map[string]any)["total"].(float64)
	}
	w := some["estimate"].(map[string]any)["workload"].(map[string]any)
	if total(none) >= total(some) || w["views"] != 1.0 || w["agents"] != 1.0 || w["files"].(float64) < 10 || w["queries_per_day"] != 100000.0 || some["events_per_second_counted"] != nil {
		t.Errorf("of no view %v, of one %v", total(none), some)
	}
	f.now = f.now.Add(time.Hour)
	f.commit(testView, func(m *manifest.Manifest) { m.Counted.Events += 7200 })
	counted := f.do("GET", admin.Prefix+"/cost", "", "X-API-Key", adminKey).is(200).object()
	if rate, ok := counted["events_per_second_counted"].(float64); !ok || rate != 2 || counted["estimate"].(map[string]any)["workload"].(map[string]any)["events_per_second"] != rate {
		t.Errorf("after events: %v", counted)
	}
	f.do("GET", admin.Prefix+"/cost?events=x", "", "X-API-Key", adminKey).is(400)
}

// TestSettingsAreDescribed: every setting that there is, by its JSON name, once.
func TestSettingsAreDescribed(t *testing.T) {
	body, err := json.Marshal(viewconfig.Config{Members: []string{"a"}, Mounts: []string{"b"}, OpenTo: []string{"c"}, RootSquash: true, TrustModes: true})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "view_id")
	for _, s := range viewconfig.Settings() {
		if _, there := fields[s.Name]; !there || s.Title == "" || s.Text == "" || !strings.HasPrefix(s.Flag, "--") {
			t.Errorf("setting %+v", s)
		}
		delete(fields, s.Name)
	}
	for name := range fields {
		t.Errorf("%s is not described", name)
	}
}

// click clicks the button with a label, an accessible one or what it says.
func (b *tab) click(label string) {
	b.t.Helper()
	quoted, _ := json.Marshal(label)
	find := `[...document.querySelectorAll("button")].find(x => x.offsetParent && !x.disabled && (x.getAttribute("aria-label") ?? x.innerText.trim()) === ` + string(quoted) + `)`
	b.until(find)
	_ = eval[bool](b, find+`.click(), true`)
}

// fill types into the field with a label.
func (b *tab) fill(label, text string) {
	b.t.Helper()
	l, _ := json.Marshal(label)
	v, _ := json.Marshal(text)
	find := `[...document.querySelectorAll("input, textarea, select")].find(x => x.offsetParent && ((x.getAttribute("aria-label") ?? "").startsWith(` + string(l) + `) || x.labels?.[0]?.innerText.startsWith(` + string(l) + `)))`
	b.until(find)
	_ = eval[bool](b, `{ const x = `+find+`; x.focus(); Object.getOwnPropertyDescriptor(Object.getPrototypeOf(x), "value").set.call(x, `+string(v)+`); x.dispatchEvent(new Event("input", {bubbles: true})); x.dispatchEvent(new Event("change", {bubbles: true})) } true`)
}

// TestPageForAdministrators: views, keys, sessions, retention and cost on the page, as an administrator makes and unmakes them.
func TestPageForAdministrators(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	feeding(f)
	b := browseAs(t, f.server.Handler())
	b.open("/browse/" + testView + "?code=" + f.keys.NewCode(adminKey))
	b.until(`[...document.querySelectorAll("nav.tabs a")].some(a => a.innerText === "Administration")`)
	_ = eval[bool](b, `[...document.querySelectorAll("nav.tabs a")].find(a => a.innerText === "Administration").click(), true`)
	b.until(`location.pathname === "/admin/research" && document.querySelector(".admin tbody")?.innerText.includes("nfs07")`)

	// Views: a new one, with a setting; one that is there already; bounds; a change.
	b.click("New view…")
	b.fill("Name", "scratch")
	b.fill("Audit every", "9d")
	b.until(`document.querySelector(".wrong-text")?.innerText.includes("1s to 7d")`)
	b.fill("Audit every", "12h")
	b.until(`!document.querySelector(".wrong-text") && document.querySelector(".new .shell").innerText.includes("fustor admin view create scratch --audit-interval 12h")`)
	b.click("Create the view")
	b.until(`document.querySelector(".admin tbody").innerText.includes("scratch") && document.body.innerText.includes("fustor agent DIR --view scratch")`)
	if c := f.do("GET", admin.Prefix+"/views/scratch", "", "X-API-Key", adminKey).is(200).object()["config"].(map[string]any); c["audit_interval_sec"] != 43200.0 || c["hot_s"] != 60.0 {
		t.Errorf("the new view has %v", c)
	}
	b.click("New view…")
	b.fill("Name", "scratch")
	b.click("Create the view")
	b.until(`document.querySelector("[role=alert]")?.innerText.includes("already has settings")`)
	b.forgive("409")
	b.click("New view…")
	b.click("Settings of scratch")
	b.fill("Keep daily", "unlimited")
	b.click("Save")
	b.until(`document.querySelector(".settings [role=status]")?.innerText.includes("Saved")`)
	if c := f.do("GET", admin.Prefix+"/views/scratch", "", "X-API-Key", adminKey).is(200).object()["config"].(map[string]any); c["keep_daily"] != -1.0 || c["audit_interval_sec"] != 43200.0 {
		t.Errorf("the changed view has %v", c)
	}
	b.click("Delete scratch") // only once its name is typed; Escape takes it back
	b.until(`document.querySelector("dialog[open] [type=submit]").disabled`)
	b.press(kb.Escape)
	b.until(`!document.querySelector("dialog[open]")`)
	b.click("Delete scratch")
	b.fill("Type scratch", "scratch")
	b.click("Delete")
	b.until(`!document.querySelector(".admin tbody").innerText.includes("scratch")`)
	b.click("Delete research") // an agent feeds it
	b.fill("Type research", "research")
	b.click("Delete")
	b.until(`document.querySelector("dialog[open] [role=alert]")?.innerText.includes("live session")`)
	b.forgive("409")
	b.press(kb.Escape)

	// Keys: told once; hostile names are text.
	_ = eval[bool](b, `[...document.querySelectorAll(".sections a")].find(a => a.innerText === "Keys").click(), true`)
	b.until(`location.search === "?section=keys"`)
	name := `<img src=x onerror="document.title='ran'">` + "\u202Egnp.exe"
	b.click("New key…")
	b.fill("Name, for people", name)
	b.click("Make the key")
	b.until(`document.querySelector(".secret")`)
	secret := eval[string](b, `document.querySelector(".secret").innerText`)
	if record, err := f.keys.Authenticate(t.Context(), secret); err != nil || record.Name != name || fmt.Sprint(record.Roles, record.Views.Names) != "[query] [research]" || record.ExpiresAt == 0 {
		t.Errorf("the key is %+v, %v", record, err)
	}
	if !eval[bool](b, `document.activeElement.className.includes("told")`) {
		t.Error("the new key does not have the focus")
	}
	b.click("I have it")
	b.until(`!document.querySelector(".secret") && [...document.querySelectorAll("tbody .raw")].some(x => x.innerText === "\\u202e")`)
	if eval[bool](b, `document.documentElement.outerHTML.includes(`+fmt.Sprintf("%q", secret)+`) || JSON.stringify([localStorage, sessionStorage, history.state, location.href]).includes(`+fmt.Sprintf("%q", secret)+`)`) {
		t.Error("the page still has the key")
	}
	b.click("Revoke " + name)
	b.click("Revoke")
	b.until(`document.body.innerText.includes("The store has no keys")`)

	// Sessions, retention, cost.
	_ = eval[bool](b, `[...document.querySelectorAll(".sections a")].find(a => a.innerText === "Sessions").click(), true`)
	b.until(`document.querySelector(".admin tbody")?.innerText.includes("fs://nfs07/srv")`)
	b.click("End the session of nfs07")
	b.click("End")
	b.until(`document.querySelector(".admin tbody")?.innerText.includes("ended") || document.body.innerText.includes("No agent feeds this view")`)
	_ = eval[bool](b, `[...document.querySelectorAll(".sections a")].find(a => a.innerText === "Retention").click(), true`)
	b.fill("Name of the pin", "before-cleanup")
	b.click("Pin")
	b.until(`document.querySelector(".pin")?.innerText.includes("before-cleanup")`)
	b.click("Unpin before-cleanup")
	b.click("Unpin")
	b.until(`!document.querySelector(".pin")`)
	b.click("What would the next run remove?")
	b.until(`document.querySelector("[role=alert]")?.innerText.includes("does not run retention")`) // this server was given none
	b.forgive("501")
	_ = eval[bool](b, `[...document.querySelectorAll(".sections a")].find(a => a.innerText === "Cost").click(), true`)
	b.until(`document.querySelector(".admin")?.innerText.includes("readers' keys are read") && document.querySelector(".admin .shell").innerText.includes("fustor cost --files")`)
	if title := eval[string](b, "document.title"); title != "Administration – Fustor" {
		t.Errorf("the title is %q", title)
	}
	b.clean()
}

// TestAdminWithoutTheRight: where the store refuses, the page and the call say so, and what to do instead.
func TestAdminWithoutTheRight(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.register(administrator, access.Admin)
	g := serve(t, readOnly{f.st})
	g.do(http.MethodPost, admin.Prefix+"/views", `{"view_id":"new"}`, "X-API-Key", administrator).problem(501, "may not write")
}

// walk goes by Tab to the element with a label, an accessible one or what it says, or fails the test; with Shift backwards.
func (b *tab) walk(label string, with ...chromedp.KeyOption) {
	b.t.Helper()
	is := fmt.Sprintf(`Boolean((x => x !== document.body && ((x.getAttribute("aria-label") ?? "").startsWith(%[1]q) || x.innerText?.trim().startsWith(%[1]q) || x.labels?.[0]?.innerText.startsWith(%[1]q)))(document.activeElement))`, label)
	for range 120 {
		if err := chromedp.Do(b.ctx, chromedp.KeyEvent(kb.Tab, with...)); err != nil {
			b.t.Fatal(err)
		}
		if eval[bool](b, is) {
			return
		}
	}
	b.t.Fatalf("Tab does not lead to %q\n%s", label, eval[string](b, "document.body.innerText.slice(0, 2000)"))
}

// TestPageByKeyboard: every tab by Tab, Enter, arrows and letters alone; after what was chosen is gone, the next key goes on at the content.
func TestPageByKeyboard(t *testing.T) {
	f := newFixture(t)
	f.base(testView, busyTree())
	feeding(f)
	b := browseAs(t, f.server.Handler())
	b.open("/browse/" + testView + "?code=" + f.keys.NewCode(adminKey))
	b.until(`document.querySelector("#app [data-row]")`)
	kept := func(after string) {
		t.Helper()
		b.until(`document.activeElement !== document.body && document.activeElement.isConnected`)
		if at := eval[string](b, "document.activeElement.tagName"); at == "BODY" {
			t.Errorf("%s: the focus is lost", after)
		}
	}

	b.walk("Skip to the content")
	b.press(kb.Enter, kb.ArrowDown, kb.Enter) // deep
	b.until(`location.pathname === "/browse/research/deep" && document.querySelectorAll("tbody tr").length === 2`)
	kept("into a directory")
	b.press(kb.ArrowDown, kb.Enter)
	b.until(`location.pathname === "/browse/research/deep/er" && document.querySelector("[data-row]")`)
	b.press(kb.Backspace)
	b.until(`location.pathname === "/browse/research/deep"`)
	kept("up")

	next := func(name, shown string) {
		t.Helper()
		b.walk(name, chromedp.KeyModifiers(chromedp.ModifierShift))
		b.press(kb.Enter)
		b.until(shown)
		kept(name)
	}
	next("Map", `document.querySelector(".map canvas")?.dataset.milliseconds`)
	b.walk("Map of")
	b.press(kb.ArrowRight, kb.Enter)
	b.until(`location.pathname.startsWith("/browse/research/deep/")`)
	next("Insight", `document.querySelector(".insight tbody tr")`)
	b.walk("Largest files")
	b.press(kb.Enter)
	b.until(`location.search.includes("report=largest") && document.querySelector(".insight [data-row]")`)
	next("State", `document.querySelector(".agent")`)
	b.walk("Scan this now")
	b.press(kb.Enter)
	b.until(`document.querySelector(".scan-now [role=status]").textContent !== ""`)

	next("Administration", `document.querySelector(".admin tbody")`)
	b.walk("Keys")
	b.press(kb.Enter)
	b.walk("New key")
	b.press(kb.Enter)
	b.walk("Name, for people")
	for _, letter := range "by hand" {
		b.press(string(letter))
	}
	b.walk("Make the key")
	b.press(kb.Enter)
	b.until(`document.querySelector(".secret") && document.activeElement.className.includes("told")`)
	b.walk("I have it")
	b.press(kb.Enter)
	b.until(`!document.querySelector(".secret")`)
	kept("the key is taken")
	b.walk("Revoke by hand")
	b.press(kb.Enter)
	b.until(`document.querySelector("dialog[open]")?.contains(document.activeElement) && document.activeElement.innerText === "Cancel"`)
	b.walk("Revoke")
	b.press(kb.Enter)
	b.until(`document.body.innerText.includes("The store has no keys")`)
	kept("the key is revoked")
	for _, section := range []string{"Sessions", "Retention", "Cost", "Views"} {
		b.walk(section)
		b.press(kb.Enter)
		b.until(`document.querySelector(".admin [aria-current]").innerText === "` + section + `" && document.querySelector(".admin table, .admin dl")`)
		_ = eval[bool](b, `document.getElementById("content").focus(), true`)
	}
	b.clean()
}
