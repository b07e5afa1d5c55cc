// Package page shows views to people. The pages are HTML from templates; the engine finds the rows. Lists, searches and the state need no
// script. Where scripts run, app.js takes the pages of a view over: it makes the calls of docs/api.md with the browser's cookie. It is
// bundled from app/ by `make web` and checked in.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
	"github.com/fustor/fustor/query/problem"
)

// A browser keeps the API key in a cookie that scripts and other sites cannot use. /?code=CODE sets the cookie, once, so that `fustor up` can
// print one link. A key in an address would stay in histories and logs, so it is not used.

//go:embed web
var webFiles embed.FS

var templates = template.Must(template.ParseFS(webFiles, "web/pages.html"))

// staticFiles are what the pages load.
var staticFiles = []string{"style.css", "plot.css", "icon.svg", "app.js"}

const (
	keyCookie    = "fustor_key"
	cookieMaxAge = 30 * 24 * time.Hour
	// pageCSP allows our style sheet, our script, its calls, and our forms, and nothing else.
	pageCSP = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

// Pages are the pages of one store's views.
type Pages struct {
	engine  *engine.Engine
	forests *forest.Forests
	keys    *access.Authenticator
	filters Filters
	// administers: the server answers the administrator's calls.
	administers bool
}

// Filters reads what a search for text at and below path wants besides: the parameters that /search has. parts are their texts.
type Filters func(q *httpapi.Params, now time.Time, text, path string) (wanted *engine.Search, parts []string, err error)

// New returns the pages. With administers the server answers the administrator's calls, and the pages make them.
func New(e *engine.Engine, forests *forest.Forests, keys *access.Authenticator, filters Filters, administers bool) *Pages {
	return &Pages{e, forests, keys, filters, administers}
}

// Register adds the pages to a mux.
func (s *Pages) Register(mux *httpapi.Mux) {
	page := func(f pageHandler) http.Handler { return underPrefix(s.withKey(f)) }
	mux.Handle(http.MethodGet, "/", page(s.indexPage))
	mux.Handle(http.MethodGet, "/browse/{view_id}", page(s.browsePage))
	mux.Handle(http.MethodGet, "/browse/{view_id}/{path...}", page(s.browsePage))
	mux.Handle(http.MethodGet, "/state/{view_id}", page(s.statePage))
	mux.Handle(http.MethodGet, adminPath, page(s.adminPage))
	mux.Handle(http.MethodGet, adminPath+"/{view_id}", page(s.adminPage))
	samesite := http.NewCrossOriginProtection()
	mux.Handle(http.MethodPost, "/login", underPrefix(samesite.Handler(http.HandlerFunc(s.login))))
	mux.Handle(http.MethodPost, "/logout", underPrefix(samesite.Handler(http.HandlerFunc(logout))))
	if s.keys.Tokens() != nil {
		mux.Handle(http.MethodGet, loginPath, underPrefix(http.HandlerFunc(s.beginLogin)))
		mux.Handle(http.MethodGet, returnPath, underPrefix(http.HandlerFunc(s.endLogin)))
	}
	for _, name := range staticFiles {
		mux.Handle(http.MethodGet, "/web/"+name, staticFile(name))
	}
}

// staticFile serves an embedded file. It has no data of a view, so it needs no key.
func staticFile(name string) http.Handler {
	body, err := webFiles.ReadFile("web/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(body)
	tag := fmt.Sprintf(`W/"%x"`, sum[:8])
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}

// pageHandler writes a page for the holder of a key.
type pageHandler func(w http.ResponseWriter, r *http.Request, key access.Record) error

// withKey calls f for requests with a valid key, and shows the others a form for the key. Errors are shown as pages, too.
func (s *Pages) withKey(f pageHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Has("key") {
			s.showLogin(w, http.StatusForbidden, withoutSecrets(r.URL), "Keys in addresses are not used, as browsers and proxies keep addresses. Enter the key.")
			return
		} else if q.Has("code") {
			s.useCode(w, r, q.Get("code"))
			return
		}
		given := useCookie(r)
		err := s.keys.Reader(w, r)
		var refused *httpapi.Error
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && given == nothing:
			s.askForKey(w, r, http.StatusUnauthorized, "")
		case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && given == aToken:
			s.askForKey(w, r, http.StatusUnauthorized, "Your login has ended.")
		case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
			s.askForKey(w, r, http.StatusUnauthorized, "This key is unknown or has expired.")
		case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
			s.showWait(w, refused, currentURL(r))
		case errors.As(err, &refused) && refused.Status == http.StatusForbidden && given == aKey:
			s.askForKey(w, r, http.StatusForbidden, "This key does not allow reading views.")
		case err != nil:
			problemPage(w, r, err)
		default:
			record, _ := access.FromContext(r.Context())
			if who, ok := access.ReaderFrom(r.Context()); ok {
				*r = *r.WithContext(engine.WithReader(r.Context(), who.Identity))
			}
			if err := f(w, r, record); err != nil {
				problemPage(w, r, err)
			}
		}
	})
}

