package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/unixsocket"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Somebody without a key may ask what a view is open to, if somebody else vouches for who it is: the kernel for the peer of a socket, an
// OpenID provider by a token, or a reverse proxy by a header. The answer is what the file permissions of that user allow. A key says more
// than all of these: with one, the others are not asked.

// Tokens are those of an OpenID provider. Errors are *httpapi.Error.
type Tokens interface {
	// Verify is the user in a token. The error is an *httpapi.Error: 401 for a token that is not valid (any longer), 503 while the
	// provider is not known.
	Verify(ctx context.Context, token string) (Vouched, error)
	// Begin is where a browser logs in, to come back to redirect and go on to next.
	Begin(redirect, next string) (at string, l Login, err error)
	// End is the token of a browser that came back with a state and a code, and when it ends.
	End(ctx context.Context, redirect string, l Login, state, code string) (token string, ends time.Time, err error)
}

// Vouched is a user whom somebody else vouches for.
type Vouched struct {
	Name string
	// Identity has uid and groups, if they are vouched for as well; nil: the name service of this host knows them.
	Identity *permission.Identity
}

// Login is one login of a browser. The browser keeps it until the provider sends it back.
type Login struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // of PKCE
	Next     string `json:"next"`     // where the browser goes on
}

// Tokens are those that a accepts; nil: none.
func (a *Authenticator) Tokens() Tokens { return a.tokens }

// Proxy is by which header, and from which addresses, a reverse proxy names users.
type Proxy struct {
	Header string // empty: by none
	From   httpapi.Proxies
}

// claim is what a request says of its caller.
type claim struct {
	key   string // or the token of an OpenID provider
	from  string // the address that sent it
	named string // by the proxy
	peer  unixsocket.Peer
	local bool   // there is a peer
	as    string // AsHeader
}

// grant is what a claim is worth. Without a reader, the record says it all.
type grant struct {
	record Record
	reader *Reader
}

type proxiedKey struct{}

