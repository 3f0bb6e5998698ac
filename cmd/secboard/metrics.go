package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/eventstore"
)

const (
	settingMetrics = "SECBOARD_METRICS_LISTEN"
	defaultMetrics = "127.0.0.1:9464"
	noMetrics      = "off"
)

// listenForMetrics opens the port of the metrics; nil where there is to be none. Without a setting another instance on
// this machine may have the default port, which is no reason not to start.
func (s *httpSettings) listenForMetrics(ctx context.Context, logger *slog.Logger) (net.Listener, error) {
	switch s.MetricsListen {
	case noMetrics:
		return nil, nil
	case "":
		listener, err := listen(ctx, settingMetrics, defaultMetrics)
		if errors.Is(err, syscall.EADDRINUSE) {
			logger.Warn("there are no metrics: another program has their port; set " + settingMetrics +
				" to another address, or to " + noMetrics)
			return nil, nil
		}
		return listener, err
	}
	listener, err := listen(ctx, settingMetrics, s.MetricsListen)
	if err == nil && !isLoopback(listener.Addr()) {
		logger.Warn("metrics and profiles ask nobody who they are: let nobody but your monitoring reach their port",
			"address", listener.Addr().String())
	}
	return listener, err
}

// serveMetrics serves until ctx ends.
func serveMetrics(ctx context.Context, listener net.Listener, handler http.Handler, logger *slog.Logger) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 2 * time.Minute, // a profile takes 30 s
		IdleTimeout:  2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() {
		if err := server.Close(); err != nil {
			logger.Warn("the server of the metrics did not end well", "error", err)
		}
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// countedLog counts what people do, by the type of the event. What happens to somebody who asks for a link, and the
// mails that follow, is not counted: the counters would tell whether an address has an account.
type countedLog struct {
	eventstore.Log
	appended *prometheus.CounterVec
}

func newCountedLog(log eventstore.Log, registry *prometheus.Registry) countedLog {
	appended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "secboard_events_appended_total",
		Help: "Events that people who are signed in, and commands on this machine, recorded by this process, by type.",
	}, []string{"type"})
	registry.MustRegister(appended)
	return countedLog{log, appended}
}

// Append implements eventstore.Log.
func (l countedLog) Append(ctx context.Context, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) (eventstore.Appended, error) {
	appended, err := l.Log.Append(ctx, stream, expected, events)
	if err == nil && len(events) > 0 && ofSomebodyKnown(events[0]) {
		for _, event := range events {
			l.appended.WithLabelValues(event.Type).Inc()
		}
	}
	return appended, err
}

// ofSomebodyKnown says whether who caused an event had to prove who they are. Events of one append have one cause.
func ofSomebodyKnown(event eventstore.Proposed) bool {
	var meta eventstore.Metadata
	if err := json.Unmarshal(event.Metadata, &meta); err != nil {
		return false
	}
	signedIn := meta.Actor.Kind == eventstore.ActorUser && meta.Actor.ID != ""
	return signedIn || meta.Actor.Kind == eventstore.ActorOperator
}