// askForKey shows the form for the key, and the way to the OpenID provider if there is one.
func (s *Pages) askForKey(w http.ResponseWriter, r *http.Request, status int, problem string) {
	s.showLogin(w, status, currentURL(r), problem)
}

func (s *Pages) showLogin(w http.ResponseWriter, status int, next, problem string) {
	p := loginPage{Title: "Open", Next: next, Problem: problem}
	if s.keys.Tokens() != nil {
		p.ProviderURL = loginPath + "?" + url.Values{"next": {next}}.Encode()
	}
	render(w, status, "login", p)
}

// useKey sets the cookie for a valid key and redirects to next; otherwise it shows the form again.
func (s *Pages) useKey(w http.ResponseWriter, r *http.Request, key, next string) {
	record, err := s.keys.LogIn(r.Context(), r, key)
	var refused *httpapi.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
		s.showWait(w, refused, next)
	case err == nil && !record.Reads() || errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		s.showLogin(w, http.StatusUnauthorized, next, "This key is unknown, has expired, or does not allow reading views.")
	case err != nil:
		problemPage(w, r, err)
	default:
		setKey(w, r, base64.RawURLEncoding.EncodeToString([]byte(key)), int(cookieMaxAge/time.Second))
		redirectPrivately(w, r, next)
	}
}

// useCode is useKey for a one-time code.
func (s *Pages) useCode(w http.ResponseWriter, r *http.Request, code string) {
	next := withoutSecrets(r.URL)
	if from := r.Header.Get("Sec-Fetch-Site"); from == "cross-site" || from == "same-site" {
		// Another site must not choose with whose key its visitor reads.
		s.showLogin(w, http.StatusForbidden, next, "A link on another site led here, so the code in it is not used. Enter your key.")
		return
	}
	key, err := s.keys.Redeem(r, code)
	var refused *httpapi.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
		s.showWait(w, refused, next)
	case err != nil:
		s.showLogin(w, http.StatusUnauthorized, next, "This link has been used, or is too old. Enter the key.")
	default:
		s.useKey(w, r, key, next)
	}
}

// showWait shows the form to somebody who has sent too many wrong keys.
func (s *Pages) showWait(w http.ResponseWriter, refused *httpapi.Error, next string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(refused.RetryAfter/time.Second)+1))
	s.showLogin(w, refused.Status, next, "Too many wrong keys came from your address. Check the key, and wait a minute.")
}

func (s *Pages) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	s.useKey(w, r, strings.TrimSpace(r.PostFormValue("key")), localPath(r.PostFormValue("next")))
}

func logout(w http.ResponseWriter, r *http.Request) {
	setKey(w, r, "", -1)
	setCookie(w, r, tokenCookie, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func setKey(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: keyCookie, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: isSecure(r)})
}

func isSecure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

// givenBy is what a request says who asks with.
type givenBy int

const (
	nothing givenBy = iota
	aKey
	aToken
)

// useCookie has a request that says nothing in its headers say what its cookies do: a key, or a token of the OpenID provider.
func useCookie(r *http.Request) givenBy {
	if key := r.Header.Get("X-API-Key"); key != "" || r.Header.Get("Authorization") != "" {
		return aKey
	}
	if c, err := r.Cookie(keyCookie); err == nil {
		if key, _ := base64.RawURLEncoding.DecodeString(c.Value); len(key) > 0 {
			r.Header.Set("X-API-Key", string(key))
			return aKey
		}
	}
	if c, err := r.Cookie(tokenCookie); err == nil && access.IsToken(c.Value) {
		r.Header.Set("Authorization", "Bearer "+c.Value)
		return aToken
	}
	return nothing
}

// WithCookie lets a browser read the API with its cookie. That is safe, as browsers do not send the cookie with requests from other sites.
func WithCookie(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		useCookie(r)
		h.ServeHTTP(w, r)
	})
}

