package projections

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secboard/secboard/postgres/pgtest"
)

var (
	auditAccounts = flag.Int("audit.accounts", 100_000, "accounts of BenchmarkAudit")
	auditEvents   = flag.Int("audit.events", 1_000_000, "events of BenchmarkAudit")
)

// BenchmarkAudit measures each question of auditors, one page, on a large installation. Metrics: p50_ms, p99_ms.
func BenchmarkAudit(b *testing.B) {
	pool := pgtest.NewDatabase(b)
	large := fillReadModels(b, pool, *auditAccounts, *auditEvents)
	for _, question := range auditQuestions(NewReadModels(pool), large) {
		b.Run(strings.ReplaceAll(question.name, " ", "-"), func(b *testing.B) {
			times := make([]time.Duration, 0, b.N)
			for b.Loop() {
				started := time.Now()
				if err := question.ask(b.Context()); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(started))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50_ms")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99_ms")
		})
	}
}