// Wrap takes the header by which a proxy names users off every request, before anything else sees it, and remembers it for Require and
// RequireReader. From others than the proxy, a request with the header is refused: somebody tries to be someone else, or the address of a
// proxy is missing.
func (a *Authenticator) Wrap(next http.Handler) http.Handler {
	if a.proxy.Header == "" {
		return next
	}
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		values := r.Header.Values(a.proxy.Header)
		if len(values) == 0 {
			next.ServeHTTP(w, r)
			return nil
		}
		values = slices.Clone(values)
		r.Header.Del(a.proxy.Header)
		if !a.proxy.From.Trust(r.RemoteAddr) {
			return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("the header %s is accepted from the reverse proxy alone, and %s is none", a.proxy.Header, httpapi.PeerIP(r)),
				Hint: "leave out the header; an administrator names the addresses of the proxy by --trusted-proxy"}
		}
		if len(values) > 1 {
			return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("the header %s came %d times", a.proxy.Header, len(values)),
				Hint: "the reverse proxy must replace what its clients send, not add to it"}
		}
		if values[0] != "" {
			*r = *r.WithContext(context.WithValue(r.Context(), proxiedKey{}, values[0]))
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// claimOf reads who a request says it comes from.
func (a *Authenticator) claimOf(r *http.Request) (claim, error) {
	key, err := keyOf(r)
	c := claim{key: key, from: a.addressOf(r)}
	if err != nil {
		return c, err
	}
	c.named, _ = r.Context().Value(proxiedKey{}).(string)
	c.peer, c.local = unixsocket.PeerOf(r.Context())
	if c.key == "" && c.named == "" && !c.local {
		return c, &httpapi.Error{Status: http.StatusUnauthorized, Detail: "this call needs an API key",
			Hint: "send it as X-API-Key: KEY or Authorization: Bearer KEY"}
	}
	return c, nil
}

// grant finds out what a claim is worth, or returns the *httpapi.Error that says why it is worth nothing.
func (a *Authenticator) grant(ctx context.Context, c claim) (grant, error) {
	switch {
	case a.tokens != nil && IsToken(c.key):
		user, err := a.tokens.Verify(ctx, c.key)
		if err != nil {
			return grant{}, err
		}
		return a.vouched(ctx, viewconfig.OpenToOIDC, user)
	case c.key != "":
		record, err := a.record(ctx, c.key, c.from)
		return grant{record: record}, err
	case c.named != "":
		return a.vouched(ctx, viewconfig.OpenToProxy, Vouched{Name: c.named})
	}
	who := permission.NewIdentity(c.peer.UID, append([]uint32{c.peer.GID}, c.peer.Groups...)...)
	reader := &Reader{Identity: who, Name: fmt.Sprintf("uid %d", who.UID)}
	if !who.IsRoot() {
		return a.keyless(ctx, viewconfig.OpenToSocket, reader), nil
	}
	reader.Name, reader.whole = "root", true
	return grant{Record{Name: "root at the socket", Roles: []Role{Query}, Views: AllViews}, reader}, nil
}

// IsToken tells a token of an OpenID provider (a JWT: three parts, of which the first is a JSON object in base64) from a key.
func IsToken(key string) bool { return strings.HasPrefix(key, "eyJ") && strings.Count(key, ".") == 2 }

// vouched is the grant of a user whom somebody vouches for.
func (a *Authenticator) vouched(ctx context.Context, by string, user Vouched) (grant, error) {
	name := user.Name
	var identity permission.Identity
	var err error
	switch {
	case user.Identity == nil:
		identity, err = a.users.Named(ctx, name)
	case user.Identity.IsRoot():
		err = ErrRoot
	default:
		identity = *user.Identity
	}
	if errors.Is(err, ErrRoot) {
		return grant{}, &httpapi.Error{Status: http.StatusForbidden, Detail: "root is accepted over the socket and with a key alone"}
	}
	if errors.Is(err, ErrNoUser) {
		return grant{}, &httpapi.Error{Status: http.StatusForbidden, Cause: err, Detail: fmt.Sprintf("the host of this server knows no user %q", name),
			Hint: "`getent passwd NAME` on that host must find the user by exactly this name"}
	}
	if err != nil {
		return grant{}, noIdentity(name, err)
	}
	return a.keyless(ctx, by, &Reader{Identity: identity, Name: name}), nil
}

// keyless is the grant of a user without a key.
func (a *Authenticator) keyless(ctx context.Context, by string, reader *Reader) grant {
	views := Views{All: true, admits: func(view string) error { return a.admits(ctx, view, by, reader.Identity) }}
	return grant{Record{Name: reader.Name, Roles: []Role{Query}, Views: views, As: reader.Name}, reader}
}

// admits says whether a view is open to a user without a key; otherwise it is an *httpapi.Error, the same for a view that does not exist.
func (a *Authenticator) admits(ctx context.Context, view, by string, who permission.Identity) error {
	config, err := a.configOf(ctx, view)
	if err != nil {
		return err
	}
	for _, to := range config.OpenTo {
		group, isGroup := strings.CutPrefix(to, viewconfig.OpenToGroup)
		if !isGroup {
			if to == by {
				return nil
			}
			continue
		}
		gid, err := a.users.Group(ctx, group)
		switch {
		case errors.Is(err, ErrNoUser): // nobody is in it
		case err != nil:
			return noNameService(err)
		case who.In(gid):
			return nil
		}
	}
	return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("view %q is not open to you without an API key", view),
		Hint: "an administrator opens views by `fustor admin view configure VIEW --open-to " + by + "`, or makes a key for you"}
}

func (a *Authenticator) configOf(ctx context.Context, view string) (viewconfig.Config, error) {
	if a.views == nil {
		return viewconfig.Default(view), nil
	}
	config, err := a.views.Load(ctx, view)
	switch {
	case errors.Is(err, viewconfig.ErrInvalid):
		return config, &httpapi.Error{Status: http.StatusInternalServerError, Cause: err, Detail: fmt.Sprintf("the settings of view %q are damaged, so nobody can say to whom it is open", view),
			Hint: "an administrator finds the error in the server's log"}
	case err != nil:
		return config, httpapi.StoreFailure(err)
	}
	return config, nil
}

// squashing is root as the reader of a view that squashes root, of the members of a forest, or of no view in particular; nil where root
// sees everything.
func (a *Authenticator) squashing(ctx context.Context, root Reader, view string) (*Reader, error) {
	if view != "" {
		config, err := a.configOf(ctx, view)
		if err != nil {
			return nil, err
		}
		if !config.RootSquash && !config.IsForest() {
			return nil, nil
		}
	}
	root.whole = false
	return &root, nil
}

// unsquashed admits root to views that do not squash root, for calls that are not answered as file permissions allow.
func (a *Authenticator) unsquashed(ctx context.Context) func(view string) error {
	return func(view string) error {
		config, err := a.configOf(ctx, view)
		if err == nil && config.RootSquash {
			err = errNotForUsers
		}
		return err
	}
}
