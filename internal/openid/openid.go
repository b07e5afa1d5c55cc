// Package openid knows users by the tokens of an OpenID provider, and logs browsers in with it.
//
// A token is a JWT that the provider has signed for this server's audience. Invariants: only asymmetric signatures of the provider's
// present keys count; issuer, audience and expiry are checked, with a minute for clocks that differ; a provider that does not answer
// disturbs nobody but those who come with its tokens. cmd/fustor makes a Provider; internal/access asks it who a token is from, and
// query/page sends browsers to it. The protocol itself is github.com/coreos/go-oidc/v3 and golang.org/x/oauth2.
package openid

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/permission"
)

const (
	// Leeway is how much the clocks of provider and server may differ.
	Leeway = time.Minute
	// DefaultClaim names the user, unless Options say otherwise.
	DefaultClaim = "preferred_username"
	// keysAtMost is how often keys are fetched at most: a token that names an unknown key costs the provider a request.
	keysAtMost = 10 * time.Second
	askTime    = 10 * time.Second
	maxToken   = 16 << 10 // bytes
)

// algorithms are signatures that the provider alone can make. None has the audience's secret as its key.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// Options of a Provider. Issuer and Audience are required.
type Options struct {
	Issuer   string // as tokens have it in iss: https, or http of this machine
	Audience string // what tokens must be for (aud); browsers log in with it as the client's id
	Claim    string // of a token, the name of the user; empty: DefaultClaim
	// UIDClaim and GIDsClaim are the claims that have the user's uid, and one or several gids; empty: the name service knows them.
	UIDClaim, GIDsClaim string
	Secret              string // of the client, for providers that want one; empty: none
	Client              *http.Client
	Logger              *slog.Logger
	Now                 func() time.Time
}

// Provider is an OpenID provider. It is safe for concurrent use.
type Provider struct {
	o Options

	mu       sync.Mutex
	found    *oidc.Provider // nil: it has not answered yet
	verifier *oidc.IDTokenVerifier
	failure  error
}

// New returns a Provider, and asks nothing yet: Find does.
func New(o Options) (*Provider, error) {
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%q is not the URL of an OpenID provider, such as https://login.example.org/realms/lab", o.Issuer)
	case u.Scheme == "http" && !thisMachine(u.Hostname()):
		return nil, fmt.Errorf("%q is not https: anybody on the way could answer with keys of theirs", o.Issuer)
	case o.Audience == "":
		return nil, errors.New("the audience of the tokens is missing")
	case (o.UIDClaim == "") != (o.GIDsClaim == ""):
		return nil, errors.New("a claim for the uid and one for the gids go together: one of them is missing")
	}
	if o.Claim == "" {
		o.Claim = DefaultClaim
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: askTime}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Provider{o: o, failure: errors.New("it was not asked yet")}, nil
}

func thisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Find asks the provider for its configuration until it answers, or ctx ends.
func (p *Provider) Find(ctx context.Context) {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := p.find(ctx)
		if err == nil {
			p.o.Logger.Info("the OpenID provider answers", "issuer", p.o.Issuer)
			return
		}
		if ctx.Err() != nil {
			return
		}
		p.o.Logger.Warn("the OpenID provider does not answer as it should: its users cannot ask until it does; everybody else can", "issuer", p.o.Issuer, "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (p *Provider) find(ctx context.Context) error {
	asking, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.o.Client), askTime)
	defer cancel()
	found, err := oidc.NewProvider(asking, p.o.Issuer)
	var at struct {
		Keys string `json:"jwks_uri"`
	}
	if err == nil {
		err = found.Claims(&at)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failure = err
		return err
	}
	rare := *p.o.Client
	rare.Transport = &rarely{next: rare.Transport, now: p.o.Now}
	set := keys{oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), &rare), at.Keys)}
	p.found, p.failure = found, nil
	// The library compares the expiry with this clock, and gives a token's beginning five minutes by it.
	p.verifier = oidc.NewVerifier(p.o.Issuer, set, &oidc.Config{ClientID: p.o.Audience, SupportedSigningAlgs: algorithms, Now: func() time.Time { return p.o.Now().Add(-Leeway) }})
	return nil
}

// rarely lets a request through each keysAtMost.
type rarely struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	last time.Time
}

var errTooSoon = errors.New("the keys were fetched just now")

func (r *rarely) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	now := r.now()
	soon := !r.last.IsZero() && now.Sub(r.last) < keysAtMost
	if !soon {
		r.last = now
	}
	r.mu.Unlock()
	if soon {
		return nil, errTooSoon
	}
	next := r.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	return resp, err
}

// keys notes of a verification whether it failed because the provider gave no keys.
type keys struct{ set *oidc.RemoteKeySet }

type unfetchedKey struct{}

func (k keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.set.VerifySignature(ctx, token)
	var asked *url.Error
	if note, ok := ctx.Value(unfetchedKey{}).(*error); ok && errors.As(err, &asked) && !errors.Is(err, errTooSoon) {
		*note = err
	}
	return payload, err
}

// known is the provider once it has answered; otherwise an *httpapi.Error.
func (p *Provider) known() (*oidc.Provider, *oidc.IDTokenVerifier, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		return nil, nil, away(p.o.Issuer, p.failure)
	}
	return p.found, p.verifier, nil
}

