package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secboard/secboard/secrets"
)

const benchmarkedPeople = 64

// crowd is people with passwords who come from addresses of their own, so that none is slowed down.
func crowd(b *testing.B) (a *api, signIn func(i int) answered) {
	b.Helper()
	hasher, err := secrets.NewHasher(128) // as serve has it
	if err != nil {
		b.Fatal(err)
	}
	a = newAPI(b, func(o *Options) {
		o.Commands.Hasher, o.TrustedProxies = hasher, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	for i := range benchmarkedPeople {
		a.account(b, fmt.Sprintf("person%d@example.com", i), annasPassword)
	}
	return a, func(i int) answered {
		if i%benchmarkedPeople == 0 {
			a.ahead.Add(int64(time.Minute)) // so often that nobody is slowed down
		}
		return a.call(b, "", http.MethodPost, "/sessions", map[string]any{
			"email": fmt.Sprintf("person%d@example.com", i%benchmarkedPeople), "password": annasPassword,
		}, with{"X-Forwarded-For", fmt.Sprintf("10.%d.%d.1", i/256%256, i%256)})
	}
}

// BenchmarkSignIn compares sign-ins over HTTP, from 32 clients, with what checking passwords alone reaches on the same
// cores in the same run. x_argon2id is our share of its rate.
//
//	go test ./httpapi -run '^$' -bench SignIn$ -benchtime 1000x
func BenchmarkSignIn(b *testing.B) {
	_, signIn := crowd(b)
	limit := (argon2idRate(b) + argon2idRate(b)) / 2
	b.ResetTimer()
	started := time.Now()
	var next atomic.Int64
	atOnce(32, func() {
		for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
			if in := signIn(int(i)); in.status != http.StatusCreated {
				b.Error(in)
			}
		}
	})
	rate := float64(b.N) / time.Since(started).Seconds()
	b.StopTimer()
	limit = (limit + argon2idRate(b)) / 2
	b.ReportMetric(rate, "sign-ins/s")
	b.ReportMetric(limit, "argon2id/s")
	b.ReportMetric(rate/limit, "x_argon2id")
}

// BenchmarkFlood lets 500 people sign in at the same moment, b.N times, while somebody else keeps reading. Metrics: the
// share that was let in (the others are told to come again), the reader's p99 in ms and the highest resident memory of
// the whole process, in MiB, before and during.
//
//	go test ./httpapi -run '^$' -bench Flood -benchtime 5x
func BenchmarkFlood(b *testing.B) {
	a, signIn := crowd(b)
	atOnce(runtime.GOMAXPROCS(0), func() { signIn(1) })
	before := residentPeak(b)
	var in, shed atomic.Int64
	var took []time.Duration
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			began := time.Now()
			if answer := a.call(b, a.admin, http.MethodGet, "/companies", nil); answer.status != http.StatusOK {
				b.Error(answer)
			}
			took = append(took, time.Since(began))
		}
	})
	for b.Loop() {
		var next atomic.Int64
		atOnce(500, func() {
			switch answer := signIn(int(next.Add(1))); answer.status {
			case http.StatusCreated:
				in.Add(1)
			case http.StatusServiceUnavailable, http.StatusTooManyRequests:
				if answer.header.Get("Retry-After") == "" {
					b.Error(answer)
				}
				shed.Add(1)
			default:
				b.Error(answer)
			}
		})
	}
	close(stop)
	reader.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(in.Load())/float64(in.Load()+shed.Load()), "let_in")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "reader_p99_ms")
	b.ReportMetric(before, "MiB_before")
	b.ReportMetric(residentPeak(b), "MiB_peak")
}

func atOnce(clients int, do func()) {
	var all sync.WaitGroup
	for range clients {
		all.Go(do)
	}
	all.Wait()
}

// argon2idRate is how many passwords a second all cores check when they do nothing else.
func argon2idRate(b *testing.B) float64 {
	b.Helper()
	hasher, err := secrets.NewHasher(0)
	if err != nil {
		b.Fatal(err)
	}
	hash, err := hasher.Hash(b.Context(), annasPassword)
	if err != nil {
		b.Fatal(err)
	}
	var checked atomic.Int64
	started := time.Now()
	atOnce(runtime.GOMAXPROCS(0), func() {
		for time.Since(started) < 2*time.Second {
			if _, err := hasher.Check(b.Context(), annasPassword, hash); err != nil {
				b.Error(err)
			}
			checked.Add(1)
		}
	})
	return float64(checked.Load()) / time.Since(started).Seconds()
}

// residentPeak is the highest resident memory of this process so far, in MiB, as Linux tells it.
func residentPeak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		b.Fatalf("match = %v, want something", match)
	}
	kib, err := strconv.Atoi(string(match[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}
