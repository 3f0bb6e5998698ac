//go:build linux

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/pause"
)

// quickRun is how long the run breaks things that is part of `go test ./...`.
const quickRun = 45 * time.Second

// A run with fewer acknowledged commands, or fewer rounds of faults, says nothing.
const leastDone, leastRounds = 100, 2

// TestPromisesHoldUnderFaults has clients change accounts on two instances while everything breaks at random, and
// compares in the end what was acknowledged with the log, the read models, the histories, earlier times and a replay.
//
// FAULTS_FOR=30m is for how long, FAULTS_SEED repeats the choices of an earlier run, though not its timing.
func TestPromisesHoldUnderFaults(t *testing.T) {
	t.Parallel()
	length, long := quickRun, false
	if text := os.Getenv("FAULTS_FOR"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("FAULTS_FOR is %q: it must be a time such as 30m", text)
		}
		long = true
	}
	seed := uint64(1) // the short run breaks the same things each time: it guards changes, the long one searches
	if long {
		seed = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("FAULTS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("FAULTS_SEED is %q: it must be a number, as an earlier run printed it", text)
		}
	}
	program := built
	longest := 4 * time.Second
	if long {
		program, longest = clockBuilt, 20*time.Second
	}
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("FAULTS_SEED=%d", seed)
	source := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

	w := newWorld(t, binary, 2)
	if long && len(w.disks) < 2 {
		t.Fatal("the long run makes disks full, and only root can mount one for that: run it as root on a machine, " +
			"or in a container that may mount")
	}
	l := newLedger()
	in := &injector{world: w, ledger: l, random: source(0), longest: longest}
	workers := makeWorkers(t, w, l, source)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ending := time.AfterFunc(length, func() {
		// A busy machine may need longer for anything to compare.
		for waited := time.Duration(0); waited < deadline &&
			(l.count()[done] < leastDone || in.rounds.Load() < leastRounds); waited += time.Second {
			pause.For(ctx, time.Second)
		}
		stop()
	})
	defer ending.Stop()
	working, stopWorking := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, one := range workers {
		running.Go(func() { one.run(working) })
	}
	in.run(ctx)
	pause.For(t.Context(), time.Second) // some commands more, on a system without faults
	stopWorking()
	running.Wait()

	compare(t, w, l, source(1))
	for _, p := range w.parts() {
		p.mu.Lock()
		for _, ended := range p.ended {
			l.violate(ended)
		}
		p.mu.Unlock()
		checkOutput(t, l, p)
	}
	report(t, w, l, in, length, seed)
}

// makeWorkers signs workers in.
func makeWorkers(t *testing.T, w *world, l *ledger, source func(uint64) *rand.Rand) []*worker {
	t.Helper()
	var clients []*client
	for _, n := range w.nodes {
		c := newClient("http://"+n.front.address, l)
		c.mustSignIn(t)
		clients = append(clients, c)
	}
	common := &shared{}
	var workers []*worker
	for i := range 16 {
		one := &worker{
			name: strconv.Itoa(i), random: source(uint64(100 + i)), clients: clients, ledger: l, shared: common,
			pace: 60 * time.Millisecond, emails: map[string]string{},
		}
		if one.guesses = i%2 == 1; one.guesses {
			one.pace = 400 * time.Millisecond // each costs a check of a password
		}
		workers = append(workers, one)
	}
	return workers
}

// compare checks everything in the end, without faults.
func compare(t *testing.T, w *world, l *ledger, random *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	log, err := w.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, n := range w.nodes {
		if err := w.live(ctx, n, l); err != nil {
			l.violate(err.Error())
			return
		}
	}
	c, err := newChecker(ctx, log, l, random)
	if err != nil {
		t.Fatal(err)
	}
	c.checkLog()
	c.checkCommands()
	for _, n := range w.nodes {
		api := newClient("http://"+n.front.address, l)
		api.mustSignIn(t)
		// Signing in has written to a stream that is not compared; accounts are as they were.
		if err := c.checkAPI(ctx, api); err != nil {
			l.violate(err.Error())
		}
	}
	if err := w.verify(ctx); err != nil {
		l.violate(err.Error())
	}
	accounts := 0
	for stream := range c.streams {
		if strings.HasPrefix(stream, user.Kind+"-") {
			accounts++
		}
	}
	t.Logf("compared: %d commands, %d events in %d streams, %d of them accounts", len(l.records), len(c.log),
		len(c.streams), accounts)
}

