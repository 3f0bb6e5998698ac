package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

// benchmarked is the program in its embedded default, with a thousand accounts.
func benchmarked(b *testing.B) (api *client, dataDir string, ids []string) {
	b.Helper()
	dataDir = filepath.Join(pgtest.TempDir(b), "data")
	_, api = serve(b, settings{"SECBOARD_DATA": dataDir, bootstrapEmail: rootEmail, bootstrapPassword: rootPassword})
	api.signIn(rootEmail, rootPassword)
	var file bytes.Buffer
	file.WriteString("email,first_name,last_name\n")
	for i := range 1000 {
		fmt.Fprintf(&file, "person%d@acme.example,Person,Number %d\n", i, i)
	}
	request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, api.url+"/api/v1/users/import", &file)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Content-Type", "text/csv")
	request.Header.Set("Authorization", "Bearer "+api.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		b.Fatal(err)
	}
	for _, account := range api.all("/api/v1/users") {
		ids = append(ids, account["id"].(string))
	}
	if len(ids) < 1000 {
		b.Fatalf("%d accounts", len(ids))
	}
	return api, dataDir, ids
}

// BenchmarkAccountByID compares GET /users/{id}, with 16 and 64 clients, with pgbench reading the same rows by id
// through prepared statements. x_pgbench is our share of its rate.
func BenchmarkAccountByID(b *testing.B) {
	api, dataDir, ids := benchmarked(b)
	for _, clients := range []int{16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			transport := &http.Transport{MaxIdleConnsPerHost: clients}
			defer transport.CloseIdleConnections()
			limit := pgbench(b, dataDir, ids[0], min(clients, 16)) // more clients gain pgbench nothing
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			started := time.Now()
			inParallel(clients, b.N, func(i int) {
				began := time.Now()
				get(b, transport, api, "/api/v1/users/"+ids[i%len(ids)])
				took[i] = time.Since(began)
			})
			rate := float64(b.N) / time.Since(started).Seconds()
			b.ReportMetric(rate, "req/s")
			b.ReportMetric(limit, "pgbench_tps")
			b.ReportMetric(rate/limit, "x_pgbench")
			reportPercentiles(b, took)
		})
	}
}

// BenchmarkCreateToVisible measures POST /users until its answer, which waits for the read models, and a GET that shows
// the account.
func BenchmarkCreateToVisible(b *testing.B) {
	api, _, _ := benchmarked(b)
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			transport := &http.Transport{MaxIdleConnsPerHost: clients}
			defer transport.CloseIdleConnections()
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			started := time.Now()
			inParallel(clients, b.N, func(i int) {
				began := time.Now()
				made := api.want(http.StatusCreated, http.MethodPost, "/api/v1/users",
					map[string]string{"email": uuid.NewString() + "@acme.example"})
				get(b, transport, api, "/api/v1/users/"+made["id"].(string))
				took[i] = time.Since(began)
			})
			b.ReportMetric(float64(b.N)/time.Since(started).Seconds(), "creates/s")
			reportPercentiles(b, took)
		})
	}
}

func inParallel(clients, n int, do func(i int)) {
	work := make(chan int)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	all.Wait()
}

func get(b *testing.B, transport *http.Transport, api *client, path string) {
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, api.url+path, nil)
	if err != nil {
		b.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+api.token)
	response, err := transport.RoundTrip(request)
	if err != nil {
		b.Error(err)
		return
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusOK {
		b.Errorf("%s: %d, %v", path, response.StatusCode, err)
	}
	if err := response.Body.Close(); err != nil {
		b.Error(err)
	}
}

func reportPercentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50_ms")
	b.ReportMetric(at(0.99), "p99_ms")
}

// pgbench gives how many accounts a second Postgres' own benchmark reads by id from the same database.
func pgbench(b *testing.B, dataDir, id string, clients int) float64 {
	b.Helper()
	url, err := postgres.LocalURL(dataDir)
	if err != nil {
		b.Fatal(err)
	}
	script := filepath.Join(b.TempDir(), "by_id.sql")
	if err := os.WriteFile(script, []byte("SELECT * FROM readmodels.users WHERE id = '"+id+"';\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	binary, err := exec.LookPath("pgbench")
	if found, globbing := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench"); err != nil && globbing == nil &&
		len(found) > 0 {
		binary, err = found[len(found)-1], nil
	}
	if err != nil {
		b.Fatalf("pgbench is needed to compare with (apt-get install -y postgresql): %v", err)
	}
	out, err := exec.CommandContext(b.Context(), binary, "-n", "-M", "prepared", "-c", strconv.Itoa(clients), "-j", "2",
		"-T", "3", "-f", script, url).CombinedOutput()
	if err != nil {
		b.Fatalf("pgbench: %v\n%s", err, out)
	}
	match := regexp.MustCompile(`tps = ([0-9.]+)`).FindSubmatch(out)
	if match == nil {
		b.Fatalf("pgbench said no rate:\n%s", out)
	}
	rate, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return rate
}
