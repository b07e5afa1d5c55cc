package openid_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/openid"
	"github.com/fustor/fustor/testkit/issuer"
	"github.com/fustor/fustor/testkit/wait"
)

const audience = "fustor"

// clock is one that a test moves.
type clock struct {
	mu sync.Mutex
	by time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.by)
}

func (c *clock) move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += by
}

func found(t *testing.T, i *issuer.Issuer) (*openid.Provider, *clock) {
	t.Helper()
	c := &clock{}
	p, err := openid.New(openid.Options{Issuer: i.URL(), Audience: audience, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	p.Find(t.Context())
	return p, c
}

// answer is what a token is worth: the user, or the status.
func answer(t *testing.T, p *openid.Provider, token string) (user string, status int, detail string) {
	t.Helper()
	who, err := p.Verify(t.Context(), token)
	if user = who.Name; who.Identity != nil {
		user += fmt.Sprint(" ", *who.Identity)
	}
	if err == nil {
		return user, http.StatusOK, ""
	}
	var e *httpapi.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no answer", err)
	}
	return user, e.Status, e.Detail
}

func TestTokens(t *testing.T) {
	i, other := issuer.New(t), issuer.New(t)
	p, _ := found(t, i)
	now := time.Now().Unix()
	parts := strings.Split(i.Token(audience, "alice", nil), ".")
	forged := func(header string, secret []byte) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1]
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"1"}`)) + "." + parts[1] + "."
	claims, err := json.Marshal(i.Claims(audience, "root"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, token, why string
	}{
		{"valid", i.Token(audience, "alice", nil), ""},
		{"several audiences", i.Token(audience, "alice", map[string]any{"aud": []string{"other", audience}}), ""},
		{"expired by less than the leeway", i.Token(audience, "alice", map[string]any{"exp": now - 50}), ""},
		{"expired", i.Token(audience, "alice", map[string]any{"exp": now - 70}), "expired"},
		{"without an expiry", i.Token(audience, "alice", map[string]any{"exp": nil}), "expired"},
		{"not valid yet", i.Token(audience, "alice", map[string]any{"nbf": now + 600}), "not a token"},
		{"another audience", i.Token("other", "alice", nil), "not a token"},
		{"no audience", i.Token(audience, "alice", map[string]any{"aud": nil}), "not a token"},
		{"another issuer", other.Token(audience, "alice", nil), "not a token"},
		{"another issuer that names this one", other.Token(audience, "alice", map[string]any{"iss": i.URL()}), "not a token"},
		{"the name of another issuer", i.Token(audience, "alice", map[string]any{"iss": other.URL()}), "not a token"},
		{"alg none", none, "not a token"},
		{"alg None", strings.Replace(none, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"1"}`)), base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None"}`)), 1), "not a token"},
		{"HS256 with the public key as its secret", forged(`{"alg":"HS256","kid":"1"}`, i.PublicKey()), "not a token"},
		{"HS256 with the audience as its secret", forged(`{"alg":"HS256"}`, []byte(audience)), "not a token"},
		{"a signature that is another's", parts[0] + "." + base64.RawURLEncoding.EncodeToString(claims) + "." + parts[2], "not a token"},
		{"a key of its own in the header", i.Sign(map[string]any{"alg": "RS256", "kid": "9", "jwk": map[string]any{"kty": "oct", "k": "AAAA"}}, i.Claims(audience, "alice")), "not a token"},
		{"without a user", i.Token(audience, "alice", map[string]any{"preferred_username": nil}), "no claim"},
		{"a user that is no text", i.Token(audience, "alice", map[string]any{"preferred_username": 0}), "no claim"},
		{"too long", i.Token(audience, strings.Repeat("a", 20_000), nil), "too long"},
		{"three dots", "eyJ..", "not a token"},
	} {
		user, status, detail := answer(t, p, tc.token)
		switch {
		case tc.why == "" && (user != "alice" || status != http.StatusOK):
			t.Errorf("%s: %q, %d %s", tc.name, user, status, detail)
		case tc.why != "" && (user != "" || status != http.StatusUnauthorized || !strings.Contains(detail, tc.why)):
			t.Errorf("%s: %q, %d %s, want %q", tc.name, user, status, detail, tc.why)
		}
	}
}

// Tokens with uid and groups need no name service; one whose groups are not all understood is not accepted.
func TestTokensWithIDs(t *testing.T) {
	i := issuer.New(t)
	p, err := openid.New(openid.Options{Issuer: i.URL(), Audience: audience, UIDClaim: "uidNumber", GIDsClaim: "gids"})
	if err != nil {
		t.Fatal(err)
	}
	p.Find(t.Context())
	for _, tc := range []struct {
		name      string
		uid, gids any
		want      string
	}{
		{"numbers", 1001, []any{4711, 100}, "alice {1001 [100 4711]}"}, {"texts", "1001", []any{"100"}, "alice {1001 [100]}"}, {"one group", "1001", 100, "alice {1001 [100]}"},
		{"without a uid", nil, []any{100}, ""}, {"without groups", 1001, nil, ""}, {"no groups", 1001, []any{}, ""}, {"two uids", []any{1001, 1002}, 100, ""},
		{"a group that is no number", 1001, []any{100, "lab"}, ""}, {"a fraction", 1001.5, 100, ""}, {"negative", -1, 100, ""}, {"too large", 1 << 32, 100, ""},
		{"a group that is too large", 1001, []any{100, "4294967296"}, ""}, {"true", true, 100, ""}, {"empty", "", 100, ""}, {"a list of lists", 1001, []any{[]any{100}}, ""},
	} {
		user, status, detail := answer(t, p, i.Token(audience, "alice", map[string]any{"uidNumber": tc.uid, "gids": tc.gids}))
		if user != tc.want || (status == http.StatusOK) != (tc.want != "") {
			t.Errorf("%s: %q, %d %s", tc.name, user, status, detail)
		}
	}
	if _, err := openid.New(openid.Options{Issuer: i.URL(), Audience: audience, UIDClaim: "uidNumber"}); err == nil {
		t.Error("a uid without groups is taken")
	}
}