// WithOwnCookie lets our own pages, and no other, make calls that change things with the browser's cookie: it counts only where the browser
// says that a page of this server asks. A key in a header needs nothing of that, as no other page has it.
func WithOwnCookie(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isOwn(r) {
			useCookie(r)
		}
		h.ServeHTTP(w, r)
	})
}

// isOwn reports whether a browser says that a page of this server asks. Over plain HTTP browsers do not send Sec-Fetch-Site; then it is the
// Origin, which they send with all that changes anything. What only reads may come without either.
func isOwn(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err == nil && u.Host == r.Host
	}
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

func withoutSecrets(u *url.URL) string {
	q := u.Query()
	q.Del("key")
	q.Del("code")
	return localPath((&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: q.Encode()}).String())
}

func currentURL(r *http.Request) string { return localPath(r.URL.RequestURI()) }

// localPath is next if it is the path of a page of this server; otherwise "/". So a link cannot redirect to another site.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || next != "/" && !isPagePath(u.Path) {
		return "/"
	}
	return next
}

func isPagePath(path string) bool {
	return path == adminPath || slices.ContainsFunc([]string{"/browse/", "/state/", adminPath + "/"}, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

type loginPage struct {
	Title, Next, Problem string
	ProviderURL          string // where a login with the OpenID provider begins; empty: there is none
}

// render writes a page.
func render(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return
	}
	if at, ok := w.(prefixed); ok {
		b = *bytes.NewBuffer(at.links(b.Bytes()))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pageCSP)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "private, no-store")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that has gone is not an error
}

// problemPage shows an error. For a first scan that is running it shows the progress, and reloads.
func problemPage(w http.ResponseWriter, r *http.Request, err error) {
	err = problem.Of(r.PathValue("view_id"), err)
	e := httpapi.Explain(r.Context(), err)
	httpapi.Note(w, err)
	if e.RetryAfter > 0 {
		seconds := int(e.RetryAfter / time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.Header().Set("Refresh", strconv.Itoa(seconds))
		if p, ok := e.Extra["progress"].(problem.Progress); ok {
			view := r.PathValue("view_id")
			render(w, e.Status, "wait", waitPage{"First scan of " + view, view, count(p.Files), count(p.Directories), size(p.Bytes), p != problem.Progress{}, seconds})
			return
		}
	}
	page := errorPage{Title: http.StatusText(e.Status), Detail: e.Detail, Hint: e.Hint, Back: "/", BackLabel: "All views"}
	if view := r.PathValue("view_id"); layout.ValidView(view) && e.Status != http.StatusForbidden {
		page.Back, page.BackLabel = pathURL(view, "/"), "Root of "+view
	}
	render(w, e.Status, "problem", page)
}

// IsAsked reports whether a browser asks for a page, and not for a call.
func IsAsked(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
}

// Unknown is the page at a path that has none.
func Unknown(w http.ResponseWriter, r *http.Request) {
	underPrefix(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problemPage(w, r, &httpapi.Error{Status: http.StatusNotFound, Detail: "There is no page at this path.", Hint: "The pages begin at All views; /openapi.json lists the calls for programs."})
	})).ServeHTTP(w, r)
}

type waitPage struct {
	Title, View, Files, Directories, Size string
	Begun                                 bool
	Seconds                               int
}

type errorPage struct{ Title, Detail, Hint, Back, BackLabel string }

// indexPage lists the views that the key may read. If there is only one, it redirects to it.
func (s *Pages) indexPage(w http.ResponseWriter, r *http.Request, key access.Record) error {
	names := key.Views.Names
	var forests map[string][]string
	var err error
	if key.Views.All {
		names, forests, err = s.engine.Views(r.Context())
	} else {
		forests, err = s.engine.ForestsAmong(r.Context(), names)
	}
	if err != nil {
		return httpapi.StoreFailure(err)
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !key.Views.Has(name) })
	if len(names) == 1 {
		http.Redirect(w, r, pathURL(names[0], "/"), http.StatusSeeOther)
		return nil
	}
	page := viewsPage{Title: "Views"}
	if isAdmin(r.Context()) {
		page.AdminURL = adminPath
	}
	for _, name := range names {
		link := viewLink{Name: name, URL: pathURL(name, "/")}
		if members, ok := forests[name]; ok {
			link.Members = strings.Join(members, ", ")
		}
		page.Views = append(page.Views, link)
	}
	render(w, http.StatusOK, "views", page)
	return nil
}

type viewsPage struct {
	Title    string
	AdminURL string // empty: who asks is no administrator
	Views    []viewLink
}

// viewLink is a view, or a forest with its members.
type viewLink struct{ Name, URL, Members string }
