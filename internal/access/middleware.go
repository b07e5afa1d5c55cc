package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/permission"
)

type (
	recordKey struct{}
	againKey  struct{} // looks the key of a request up again
)

// FromContext is the record of the key that a request came with.
func FromContext(ctx context.Context) (Record, bool) {
	r, ok := ctx.Value(recordKey{}).(Record)
	return r, ok
}

// AsHeader names the user as whom an administrator asks.
const AsHeader = "Fustor-As"

// Require lets requests through to next whose caller may act in one of the roles, with its record in their context. Nothing is answered as
// file permissions allow: users are refused.
func (a *Authenticator) Require(next http.Handler, roles ...Role) http.Handler {
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		c, err := a.claimOf(r)
		if err != nil {
			return err
		}
		record, err := a.allowed(r.Context(), c, roles)
		if err == nil && r.Header.Get(AsHeader) != "" {
			err = errNotForUsers
		}
		if err != nil {
			return err
		}
		*r = *r.WithContext(context.WithValue(r.Context(), againKey{}, func(ctx context.Context) (Record, error) { return a.allowed(ctx, c, roles) }))
		a.pass(w, r, record, next)
		return nil
	})
}

// errNotForUsers refuses a user.
var errNotForUsers = &httpapi.Error{Status: http.StatusForbidden, Detail: "this call is not answered as a user's file permissions allow",
	Hint: "docs/access.md lists the calls that are; an administrator makes keys for all others"}

// allowed is the record of a caller who may act in one of the roles, or the *httpapi.Error that says why that is not so.
func (a *Authenticator) allowed(ctx context.Context, c claim, roles []Role) (Record, error) {
	g, err := a.grant(ctx, c)
	switch {
	case err != nil:
		return g.record, err
	case g.reader != nil && !g.reader.whole || g.record.Restricted():
		return g.record, errNotForUsers
	case !slices.ContainsFunc(roles, g.record.Allows):
		return g.record, notAllowed(roles[0])
	case g.reader != nil:
		g.record.Views.admits = a.unsquashed(ctx)
	}
	return g.record, nil
}

// record is the record of a key that an address sent, or the *httpapi.Error that says why there is none.
func (a *Authenticator) record(ctx context.Context, key, from string) (Record, error) {
	record, err := a.Authenticate(ctx, key)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return record, a.errWrongKey(from, "unknown or expired API key")
	case errors.Is(err, ErrRecord):
		return record, &httpapi.Error{Status: http.StatusInternalServerError, Cause: err, Detail: "the record of this API key is damaged",
			Hint: "the server's log has the error"}
	case err != nil:
		return record, httpapi.StoreFailure(err)
	}
	return record, nil
}

