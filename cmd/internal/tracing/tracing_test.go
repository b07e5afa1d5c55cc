package tracing

import (
	"strings"
	"testing"
)

// TestWanted: traces are off unless the environment asks for them, and what it asks for in vain is named.
func TestWanted(t *testing.T) {
	for asked, want := range map[string]string{
		"":                          "off",
		"OTEL_SERVICE_NAME=x":       "off",
		"OTEL_TRACES_EXPORTER=otlp": "on",
		"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318":                                             "off",
		"OTEL_SDK_DISABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318":                                                "off",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318":                                                                       "on",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces":                                                      "on",
		"OTEL_TRACES_EXPORTER=zipkin":                                                                                     "OTEL_TRACES_EXPORTER",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc":                                      "OTEL_EXPORTER_OTLP_PROTOCOL",
		"OTEL_EXPORTER_OTLP_ENDPOINT=x OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf":                                         "on",
		"OTEL_EXPORTER_OTLP_ENDPOINT=x OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf": "on",
	} {
		environment := map[string]string{}
		for _, variable := range strings.Fields(asked) {
			name, value, _ := strings.Cut(variable, "=")
			environment[name] = value
		}
		on, err := Wanted(func(name string) string { return environment[name] })
		switch {
		case err != nil && !strings.Contains(err.Error(), want), err == nil && want != map[bool]string{false: "off", true: "on"}[on]:
			t.Errorf("%s: %v, %v", asked, on, err)
		}
	}
}
