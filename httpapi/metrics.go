package httpapi

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics of the API, beside those that the projections add to the same registry.
type metrics struct {
	latency  *prometheus.HistogramVec
	rejected prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "secboard_http_request_duration_seconds",
			Help:    "Time to answer a request, by the template of its path.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"route", "method", "status"}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "secboard_http_requests_rejected_total",
			Help: "Requests answered 503 because too many were being worked on.",
		}),
	}
	for _, collector := range []prometheus.Collector{m.latency, m.rejected} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of the API: %w", err)
		}
	}
	return m, nil
}

var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions,
}

func (m *metrics) observe(route, method string, status int, took time.Duration) {
	if !slices.Contains(knownMethods, method) {
		method = "other" // clients must not be able to make up series
	}
	m.latency.WithLabelValues(route, method, strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
}

// MetricsHandler serves what operators ask of a process: /metrics for Prometheus, and Go's profiles under
// /debug/pprof/. It asks nobody who they are, so it belongs on a listener of its own that only they reach.
func MetricsHandler(registry prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return mux
}
