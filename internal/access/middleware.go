package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
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

// Require lets requests through to next whose key may act in one of the roles, with its record in their context.
func (a *Authenticator) Require(next http.Handler, roles ...Role) http.Handler {
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		key, err := keyOf(r)
		if err != nil {
			return err
		}
		record, err := a.allowed(r.Context(), key, roles)
		if err != nil {
			return err
		}
		// Replacing *r keeps r the same request, on which the mux has named the route.
		ctx := context.WithValue(r.Context(), recordKey{}, record)
		*r = *r.WithContext(context.WithValue(ctx, againKey{}, func(ctx context.Context) (Record, error) { return a.allowed(ctx, key, roles) }))
		httpapi.Trust(w)
		next.ServeHTTP(w, r)
		return nil
	})
}

// allowed is the record of a key that may act in one of the roles, or the *httpapi.Error that says why it may not.
func (a *Authenticator) allowed(ctx context.Context, key string, roles []Role) (Record, error) {
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
	for _, role := range roles {
		if record.Allows(role) {
			return record, nil
		}
	}
	return record, &httpapi.Error{Status: http.StatusForbidden, Detail: "this API key does not allow this",
		Hint: fmt.Sprintf("use a key with the role %q", roles[0])}
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
