package httpapi

import (
	"context"
	"net/http"
)

// An ErrorForm writes the answer of an error, whose headers are set. cause is what e was made from. Callers that expect another form
// than RFC 9457 get theirs by WithErrorForm.
type ErrorForm func(w http.ResponseWriter, e *Error, cause error)

type errorFormKey struct{}

// WithErrorForm has every error of the request, whoever finds it, answered in a form. r stays the same request, on which the mux names
// the route.
func WithErrorForm(r *http.Request, form ErrorForm) {
	*r = *r.WithContext(context.WithValue(r.Context(), errorFormKey{}, form))
}

func errorForm(ctx context.Context) ErrorForm {
	form, _ := ctx.Value(errorFormKey{}).(ErrorForm)
	return form
}
