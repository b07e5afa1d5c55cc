package page

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
)

// A browser logs in with the OpenID provider by an authorization code with PKCE, state and nonce. What it must bring back is in one cookie
// until it returns; the provider's token is in another until the token ends, so no server keeps anything of a login.

const (
	loginPath  = "/login/oidc"
	returnPath = "/login/return"

	loginCookie = "fustor_login"
	tokenCookie = "fustor_token"
	loginMaxAge = 10 * time.Minute
	// maxCookie is what browsers keep of a cookie at least, with its name and attributes.
	maxCookie = 4096 - 256
)

// setCookie sets a cookie that scripts cannot read. Other sites cannot have it sent but by a link to a page: a browser that comes back from
// the provider follows one, so Strict would lose it.
func setCookie(w http.ResponseWriter, r *http.Request, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: isSecure(r)})
}

// returnURL is where the provider sends the browser back. The provider accepts only what was registered there.
func returnURL(r *http.Request) string {
	if isSecure(r) {
		return "https://" + r.Host + prefixOf(r) + returnPath
	}
	return "http://" + r.Host + prefixOf(r) + returnPath
}

func (s *Pages) beginLogin(w http.ResponseWriter, r *http.Request) {
	at, login, err := s.keys.Tokens().Begin(returnURL(r), localPath(r.URL.Query().Get("next")))
	if err != nil {
		problemPage(w, r, err)
		return
	}
	body, err := json.Marshal(login)
	if err != nil {
		problemPage(w, r, err)
		return
	}
	setCookie(w, r, loginCookie, base64.RawURLEncoding.EncodeToString(body), int(loginMaxAge/time.Second))
	redirectPrivately(w, r, at)
}

func redirectPrivately(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (s *Pages) endLogin(w http.ResponseWriter, r *http.Request) {
	var login access.Login
	if c, err := r.Cookie(loginCookie); err == nil {
		if body, err := base64.RawURLEncoding.DecodeString(c.Value); err == nil && json.Unmarshal(body, &login) != nil {
			login = access.Login{}
		}
	}
	setCookie(w, r, loginCookie, "", -1)
	q := r.URL.Query()
	if q.Get("error") != "" {
		s.showLogin(w, http.StatusForbidden, localPath(login.Next), "The provider did not log you in: "+q.Get("error")+" "+q.Get("error_description"))
		return
	}
	token, ends, err := s.keys.Tokens().End(r.Context(), returnURL(r), login, q.Get("state"), q.Get("code"))
	var refused *httpapi.Error
	switch {
	case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
		httpapi.Note(w, err)
		s.showLogin(w, http.StatusForbidden, localPath(login.Next), "You are not logged in: "+refused.Detail+".")
	case err != nil:
		problemPage(w, r, err)
	case len(token) > maxCookie:
		s.showLogin(w, http.StatusForbidden, localPath(login.Next), "You are not logged in: the provider's token is too long for a cookie. An administrator can leave claims out of it.")
	default:
		setKey(w, r, "", -1) // it would say more than the token
		setCookie(w, r, tokenCookie, token, max(1, int(time.Until(ends)/time.Second)))
		redirectPrivately(w, r, localPath(login.Next))
	}
}