// Keys that rotate are fetched, and a flood of tokens with unknown keys is no flood of requests to the provider.
func TestKeysRotate(t *testing.T) {
	i := issuer.New(t)
	p, clock := found(t, i)
	old := i.Token(audience, "alice", nil)
	if user, _, detail := answer(t, p, old); user != "alice" {
		t.Fatal(detail)
	}
	i.Rotate()
	clock.move(11 * time.Second)
	if user, _, detail := answer(t, p, i.Token(audience, "bob", nil)); user != "bob" {
		t.Errorf("a token of a new key: %s", detail)
	}
	wait.For(t, 5*time.Second, "a token of a key that was taken back to be refused", func() bool { // the library keeps new keys once it has answered
		_, status, _ := answer(t, p, old)
		return status == http.StatusUnauthorized
	})
	before := i.Fetched()
	for n := range 50 {
		if _, status, _ := answer(t, p, i.Sign(map[string]any{"alg": "RS256", "kid": n + 100}, i.Claims(audience, "alice"))); status != http.StatusUnauthorized {
			t.Fatalf("a token of an unknown key: %d", status)
		}
	}
	if n := i.Fetched() - before; n > 1 {
		t.Errorf("50 tokens with unknown keys had the keys fetched %d times", n)
	}
	// Known keys need no provider; an unknown one says that it does not answer.
	i.Down(true)
	if user, _, detail := answer(t, p, i.Token(audience, "bob", nil)); user != "bob" {
		t.Errorf("while the provider is down: %s", detail)
	}
	i.Rotate()
	clock.move(11 * time.Second)
	if _, status, _ := answer(t, p, i.Token(audience, "bob", nil)); status != http.StatusServiceUnavailable {
		t.Errorf("a new key while the provider is down: %d", status)
	}
}

func TestProviderThatIsDownAtStart(t *testing.T) {
	i := issuer.New(t)
	i.Down(true)
	p, err := openid.New(openid.Options{Issuer: i.URL(), Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var finding sync.WaitGroup
	finding.Go(func() { p.Find(ctx) })
	defer finding.Wait()
	defer stop()
	if _, status, detail := answer(t, p, i.Token(audience, "alice", nil)); status != http.StatusServiceUnavailable || !strings.Contains(detail, i.URL()) {
		t.Errorf("%d %s", status, detail)
	}
	i.Down(false)
	wait.For(t, 5*time.Second, "the provider", func() bool {
		_, status, _ := answer(t, p, i.Token(audience, "alice", nil))
		return status == http.StatusOK
	})
}

func TestLogins(t *testing.T) {
	i := issuer.New(t)
	p, _ := found(t, i)
	const redirect = "https://fustor.example.org/login/return"
	begin := func() (access.Login, string) {
		t.Helper()
		at, login, err := p.Begin(redirect, "/browse/v")
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := client.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		back, err := resp.Location()
		if err != nil || !strings.HasPrefix(back.String(), redirect) || back.Query().Get("state") != login.State || login.Next != "/browse/v" {
			t.Fatalf("%v, %v", back, err)
		}
		return login, back.Query().Get("code")
	}
	i.LogIn("alice", "")
	login, code := begin()
	token, ends, err := p.End(t.Context(), redirect, login, login.State, code)
	if err != nil || time.Until(ends) < time.Minute {
		t.Fatal(ends, err)
	}
	if user, _, detail := answer(t, p, token); user != "alice" {
		t.Error(detail)
	}
	refused := func(name string, want int, l access.Login, state, code string) {
		t.Helper()
		token, _, err := p.End(t.Context(), redirect, l, state, code)
		var e *httpapi.Error
		if !errors.As(err, &e) || e.Status != want {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
	refused("a code for the second time", http.StatusForbidden, login, login.State, code)
	login, code = begin()
	refused("another state", http.StatusForbidden, login, "x", code)
	refused("a browser that began nothing", http.StatusForbidden, access.Login{}, "", code)
	another, _ := begin()
	refused("the verifier of another login", http.StatusForbidden, another, another.State, code)
	i.LogIn("alice", "an-old-nonce")
	login, code = begin()
	refused("the token of another login", http.StatusUnauthorized, login, login.State, code)
}

func TestWhichProviders(t *testing.T) {
	for _, issuer := range []string{"", "lab", "ftp://h", "http://login.example.org", "https://user:pass@h", "https://h?x=1", "https://h#x"} {
		if _, err := openid.New(openid.Options{Issuer: issuer, Audience: "a"}); err == nil {
			t.Errorf("%q is taken", issuer)
		}
	}
	if _, err := openid.New(openid.Options{Issuer: "https://h"}); err == nil {
		t.Error("tokens for every audience are taken")
	}
}
