package engine

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of the runner, all with the label projection.
type metrics struct {
	applied *prometheus.CounterVec
	pages   *prometheus.HistogramVec
	seconds *prometheus.HistogramVec
}

func newMetrics(registry prometheus.Registerer) metrics {
	factory := promauto.With(registry)
	label := []string{"projection"}
	return metrics{
		applied: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "secboard_projection_events_total",
			Help: "Events of the log that this process applied to a projection, or that did not concern it.",
		}, label),
		pages: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "secboard_projection_page_events", Help: "Events in a page that was applied in one transaction.",
			Buckets: []float64{1, 2, 5, 10, 50, 100, 500, 1000, 5000},
		}, label),
		seconds: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "secboard_projection_page_seconds", Help: "Time to apply a page and commit it.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, label),
	}
}

// follow adds gauges that ask the runner.
func (r *Runner) follow(registry prometheus.Registerer) {
	factory := promauto.With(registry)
	for _, p := range r.set.Projections {
		labels := prometheus.Labels{"projection": p.Name}
		factory.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "secboard_projection_lag_events", Help: "Events of the log that a projection has not applied yet.",
			ConstLabels: labels,
		}, func() float64 { return float64(r.lag(p.Name)) })
		factory.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "secboard_projection_stopped",
			Help: "1 while a projection is stopped at an event that it can't apply.", ConstLabels: labels,
		}, func() float64 {
			if r.known(p.Name).failure != "" {
				return 1
			}
			return 0
		})
	}
}
