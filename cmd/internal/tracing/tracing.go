// Package tracing sends traces where the environment asks for them, by the variables that OpenTelemetry has for all programs.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/fustor/fustor/internal/trace"
)

// endTime is how long the last spans may take on their way when a process ends.
const endTime = 5 * time.Second

// Wanted reports whether the environment asks for traces, and what is wrong with how it does.
func Wanted(getenv func(string) string) (bool, error) {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || exporter == "none" {
		return false, nil
	}
	if getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" && exporter == "" {
		return false, nil
	}
	if exporter != "" && exporter != "otlp" {
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: fustor sends traces by otlp, or none", exporter)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := getenv(name); protocol != "" {
			if protocol != "http/protobuf" {
				return false, fmt.Errorf("%s is %q: fustor speaks http/protobuf alone, to a collector's port 4318", name, protocol)
			}
			break
		}
	}
	return true, nil
}

// Start sends the traces of a part from now on, if they are wanted. end sends what is left; it is never nil.
func Start(ctx context.Context, part, version string, getenv func(string) string, log *slog.Logger) (end func(), err error) {
	end = func() {}
	wanted, err := Wanted(getenv)
	if err != nil || !wanted {
		return end, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return end, fmt.Errorf("traces: %w", err)
	}
	from, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "fustor-"+part), attribute.String("service.version", version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv()) // the environment has the last word
	if err != nil {
		return end, fmt.Errorf("traces: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are not sent", "error", err) }))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(from))
	otel.SetTracerProvider(provider)
	trace.Enable()
	log.Info("traces are sent")
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last traces are not sent", "error", err)
		}
	}, nil
}
