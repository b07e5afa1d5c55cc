//go:build !reading

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fustor/fustor/agent/guard"
)

// processMetrics has what can be said of any of Fustor's processes: which build it is, and how it does.
func processMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	v := buildVersion()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "fustor_build_info", Help: "1; the labels say which build runs.",
		ConstLabels: prometheus.Labels{"version": v.Version, "commit": v.Commit, "go": v.Go, "platform": v.Platform}})
	build.Set(1)
	r.MustRegister(build)
	return r
}

// serveMetrics serves /metrics and /healthz on address until stop is called or ctx ends; nothing if it is empty.
func serveMetrics(ctx context.Context, address string, g prometheus.Gatherer, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := listen(address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"status":"ok"}`) })
	log.Info("metrics are served", "url", "http://"+l.Addr().String()+"/metrics")
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := serve(ctx, l, mux, log); err != nil {
			log.Error("metrics are no longer served", "error", err)
		}
	}()
	return func() { cancel(); <-ended }, nil
}

// notify tells the service manager, if there is one.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("cannot report the status of the service to systemd", "error", err)
	}
}

// superviseWith tells the service manager that the service has begun, as often as its watchdog asks that it answers, and
// with the answer that it ends. probe must come back while the service is well.
func superviseWith(ctx context.Context, log *slog.Logger, probe func()) (stop func()) {
	notify(log, daemon.SdNotifyReady)
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("cannot notify systemd's watchdog", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err == nil && within > 0 {
			feed(ctx, log, within/3, probe)
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// feed tells the watchdog of every probe that came back. While one does not, it says nothing, and the service manager
// ends the process when it has waited for long enough.
func feed(ctx context.Context, log *slog.Logger, every time.Duration, probe func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	back := make(chan struct{}, 1)
	asked := false
	for {
		if !asked {
			asked = true
			go func() {
				if err := guard.Do(func() error { probe(); return nil }); err != nil {
					log.Error("the agent does not respond to its own health check", "error", err)
					return
				}
				back <- struct{}{}
			}()
		}
		select {
		case <-ctx.Done():
			return
		case <-back:
			asked = false
			notify(log, daemon.SdNotifyWatchdog)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		case <-tick.C:
			log.Error("the agent does not respond to its own health check; not notifying the watchdog")
		}
	}
}
