package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// countedPage is how many events a page or a lag has at least to be shown. Below it they would tell what followed from
// a single request: whether somebody who asked for a link was sent one, so whether the address has an account.
const countedPage = 100

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
			Help: "Events of the log that this process applied to a projection, or that did not concern it, in pages " +
				"of 100 or more: while it catches up.",
		}, label),
		pages: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "secboard_projection_page_events", Help: "Events in a page that was applied in one transaction, " +
				"from 100 on.",
			Buckets: []float64{100, 200, 500, 1000, 2000, 5000},
		}, label),
		seconds: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "secboard_projection_page_seconds", Help: "Time to apply a page of 100 events or more and commit " +
				"it.",
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
			Name:        "secboard_projection_lag_events",
			Help:        "Events of the log that a projection has not applied yet; 0 for fewer than 100.",
			ConstLabels: labels,
		}, func() float64 {
			if lag := r.lag(p.Name); lag >= countedPage {
				return float64(lag)
			}
			return 0
		})
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

// observe counts a page that was applied.
func (m metrics) observe(projection string, events int, took time.Duration) {
	if events < countedPage {
		return
	}
	m.applied.WithLabelValues(projection).Add(float64(events))
	m.pages.WithLabelValues(projection).Observe(float64(events))
	m.seconds.WithLabelValues(projection).Observe(took.Seconds())
}