// live waits until the read models of an instance have the whole log.
func (w *world) live(ctx context.Context, n *instance, l *ledger) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	api := newClient("http://"+n.front.address, l)
	for {
		err := api.signIn(ctx)
		if err == nil {
			break
		}
		if !pause.For(ctx, 3*time.Second) { // less often than the limit of attempts allows
			return fmt.Errorf("nobody can sign in at %s: %w", n.name, err)
		}
	}
	for {
		var page struct {
			Items []struct {
				Name  string `json:"name"`
				State string `json:"state"`
			} `json:"items"`
		}
		err := get(ctx, api, "/projections", &page)
		behind := false
		for _, p := range page.Items {
			behind = behind || p.State != "live"
		}
		if err == nil && !behind && len(page.Items) > 0 {
			return nil
		}
		if !pause.For(ctx, 100*time.Millisecond) {
			return errors.Join(fmt.Errorf("the read models of %s do not become live: %v", n.name, page.Items), err)
		}
	}
}

// checkOutput looks through what a part wrote for what must never be there.
func checkOutput(t *testing.T, l *ledger, p *part) {
	t.Helper()
	content, err := os.ReadFile(p.log)
	if err != nil {
		t.Error(err)
		return
	}
	for _, never := range []string{
		rootPassword, "DATA RACE", "panic:", `"msg":"panic"`, `"msg":"unexpected error"`, "fatal error:",
	} {
		if i := bytes.Index(content, []byte(never)); i >= 0 {
			l.violate(fmt.Sprintf("%s wrote %q: %s", p.name, never, content[max(0, i-300):min(len(content), i+700)]))
		}
	}
}

func report(t *testing.T, w *world, l *ledger, in *injector, length time.Duration, seed uint64) {
	t.Helper()
	counts := l.count()
	var text strings.Builder
	fmt.Fprintf(&text, "Broke things for %s, FAULTS_SEED=%d:\n", length, seed)
	fmt.Fprintf(&text, "  commands: %d acknowledged, %d refused, %d unknown\n", counts[done], counts[refused],
		counts[unknown])
	fmt.Fprintf(&text, "  answers by status (0: none): %v\n", l.answers)
	fmt.Fprintf(&text, "  slowest answers: command %s, query %s\n", l.slowest["command"].Round(time.Millisecond),
		l.slowest["query"].Round(time.Millisecond))
	total, kinds := 0, map[string]int{}
	for kind, n := range in.injected {
		total += n
		if strings.HasPrefix(kind, "clock") {
			kind = "clock jump"
		}
		kinds[kind] += n
	}
	fmt.Fprintf(&text, "  faults injected: %d in %d rounds\n", total, in.rounds.Load())
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&text, "    %4d %s\n", kinds[kind], kind)
	}
	crashes := 0
	for _, p := range w.parts() {
		crashes += p.kills
	}
	worst, median := in.slowestRecovery()
	fmt.Fprintf(&text, "  crashes survived: %d\n", crashes)
	fmt.Fprintf(&text, "  normal again after all parts were back: median %s, at most %s (after %s)\n",
		median.Round(time.Millisecond), worst.took.Round(time.Millisecond), worst.faults)
	fmt.Fprintf(&text, "  violations: %d\n", len(l.violations))
	t.Log(text.String())
	if counts[done] < leastDone || in.rounds.Load() < leastRounds {
		t.Errorf("%d commands were acknowledged, in %d rounds of faults: too few to say anything", counts[done],
			in.rounds.Load())
	}
	for _, violation := range l.violations {
		t.Error(violation)
	}
}
