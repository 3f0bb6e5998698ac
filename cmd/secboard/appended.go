package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/eventstore"
)

// countedLog counts what this process records, for requests and beside them.
type countedLog struct {
	eventstore.Log
	appended *prometheus.CounterVec
}

func newCountedLog(log eventstore.Log, registry *prometheus.Registry) countedLog {
	appended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "secboard_events_appended_total", Help: "Events that commands of this process recorded, by type.",
	}, []string{"type"})
	registry.MustRegister(appended)
	return countedLog{log, appended}
}

// Append implements eventstore.Log.
func (l countedLog) Append(ctx context.Context, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) (eventstore.Appended, error) {
	appended, err := l.Log.Append(ctx, stream, expected, events)
	if err == nil {
		for _, event := range events {
			l.appended.WithLabelValues(event.Type).Inc()
		}
	}
	return appended, err
}
