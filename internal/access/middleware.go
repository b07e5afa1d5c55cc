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

// Require lets requests through to next whose key may act in one of the roles, with its record in their context. Nothing is answered as
// file permissions allow: keys of users are refused.
func (a *Authenticator) Require(next http.Handler, roles ...Role) http.Handler {
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		key, err := keyOf(r)
		if err != nil {
			return err
		}
		record, err := a.allowed(r.Context(), key, roles)
		if err == nil && r.Header.Get(AsHeader) != "" {
			err = errNotForUsers
		}
		if err != nil {
			return err
		}
		*r = *r.WithContext(context.WithValue(r.Context(), againKey{}, func(ctx context.Context) (Record, error) { return a.allowed(ctx, key, roles) }))
		a.pass(w, r, record, next)
		return nil
	})
}

// errNotForUsers refuses a user.
var errNotForUsers = &httpapi.Error{Status: http.StatusForbidden, Detail: "this call is not answered as a user's file permissions allow",
	Hint: "docs/access.md lists the calls that are; an administrator makes keys for all others"}

// allowed is the record of a key that may act in one of the roles, or the *httpapi.Error that says why it may not.
func (a *Authenticator) allowed(ctx context.Context, key string, roles []Role) (Record, error) {
	record, err := a.record(ctx, key)
	switch {
	case err != nil:
		return record, err
	case record.Restricted():
		return record, errNotForUsers
	case !slices.ContainsFunc(roles, record.Allows):
		return record, notAllowed(roles[0])
	}
	return record, nil
}

// record is the record of a key, or the *httpapi.Error that says why there is none.
func (a *Authenticator) record(ctx context.Context, key string) (Record, error) {
	record, err := a.Authenticate(ctx, key)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return record, &httpapi.Error{Status: http.StatusUnauthorized, Detail: "unknown or expired API key",
			Hint: "ask the administrator of this Fustor for a key"}
	case errors.Is(err, ErrRecord):
		return record, &httpapi.Error{Status: http.StatusInternalServerError, Cause: err, Detail: "the record of this API key is damaged",
			Hint: "the server's log has the error"}
	case err != nil:
		return record, httpapi.StoreFailure(err)
	}
	return record, nil
}

// RequireReader lets requests through to next that may read: those whose key has the role query, those of users whose key says
// who they are, and those of administrators who ask as a user. If there is a user, next must answer as
// the file permissions of Reader allow.
func (a *Authenticator) RequireReader(next http.Handler) http.Handler {
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		key, err := keyOf(r)
		if err != nil {
			return err
		}
		record, err := a.record(r.Context(), key)
		if err != nil {
			return err
		}
		if !record.has(Query) && !record.has(Admin) {
			return notAllowed(Query)
		}
		if as := r.Header.Get(AsHeader); as != "" {
			if !record.Allows(Admin) {
				return &httpapi.Error{Status: http.StatusForbidden, Detail: "only a key of the role admin may ask as a user", Hint: "leave out the header " + AsHeader + ", or the flag --as"}
			}
			record.As = as
		}
		if record.Restricted() {
			identity, err := a.users.Identity(r.Context(), record.As)
			if err != nil {
				return noIdentity(record.As, err)
			}
			*r = *r.WithContext(context.WithValue(r.Context(), readerKey{}, Reader{Identity: identity, Name: record.As}))
		}
		a.pass(w, r, record, next)
		return nil
	})
}

// Reader is the user whose file permissions decide on an answer.
type Reader struct {
	permission.Identity
	Name string
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
	return &httpapi.Error{Status: http.StatusServiceUnavailable, Passing: true, Cause: err, Detail: "the name service of the server's host does not answer, so nobody can say which groups you are in",
		Hint: "try again; `getent passwd NAME` and `getent initgroups NAME` on that host must work"}
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

// CheckAgain says whether the key of a request is still one for the view, for answers that last: an *httpapi.Error 401 or 403 if it is
// not. A store that does not answer takes nobody's right away.
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

// keyOf reads the key of a request. Two different ones are a mistake that nobody should have to guess about.
func keyOf(r *http.Request) (string, error) {
	key := r.Header.Get("X-API-Key")
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		bearer = ""
	}
	bearer = strings.TrimSpace(bearer)
	switch {
	case key == "" && bearer == "":
		return "", &httpapi.Error{Status: http.StatusUnauthorized, Detail: "this call needs an API key",
			Hint: "send it as X-API-Key: KEY or Authorization: Bearer KEY"}
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
	if !ok || !record.Views.Has(view) {
		return &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("this API key is not for view %q", view),
			Hint: "ask the administrator of this Fustor for a key that is"}
	}
	return nil
}
