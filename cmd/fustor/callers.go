//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/openid"
	"github.com/fustor/fustor/internal/unixsocket"
)

// callerFlags say who may ask a server without a key, where views are open to them.
type callerFlags struct {
	Socket       string `placeholder:"PATH" env:"FUSTOR_SOCKET" help:"Also answer users of this host, without a key, at this Unix socket; the commands look for /run/fustor/query.sock."`
	SocketMode   string `default:"0666" placeholder:"MODE" env:"FUSTOR_SOCKET_MODE" help:"Who may connect to the socket (default ${default}: everybody)."`
	OIDCIssuer   string `name:"oidc-issuer" placeholder:"URL" env:"FUSTOR_OIDC_ISSUER" help:"Also accept tokens (JWTs) of this OpenID provider, and let the page log in with it; needs --oidc-audience."`
	OIDCAudience string `name:"oidc-audience" placeholder:"NAME" env:"FUSTOR_OIDC_AUDIENCE" help:"What the tokens must be for (aud): the client's id at the provider."`
	OIDCClaim    string `name:"oidc-user-claim" default:"preferred_username" placeholder:"NAME" env:"FUSTOR_OIDC_USER_CLAIM" help:"The claim that has the user's name on this host (default ${default}); users must not be able to choose it."`
	OIDCUID      string `name:"oidc-uid-claim" placeholder:"NAME" env:"FUSTOR_OIDC_UID_CLAIM" help:"The claim that has the user's uid, such as uidNumber, where the name service of this host does not know the users; needs --oidc-gids-claim."`
	OIDCGIDs     string `name:"oidc-gids-claim" placeholder:"NAME" env:"FUSTOR_OIDC_GIDS_CLAIM" help:"The claim that has the gids of all groups of the user, a number or a list."`
	OIDCSecret   string `name:"oidc-client-secret-file" placeholder:"FILE" env:"FUSTOR_OIDC_CLIENT_SECRET_FILE" help:"A file with the client's secret, if the provider wants one for logins of the page."`
	UserHeader   string `placeholder:"NAME" env:"FUSTOR_USER_HEADER" help:"The header by which a reverse proxy names the user, such as X-Remote-User; needs --trusted-proxy; from elsewhere it is refused."`
}

// options are the flags as access has them, behind proxies.
func (f callerFlags) options(proxies httpapi.Proxies, logger *slog.Logger) (access.Options, error) {
	o, err := f.proxy(proxies)
	if err != nil {
		return o, err
	}
	provider, err := f.provider(logger)
	if provider != nil {
		o.Tokens = provider
	}
	return o, err
}

// findProvider has the OpenID provider asked until it answers; nobody waits for that.
func findProvider(ctx context.Context, o access.Options) {
	if p, ok := o.Tokens.(*openid.Provider); ok {
		go p.Find(ctx)
	}
}

// provider is the OpenID provider; nil without one.
func (f callerFlags) provider(logger *slog.Logger) (*openid.Provider, error) {
	if f.OIDCIssuer == "" {
		if f.OIDCAudience != "" || f.OIDCSecret != "" || f.OIDCUID != "" || f.OIDCGIDs != "" {
			return nil, usageError("--oidc-audience, --oidc-uid-claim, --oidc-gids-claim and --oidc-client-secret-file need --oidc-issuer")
		}
		return nil, nil
	}
	if (f.OIDCUID == "") != (f.OIDCGIDs == "") {
		return nil, usageError("--oidc-uid-claim and --oidc-gids-claim go together: a uid without its groups could show more than the user may see")
	}
	if f.OIDCAudience == "" {
		return nil, &cliError{msg: "--oidc-issuer needs --oidc-audience: tokens for other services would be accepted", hint: "pass the client's id at the provider, such as --oidc-audience fustor", code: exitUsage}
	}
	o := openid.Options{Issuer: f.OIDCIssuer, Audience: f.OIDCAudience, Claim: f.OIDCClaim, UIDClaim: f.OIDCUID, GIDsClaim: f.OIDCGIDs, Logger: logger}
	if f.OIDCSecret != "" {
		body, err := os.ReadFile(f.OIDCSecret)
		if err != nil {
			return nil, &cliError{msg: fmt.Sprintf("read the client's secret: %v", err), code: exitFailure, err: err}
		}
		o.Secret = strings.TrimSpace(string(body))
	}
	p, err := openid.New(o)
	if err != nil {
		return nil, usageError("--oidc-issuer: %v", err)
	}
	return p, nil
}

