//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/secboard/secboard/pause"
)

// fault is one kind of thing that goes wrong. do makes it so and gives what ends it.
type fault struct {
	kind string
	do   func() (end func() error, err error)
}

// injector breaks a world, at random.
type injector struct {
	world   *world
	ledger  *ledger
	random  *rand.Rand
	longest time.Duration // of a fault that lasts
	deck    []int         // of the kinds of fault that come next, so that a short run has them all

	injected   map[string]int
	rounds     atomic.Int64
	recoveries []recovery
}

// recovery is how long after the end of the faults of one round everything was normal.
type recovery struct {
	faults string
	took   time.Duration
}

// lasting makes a fault of what lasts for a while.
func lasting(kind string, begin, end func() error) fault {
	return fault{kind, func() (func() error, error) { return end, begin() }}
}

func succeeds(do func()) func() error {
	return func() error { do(); return nil }
}

// faults lists everything that can go wrong in the world, each kind with a part picked at random.
func (in *injector) faults() []fault {
	w := in.world
	parts := w.parts()
	part := parts[in.random.IntN(len(parts))]
	victim := parts[2+in.random.IntN(len(parts)-2)] // an instance of secboard
	links := w.links()
	link := links[in.random.IntN(len(links))]
	toStore := w.nodes[in.random.IntN(len(w.nodes))].toStore
	direction := []string{"upstream", "downstream"}[in.random.IntN(2)]
	list := []fault{
		lasting("kill "+part.name, succeeds(func() { part.kill(true) }), succeeds(part.start)),
		lasting("kill and restart "+victim.name, succeeds(func() { victim.kill(false) }), succeeds(func() {})),
		lasting("freeze "+part.name, succeeds(part.freeze), succeeds(part.thaw)),
		lasting("cut "+link.name, succeeds(link.cut), link.heal),
		lasting("black hole "+link.name, link.blackHole, link.heal),
		lasting("slow "+link.name, func() error { return link.poison("latency", direction, `"latency":1000`) },
			link.heal),
		lasting("cut after some bytes "+link.name, func() error {
			return link.poison("limit_data", direction, fmt.Sprintf(`"bytes":%d`, 1+in.random.IntN(20_000)))
		}, link.heal),
		{"answers cut " + toStore.name, func() (func() error, error) {
			// Late answers, so that at any moment many are on their way; then all connections break, with what was done
			// and not yet answered. Whoever sends it again meets a store that has it.
			for range 4 {
				if err := toStore.poison("latency", "downstream", `"latency":300`); err != nil {
					return nil, err
				}
				pause.For(w.t.Context(), time.Second)
				if err := toStore.sever(); err != nil {
					return nil, err
				}
			}
			return succeeds(func() {}), nil
		}},
		{"answers lost " + toStore.name, func() (func() error, error) {
			// Just longer than clients of the event store wait, so that they send again what was done already.
			if err := toStore.poison("timeout", "downstream", `"timeout":0`); err != nil {
				return nil, err
			}
			pause.For(w.t.Context(), time.Duration(1500+in.random.IntN(1000))*time.Millisecond)
			return succeeds(func() {}), toStore.heal()
		}},
		{"restart storm " + part.name, func() (func() error, error) {
			for range 3 {
				part.kill(false)
				pause.For(w.t.Context(), 300*time.Millisecond)
			}
			return succeeds(func() {}), nil
		}},
	}
	if len(w.disks) > 0 {
		disk := w.disks[in.random.IntN(len(w.disks))]
		owner := w.store
		if disk.name == "postgres" {
			owner = w.database
		}
		list = append(list, lasting("disk full "+owner.name,
			func() error { owner.mayEnd(true); return disk.fill() },
			func() error {
				// One that went on until now may still end of it, a moment later.
				time.AfterFunc(10*time.Second, func() { owner.mayEnd(false) })
				return disk.empty()
			}))
	}
	if w.clock != "" {
		by := time.Duration(in.random.IntN(7200)-3600) * time.Second
		list = append(list, lasting(fmt.Sprintf("clock %+d s", by/time.Second), succeeds(func() {
			w.setClock(by)
		}), succeeds(func() { w.setClock(0) })))
	}
	return list
}

// run breaks things, round after round, until ctx ends. Between the rounds everything has to become normal.
func (in *injector) run(ctx context.Context) {
	in.injected = map[string]int{}
	for ctx.Err() == nil {
		if !pause.For(ctx, time.Duration(300+in.random.IntN(1500))*time.Millisecond) {
			return
		}
		in.round(ctx)
	}
}

// next picks a kind of fault; each comes once before any comes again.
func (in *injector) next() fault {
	all := in.faults()
	if len(in.deck) == 0 {
		in.deck = in.random.Perm(len(all))
	}
	chosen := all[in.deck[0]]
	in.deck = in.deck[1:]
	return chosen
}

// round injects one to three faults that overlap, ends them, and waits for what has to be normal then.
func (in *injector) round(ctx context.Context) {
	var names []string
	var ends []func() error
	for range 1 + in.random.IntN(3) {
		chosen := in.next()
		end, err := chosen.do()
		if err != nil {
			in.ledger.violate(fmt.Sprintf("the fault %q can't be injected: %v", chosen.kind, err))
			continue
		}
		in.injected[chosen.kind]++
		names, ends = append(names, chosen.kind), append(ends, end)
		pause.For(ctx, time.Duration(in.random.Int64N(int64(in.longest)/2)))
	}
	pause.For(ctx, time.Duration(in.random.Int64N(int64(in.longest)/2)))
	for _, end := range ends {
		if err := end(); err != nil {
			in.ledger.violate(fmt.Sprintf("a fault of %q can't be ended: %v", names, err))
		}
	}
	in.rounds.Add(1)
	// Once ctx ended there is no more to break, but this round still has to come to its end.
	in.recover(context.WithoutCancel(ctx), fmt.Sprintf("%q", names))
}

// recover measures how long after the parts are back the whole is normal.
func (in *injector) recover(ctx context.Context, after string) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for _, p := range in.world.parts() {
		if err := p.awaitReady(ctx); err != nil {
			in.ledger.violate(fmt.Sprintf("after %s: %v", after, err))
			return
		}
	}
	started := time.Now()
	var probing sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	for _, n := range in.world.nodes {
		probing.Go(func() {
			if err := normal(ctx, n); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			}
		})
	}
	probing.Wait()
	took := time.Since(started)
	in.recoveries = append(in.recoveries, recovery{after, took})
	if err := errors.Join(failures...); err != nil {
		in.ledger.violate(fmt.Sprintf("after %s it is still not normal %s after all parts are back: %v", after,
			took.Round(time.Millisecond), err))
	}
}

// normal returns when an instance is ready, seen from outside.
func normal(ctx context.Context, n *instance) error {
	started := time.Now()
	for {
		asking, stop := context.WithTimeout(ctx, 3*time.Second)
		_, err := status(asking, "http://"+n.front.address+"/readyz")
		stop()
		if err == nil {
			return nil
		}
		if !pause.For(ctx, 50*time.Millisecond) || !within(time.Since(started), backWithin) {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
}

// slowestRecovery gives the longest and the middle one.
func (in *injector) slowestRecovery() (worst recovery, median time.Duration) {
	if len(in.recoveries) == 0 {
		return recovery{}, 0
	}
	sorted := slices.SortedFunc(slices.Values(in.recoveries), func(a, b recovery) int { return int(a.took - b.took) })
	return sorted[len(sorted)-1], sorted[len(sorted)/2].took
}
