package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// invocation is the id of the one under way: a function's process has one at a time.
var invocation atomic.Pointer[string]

// newLogger writes lines of JSON with the names that Lambda's own log lines have, and the id of the invocation.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(withRequestID{slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return a
		}
		switch a.Key {
		case slog.TimeKey:
			a.Key = "timestamp"
		case slog.MessageKey:
			a.Key = "message"
		}
		return a
	}})})
}

// takeLibrariesLog has what libraries print by the log package, Lambda's own and net/http's above all, be lines of our log.
func takeLibrariesLog(log *slog.Logger) {
	slog.SetDefault(log)
	slog.SetLogLoggerLevel(slog.LevelWarn)
}

type withRequestID struct{ slog.Handler }

// Handle implements slog.Handler.
func (h withRequestID) Handle(ctx context.Context, r slog.Record) error {
	id := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		id = lc.AwsRequestID
	} else if p := invocation.Load(); p != nil {
		id = *p // of what logs without a context
	}
	if id != "" {
		r.AddAttrs(slog.String("requestId", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h withRequestID) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequestID{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h withRequestID) WithGroup(name string) slog.Handler {
	return withRequestID{h.Handler.WithGroup(name)}
}

// enter notes which invocation is under way.
func enter(ctx context.Context) {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		invocation.Store(&lc.AwsRequestID)
	}
}