// proxy is the reverse proxy that names users.
func (f callerFlags) proxy(proxies httpapi.Proxies) (access.Options, error) {
	var o access.Options
	if f.UserHeader == "" {
		return o, nil
	}
	name := http.CanonicalHeaderKey(f.UserHeader)
	switch {
	case !headerName.MatchString(name):
		return o, usageError("--user-header: %q is not the name of a header", f.UserHeader)
	case taken[name]:
		return o, usageError("--user-header: %s has another meaning; use a header such as X-Remote-User", name)
	case len(proxies) == 0:
		return o, &cliError{msg: "--user-header needs --trusted-proxy: anybody could send the header", hint: "pass the address of the reverse proxy, such as --trusted-proxy 127.0.0.1", code: exitUsage}
	}
	o.Proxy.Header, o.Proxy.From = name, proxies
	return o, nil
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// taken are headers that requests have for something else.
var taken = map[string]bool{"Authorization": true, "X-Api-Key": true, access.AsHeader: true, "Cookie": true, "Host": true, "Accept": true,
	"Content-Type": true, "Content-Length": true, "Connection": true, "Origin": true, "If-None-Match": true, "User-Agent": true}

// listen makes the socket; nil without one.
func (f callerFlags) listen(ctx context.Context, logger *slog.Logger) (net.Listener, error) {
	if f.Socket == "" {
		return nil, nil
	}
	mode, err := strconv.ParseUint(f.SocketMode, 8, 32)
	if err != nil {
		return nil, usageError("--socket-mode: %q is not a mode such as 0666", f.SocketMode)
	}
	l, err := unixsocket.Listen(ctx, f.Socket, fs.FileMode(mode), logger)
	if err == nil {
		return l, nil
	}
	e := &cliError{msg: fmt.Sprintf("cannot listen at the socket %s: %v", f.Socket, plain(err)), code: exitFailure, err: err}
	var unsafe *unixsocket.UnsafeError
	switch dir := filepath.Dir(f.Socket); {
	case errors.As(err, &unsafe):
		e.msg, e.hint = unsafe.Error(), "use a directory that only root and the user of this server may write to, such as /run/fustor"
	case errors.Is(err, unixsocket.ErrInUse):
		e.hint = "stop that server first, or choose another path with --socket"
	case errors.Is(err, fs.ErrNotExist):
		e.hint = fmt.Sprintf("create the directory %s first; with systemd, RuntimeDirectory=fustor makes /run/fustor", dir)
	case errors.Is(err, fs.ErrPermission):
		e.hint = fmt.Sprintf("the user of this server must be able to write to %s; with systemd, RuntimeDirectory=fustor makes such a directory", dir)
	}
	return nil, e
}

// listenNowhere is the --listen of a server that answers at its socket alone.
const listenNowhere = "none"

// listeners are those of an address and of the socket.
func (f callerFlags) listeners(ctx context.Context, address string, secure tlsFlags, logger *slog.Logger) (all []net.Listener, err error) {
	if address != listenNowhere {
		l, err := secure.listen(address, logger)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	l, err := f.listen(ctx, logger)
	if err != nil {
		for _, opened := range all {
			opened.Close()
		}
		return nil, err
	}
	if l != nil {
		all = append(all, l)
	}
	return all, nil
}

// addresses are where listeners answer, for the log.
func addresses(all []net.Listener) (attrs []any) {
	for _, l := range all {
		if l.Addr().Network() == "unix" {
			attrs = append(attrs, "socket", l.Addr().String())
		} else {
			attrs = append(attrs, "url", urlOf(l))
		}
	}
	return attrs
}