// RequireReader lets requests through to next that may read: those whose key has the role query, those of users, and those of
// administrators who ask as a user. If there is a user, next must answer as the file permissions of Reader allow.
func (a *Authenticator) RequireReader(next http.Handler) http.Handler {
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if err := a.Reader(w, r); err != nil {
			return err
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// Reader is what RequireReader does before it calls next: afterwards the context of r says who asks. An *httpapi.Error if nobody may.
func (a *Authenticator) Reader(w http.ResponseWriter, r *http.Request) error {
	c, err := a.claimOf(r)
	if err != nil {
		return err
	}
	c.as = r.Header.Get(AsHeader)
	record, reader, err := a.reads(r.Context(), c, r.PathValue("view_id"))
	if err != nil {
		return err
	}
	ctx := context.WithValue(r.Context(), againKey{}, func(ctx context.Context) (Record, error) {
		record, _, err := a.reads(ctx, c, r.PathValue("view_id"))
		return record, err
	})
	if reader != nil {
		ctx = context.WithValue(ctx, readerKey{}, *reader)
	}
	*r = *r.WithContext(context.WithValue(ctx, recordKey{}, record)) // r stays the same request, on which the mux has named the route
	httpapi.Trust(w)
	return nil
}

// reads is what a caller may read, and as whom; no reader: everything. The view is the one that is asked about; empty: none.
func (a *Authenticator) reads(ctx context.Context, c claim, view string) (Record, *Reader, error) {
	g, err := a.grant(ctx, c)
	switch {
	case err != nil:
		return g.record, nil, err
	case !g.record.has(Query) && !g.record.has(Admin):
		return g.record, nil, notAllowed(Query)
	case c.as != "":
		if !g.record.Allows(Admin) && (g.reader == nil || !g.reader.whole) {
			return g.record, nil, &httpapi.Error{Status: http.StatusForbidden, Detail: "only a key of the role admin, and root over the socket, may ask as a user", Hint: "leave out the header " + AsHeader + ", or the flag --as"}
		}
		sees := g.record.Allows(Admin)
		if !sees {
			squashed, err := a.squashing(ctx, *g.reader, view)
			if err != nil {
				return g.record, nil, err
			}
			sees = squashed == nil
		}
		g.record.As = c.as
		if g.reader, err = a.readerNamed(ctx, c.as); err == nil {
			g.reader.Asked = sees
		}
	case g.reader != nil && g.reader.whole:
		g.reader, err = a.squashing(ctx, *g.reader, view)
	case g.reader == nil && g.record.Restricted():
		g.reader, err = a.readerNamed(ctx, g.record.As)
	}
	return g.record, g.reader, err
}

// readerNamed is the user of a key, or as whom an administrator asks.
func (a *Authenticator) readerNamed(ctx context.Context, name string) (*Reader, error) {
	identity, err := a.users.Identity(ctx, name)
	if err != nil {
		return nil, noIdentity(name, err)
	}
	return &Reader{Identity: identity, Name: name}, nil
}

// Reader is the user whose file permissions decide on an answer.
type Reader struct {
	permission.Identity
	Name string
	// Asked: somebody who sees everything asks as this user, so an explanation of what the user sees may name what is hidden.
	Asked bool
	whole bool // root over the socket, whom views show everything that do not squash root
}

type readerKey struct{}

// ReaderFrom is the user of a request; false: the request is answered in full.
func ReaderFrom(ctx context.Context) (Reader, bool) {
	r, ok := ctx.Value(readerKey{}).(Reader)
	return r, ok
}

func noIdentity(name string, err error) error {
	if errors.Is(err, ErrNoUser) {
		return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("the host of this server knows no user %q", name),
			Hint: "`getent passwd NAME` on that host must find the user; or use numbers: uid:gid,gid"}
	}
	if CheckUser(name) != nil {
		return httpapi.BadRequest(err.Error(), "pass the name of a user, or uid:gid,gid")
	}
	return noNameService(err)
}

func noNameService(err error) error {
	return &httpapi.Error{Status: http.StatusServiceUnavailable, Passing: true, Cause: err, Detail: "the name service of the server's host does not answer, so nobody can say which groups you are in",
		Hint: "try again; `getent passwd NAME`, `getent initgroups NAME` and `getent group NAME` on that host must work"}
}

func notAllowed(role Role) error {
	return &httpapi.Error{Status: http.StatusForbidden, Detail: "this API key does not allow this", Hint: fmt.Sprintf("use a key with the role %q", role)}
}

// pass hands a request with its record to next.
func (a *Authenticator) pass(w http.ResponseWriter, r *http.Request, record Record, next http.Handler) {
	// Replacing *r keeps r the same request, on which the mux has named the route.
	*r = *r.WithContext(context.WithValue(r.Context(), recordKey{}, record))
	httpapi.Trust(w)
	next.ServeHTTP(w, r)
}

// CheckAgain says whether the caller of a request may still ask the view, for answers that last: an *httpapi.Error 401 or 403 if not.
// A store that does not answer takes nobody's right away.
func CheckAgain(ctx context.Context, view string) error {
	again, ok := ctx.Value(againKey{}).(func(context.Context) (Record, error))
	if !ok {
		return nil
	}
	record, err := again(ctx)
	var refused *httpapi.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) {
		return err
	}
	if err != nil {
		return nil
	}
	return CheckView(context.WithValue(ctx, recordKey{}, record), view)
}

// keyOf reads the key of a request; empty: there is none. Two different ones are a mistake that nobody should have to guess about.
func keyOf(r *http.Request) (string, error) {
	key := r.Header.Get("X-API-Key")
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		bearer = ""
	}
	bearer = strings.TrimSpace(bearer)
	switch {
	case key != "" && bearer != "" && key != bearer:
		return "", &httpapi.Error{Status: http.StatusUnauthorized, Detail: "X-API-Key and Authorization carry different keys",
			Hint: "send only one of them"}
	case key == "":
		return bearer, nil
	}
	return key, nil
}

// CheckView says whether the key of a request is for view: an *httpapi.Error 400 where it is no view's name, 403 where
// the key is not for it.
func CheckView(ctx context.Context, view string) error {
	if !layout.ValidView(view) {
		return httpapi.BadRequest("that is not a valid view name", "use 1 to 63 of a-z 0-9 - _, beginning with a letter or digit")
	}
	record, ok := FromContext(ctx)
	if ok && record.Views.admits != nil {
		return record.Views.admits(view)
	}
	if !ok || !record.Views.Has(view) {
		return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("this API key is not for view %q", view),
			Hint: "ask the administrator of this Fustor for a key that is"}
	}
	return nil
}
