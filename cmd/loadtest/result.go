package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/secboard/secboard/pause"
)

// result of one load.
type result struct {
	name   string
	kinds  map[string]*vegeta.Metrics
	errors map[string]int
	memory []float64 // of the server, in bytes, every samplePace
}

const (
	samplePace = 2 * time.Second
	clients    = 32
	mostAtOnce = 4096 // requests that wait for an answer
)

// attack sends a rate of requests per second, or, for 0, as many as the clients get answered.
func (l *load) attack(ctx context.Context, name string, rate float64, length time.Duration) *result {
	r := &result{name: name, kinds: map[string]*vegeta.Metrics{}, errors: map[string]int{}}
	most, pace := uint64(mostAtOnce), vegeta.Rate{Freq: int(max(1, rate)), Per: time.Second}
	if rate == 0 {
		most, pace = clients, vegeta.Rate{}
	}
	attacker := vegeta.NewAttacker(vegeta.Workers(clients), vegeta.MaxWorkers(most), vegeta.Connections(mostAtOnce),
		vegeta.Timeout(time.Minute), vegeta.MaxBody(512))
	sampling, sampled := context.WithCancel(ctx)
	var sampler sync.WaitGroup
	sampler.Go(func() { r.sample(sampling, l.metrics) })
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	for answer := range attacker.Attack(l.next, pace, length, name) {
		kind := kindOf(answer)
		for _, of := range []string{"all", kind} {
			if r.kinds[of] == nil {
				r.kinds[of] = &vegeta.Metrics{}
			}
			r.kinds[of].Add(answer)
		}
		if answer.Code < 200 || answer.Code >= 300 {
			r.errors[fmt.Sprintf("%s %d %s", kind, answer.Code, first(answer.Error+" "+string(answer.Body)))]++
		}
	}
	stop()
	sampled()
	sampler.Wait()
	for _, metrics := range r.kinds {
		metrics.Close()
	}
	return r
}

func kindOf(answer *vegeta.Result) string {
	switch {
	case answer.Method == http.MethodGet:
		return "queries"
	case strings.HasSuffix(answer.URL, "/sessions"):
		return "sign-ins"
	}
	return "commands"
}

// first is the part of an error that says what went wrong, without what differs from one to the next.
func first(text string) string {
	if _, after, found := strings.Cut(text, `"code":"`); found {
		text, _, _ = strings.Cut(after, `"`)
	}
	return text[:min(len(text), 90)]
}

// sample reads the server's resident memory from its metrics until ctx ends.
func (r *result) sample(ctx context.Context, url string) {
	for ctx.Err() == nil {
		if size := memory(ctx, url); size > 0 {
			r.memory = append(r.memory, size)
		}
		pause.For(ctx, samplePace)
	}
}

// memory is the server's, 0 where it does not tell.
func memory(ctx context.Context, url string) float64 {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if family := families["process_resident_memory_bytes"]; err == nil && family != nil {
		return family.GetMetric()[0].GetGauge().GetValue()
	}
	return 0
}

// answered is how many requests a second were answered with success.
func (r *result) answered() float64 { return r.kinds["all"].Throughput }

func (r *result) print() error {
	if r.kinds["all"] == nil {
		return context.Canceled
	}
	fmt.Printf("\n%s, for %s\n", r.name, r.kinds["all"].Duration.Round(time.Second))
	for _, kind := range slices.Sorted(maps.Keys(r.kinds)) {
		m := r.kinds[kind]
		codes := ""
		for _, code := range slices.Sorted(maps.Keys(m.StatusCodes)) {
			codes += fmt.Sprintf("  %s: %d", code, m.StatusCodes[code])
		}
		fmt.Printf("  %-9s %7.1f/s successful  p50 %8.1f ms  p99 %8.1f ms  max %8.1f ms %s\n", kind, m.Throughput,
			ms(m.Latencies.P50), ms(m.Latencies.P99), ms(m.Latencies.Max), codes)
	}
	for _, text := range slices.Sorted(maps.Keys(r.errors)) {
		fmt.Printf("  failed: %d × %s\n", r.errors[text], text)
	}
	if n := len(r.memory); n > 0 {
		tenth := max(1, n/10)
		fmt.Printf("  memory of the server: first tenth %s, last tenth %s, highest %s\n", size(mean(r.memory[:tenth])),
			size(mean(r.memory[n-tenth:])), size(slices.Max(r.memory)))
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func size(bytes float64) string { return humanize.IBytes(uint64(bytes)) }

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
