// Package trace says where spans of OpenTelemetry begin and end. Without Enable, which cmd/internal/tracing calls where the environment
// asks for traces, nothing is made and nothing costs.
//
// What spans tell: kinds of requests, routes, names of views, keys of objects, counts and bytes. What they never tell: paths and names of
// files, API keys, query strings.
package trace

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Kinds of spans.
const (
	Internal = trace.SpanKindInternal
	Client   = trace.SpanKindClient
	Server   = trace.SpanKindServer
)

var (
	enabled    atomic.Bool
	tracer     = otel.Tracer("github.com/fustor/fustor")
	propagator = propagation.TraceContext{}
)

// Enable has spans made from now on, by the provider that otel has.
func Enable() { enabled.Store(true) }

// Span is what takes some time; nil is none, and has all methods.
type Span struct{ span trace.Span }

// Start begins a span as part of that of ctx, or a trace of its own.
func Start(ctx context.Context, kind trace.SpanKind, name string, is ...attribute.KeyValue) (context.Context, *Span) {
	if !enabled.Load() {
		return ctx, nil
	}
	ctx, span := tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(is...))
	return ctx, &Span{span}
}

// Since is Start of what began earlier, and is worth a span, as is known only now.
func Since(ctx context.Context, began time.Time, name string, is ...attribute.KeyValue) (context.Context, *Span) {
	if !enabled.Load() {
		return ctx, nil
	}
	ctx, span := tracer.Start(ctx, name, trace.WithTimestamp(began), trace.WithAttributes(is...))
	return ctx, &Span{span}
}

// Within is Start as part of the span of ctx; where that has none, there is none.
func Within(ctx context.Context, kind trace.SpanKind, name string, is ...attribute.KeyValue) (context.Context, *Span) {
	if !enabled.Load() || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, nil
	}
	return Start(ctx, kind, name, is...)
}

// Name gives the span the name that is known by now.
func (s *Span) Name(name string) {
	if s != nil {
		s.span.SetName(name)
	}
}

// Is adds to what the span tells.
func (s *Span) Is(is ...attribute.KeyValue) {
	if s != nil {
		s.span.SetAttributes(is...)
	}
}

// Failed says that it failed, in words without names of files.
func (s *Span) Failed(why string) {
	if s != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// EndWith ends the span, with the error that it came to, if any. What exactly was wrong may have names of files, and is in the log.
func (s *Span) EndWith(err error) {
	if s != nil && err != nil {
		s.Failed(reason(err))
	}
	s.End()
}

// End ends the span.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}

// Inject tells the receiver of a request of the span that it is part of (W3C's traceparent).
func Inject(ctx context.Context, header http.Header) {
	if enabled.Load() {
		propagator.Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// Extract takes over the trace that the sender of a request tells of.
func Extract(ctx context.Context, header http.Header) context.Context {
	if !enabled.Load() {
		return ctx
	}
	return propagator.Extract(ctx, propagation.HeaderCarrier(header))
}

// View, Text and Number are what spans tell.
func View(view string) attribute.KeyValue               { return attribute.String("fustor.view", view) }
func Text(key, value string) attribute.KeyValue         { return attribute.String(key, value) }
func Number(key string, value int64) attribute.KeyValue { return attribute.Int64(key, value) }
