package httpapi

import "context"

type endingKey struct{}

// WithEnding returns a context in which Ending is that channel: the BaseContext of a server whose process is asked to end when it closes.
func WithEnding(ctx context.Context, ending <-chan struct{}) context.Context {
	return context.WithValue(ctx, endingKey{}, ending)
}

// Ending is closed when the process that answers a request is asked to end. Answers that last as long as the client wants end then; others
// go on for as long as the server lets them. It is nil where nobody says when the process ends.
func Ending(ctx context.Context) <-chan struct{} {
	ending, _ := ctx.Value(endingKey{}).(<-chan struct{})
	return ending
}