func away(issuer string, err error) error {
	return &httpapi.Error{Status: http.StatusServiceUnavailable, Passing: true, RetryAfter: 10 * time.Second, Cause: err,
		Detail: fmt.Sprintf("the OpenID provider %s does not answer this server, so nobody can say who you are", issuer), Hint: "try again later, or use an API key"}
}

// Verify is the user in a token. An *httpapi.Error: 401 if the token is not valid, 503 if the provider does not answer.
func (p *Provider) Verify(ctx context.Context, token string) (access.Vouched, error) {
	user, _, err := p.verify(ctx, token, "")
	return user, err
}

// verify is Verify, and when the token ends. A nonce must be the token's.
func (p *Provider) verify(ctx context.Context, token, nonce string) (user access.Vouched, ends time.Time, err error) {
	_, verifier, err := p.known()
	if err != nil {
		return user, ends, err
	}
	if len(token) > maxToken {
		return user, ends, refused("it is too long", nil)
	}
	var unfetched error
	verified, err := verifier.Verify(context.WithValue(ctx, unfetchedKey{}, &unfetched), token)
	var expired *oidc.TokenExpiredError
	switch {
	case unfetched != nil:
		return user, ends, away(p.o.Issuer, unfetched)
	case errors.As(err, &expired):
		return user, ends, refused("it has expired", err)
	case err != nil:
		return user, ends, refused("it is not a token of "+p.o.Issuer+" for this server", err)
	case nonce != "" && subtle.ConstantTimeCompare([]byte(nonce), []byte(verified.Nonce)) != 1:
		return user, ends, refused("it belongs to another login", nil)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		return user, ends, refused("its claims are damaged", err)
	}
	name, _ := claims[p.o.Claim].(string)
	if name == "" {
		return user, ends, refused(fmt.Sprintf("it has no claim %q with the name of a user", p.o.Claim), nil)
	}
	if p.o.UIDClaim == "" {
		return access.Vouched{Name: name}, verified.Expiry, nil
	}
	uids, gids := idsOf(claims[p.o.UIDClaim]), idsOf(claims[p.o.GIDsClaim])
	if len(uids) != 1 {
		return user, ends, refused(fmt.Sprintf("it has no claim %q with one uid", p.o.UIDClaim), nil)
	}
	if len(gids) == 0 {
		return user, ends, refused(fmt.Sprintf("it has no claim %q with the gids of the user's groups", p.o.GIDsClaim), nil)
	}
	who := permission.NewIdentity(uids[0], gids...)
	return access.Vouched{Name: name, Identity: &who}, verified.Expiry, nil
}

// idsOf are the uids or gids of a claim: a number, its digits as a text, or a list of these; nil if anything in it is something else, as to
// leave out a group could show more.
func idsOf(claim any) (ids []uint32) {
	list, several := claim.([]any)
	if !several {
		list = []any{claim}
	}
	for _, v := range list {
		id, ok := idOf(v)
		if !ok {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

func idOf(v any) (uint32, bool) {
	switch v := v.(type) {
	case float64:
		return uint32(v), v >= 0 && v <= math.MaxUint32 && v == math.Trunc(v)
	case string:
		id, err := strconv.ParseUint(v, 10, 32)
		return uint32(id), err == nil
	}
	return 0, false
}

func refused(why string, err error) error {
	return &httpapi.Error{Status: http.StatusUnauthorized, Cause: err, Detail: "the token is not accepted: " + why, Hint: "log in again, and send a new token"}
}

// Begin is where a browser logs in (authorization code with PKCE) to come back to redirect.
func (p *Provider) Begin(redirect, next string) (at string, l access.Login, err error) {
	found, _, err := p.known()
	if err != nil {
		return "", l, err
	}
	l = access.Login{State: oauth2.GenerateVerifier(), Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Next: next}
	return p.client(found, redirect).AuthCodeURL(l.State, oidc.Nonce(l.Nonce), oauth2.S256ChallengeOption(l.Verifier)), l, nil
}

// End takes the code that a browser came back with for a token, which Verify accepts until it ends.
func (p *Provider) End(ctx context.Context, redirect string, l access.Login, state, code string) (token string, ends time.Time, err error) {
	found, _, err := p.known()
	if err != nil {
		return "", ends, err
	}
	if l.State == "" || l.Nonce == "" || subtle.ConstantTimeCompare([]byte(l.State), []byte(state)) != 1 {
		return "", ends, &httpapi.Error{Status: http.StatusForbidden, Detail: "this login was not begun in this browser, or too long ago", Hint: "begin again at the page that you wanted to open"}
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.o.Client), askTime)
	defer cancel()
	exchanged, err := p.client(found, redirect).Exchange(ctx, code, oauth2.VerifierOption(l.Verifier))
	var answered *oauth2.RetrieveError
	switch {
	case errors.As(err, &answered):
		return "", ends, &httpapi.Error{Status: http.StatusForbidden, Cause: err, Detail: "the OpenID provider does not accept this login", Hint: "begin again; the server's log has the provider's words"}
	case err != nil:
		return "", ends, away(p.o.Issuer, err)
	}
	token, _ = exchanged.Extra("id_token").(string)
	_, ends, err = p.verify(ctx, token, l.Nonce)
	return token, ends, err
}

func (p *Provider) client(found *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.o.Audience, ClientSecret: p.o.Secret, Endpoint: found.Endpoint(), RedirectURL: redirect, Scopes: []string{oidc.ScopeOpenID, "profile"}}
}
