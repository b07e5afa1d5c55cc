// Package issuer is a small OpenID provider for tests: discovery, keys that rotate, tokens of any claims, and logins of browsers that it
// grants at once.
package issuer

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Issuer is a provider that runs until its test ends.
type Issuer struct {
	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex
	key     *rsa.PrivateKey
	id      int
	fetched int                   // how often its keys were
	user    string                // whom it logs in
	codes   map[string]url.Values // of logins, by code: what was asked
	down    bool
	nonce   string // put into tokens of logins, in place of the one that was asked for; empty: that one
}

// New starts an Issuer.
func New(t testing.TB) *Issuer {
	i := &Issuer{t: t, codes: map[string]url.Values{}}
	i.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"issuer": i.URL(), "jwks_uri": i.URL() + "/keys", "authorization_endpoint": i.URL() + "/auth", "token_endpoint": i.URL() + "/token",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fetched++
		reply(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": fmt.Sprint(i.id),
			"n": encode(i.key.N.Bytes()), "e": encode(big.NewInt(int64(i.key.E)).Bytes())}}})
	})
	mux.HandleFunc("/auth", i.authorize)
	mux.HandleFunc("/token", i.token)
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		down := i.down
		i.mu.Unlock()
		if down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.server.Close)
	return i
}

// URL is the issuer's name.
func (i *Issuer) URL() string { return i.server.URL }

// Rotate replaces the key: tokens of before are no longer valid once somebody fetches the keys.
func (i *Issuer) Rotate() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.id = key, i.id+1
}

// Down has the issuer answer nothing useful, or answer again.
func (i *Issuer) Down(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Fetched is how often the keys were fetched.
func (i *Issuer) Fetched() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched
}

// LogIn has the next logins be of a user. With a nonce, their tokens have that one.
func (i *Issuer) LogIn(user, nonce string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.user, i.nonce = user, nonce
}

// Claims are those of a valid token.
func (i *Issuer) Claims(audience, user string) map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": i.URL(), "aud": audience, "sub": "1", "iat": now, "exp": now + 300, "preferred_username": user}
}

// Token is a valid token with some claims changed; nil takes one out.
func (i *Issuer) Token(audience, user string, changed map[string]any) string {
	claims := i.Claims(audience, user)
	maps.Copy(claims, changed)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return i.Sign(map[string]any{"alg": "RS256", "typ": "JWT"}, claims)
}

// Sign is a token with a header, to which the name of the key is added if it has none, signed by RS256 whatever it says.
func (i *Issuer) Sign(header, claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, named := header["kid"]; !named {
		header["kid"] = fmt.Sprint(i.id)
	}
	text := part(i.t, header) + "." + part(i.t, claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	return text + "." + encode(signature)
}

// PublicKey is the modulus of the present key, which attackers know.
func (i *Issuer) PublicKey() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key.N.Bytes()
}

func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	code := rand.Text()
	i.mu.Lock()
	i.codes[code] = q
	i.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	asked, known := i.codes[r.FormValue("code")]
	delete(i.codes, r.FormValue("code"))
	user, nonce := i.user, i.nonce
	i.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !known || asked.Get("code_challenge_method") != "S256" || asked.Get("code_challenge") != encode(sum[:]) || asked.Get("redirect_uri") != r.FormValue("redirect_uri") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	if nonce == "" {
		nonce = asked.Get("nonce")
	}
	reply(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "expires_in": 300,
		"id_token": i.Token(asked.Get("client_id"), user, map[string]any{"nonce": nonce})})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func part(t testing.TB, v any) string {
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return encode(body)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
