//go:build !reading

package main

import (
	"context"
	"log/slog"

	"github.com/fustor/fustor/cmd/internal/tracing"
)

// startTraces sends the traces of a part, if the environment asks for them. end sends what is left of them; it is never nil.
func (a *app) startTraces(ctx context.Context, part string, log *slog.Logger) (end func(), err error) {
	end, err = tracing.Start(ctx, part, buildVersion().Version, a.getenv, log)
	if err != nil {
		err = &cliError{msg: err.Error(), hint: "docs/observability.md says which variables of OpenTelemetry count; OTEL_SDK_DISABLED=true switches traces off", code: exitUsage, err: err}
	}
	return end, err
}
