//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/secboard/secboard/pause"
)

// TestWhatIsSentAgainAfterALostAnswerIsRecordedOnce has many sign in at once while the answers of the event store are
// late, and breaks the connection with those on their way. The log of sign-ins is the one where nothing but the ids of
// the events keeps a repeated append from being recorded twice: a person may well try twice.
func TestWhatIsSentAgainAfterALostAnswerIsRecordedOnce(t *testing.T) {
	t.Parallel()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	w, l := newWorld(t, binary, 1), newLedger()
	link := w.nodes[0].toStore
	var workers []*worker
	for i := range 24 {
		workers = append(workers, &worker{
			name: fmt.Sprintf("lost-%d", i), random: rand.New(rand.NewPCG(uint64(i), 0)), ledger: l, guesses: true,
			pace:    50 * time.Millisecond,
			clients: []*client{newClient("http://"+w.nodes[0].front.address, l)},
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, one := range workers {
		running.Go(func() { one.run(ctx) })
	}
	for range 6 {
		if err := link.poison("latency", "downstream", `"latency":50`); err != nil {
			t.Fatal(err)
		}
		pause.For(t.Context(), 1500*time.Millisecond)
		if err := link.sever(); err != nil {
			t.Fatal(err)
		}
	}
	pause.For(t.Context(), time.Second)
	stop()
	running.Wait()
	log, err := w.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	c, err := newChecker(t.Context(), log, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.checkLog()
	c.checkCommands()
	counts := l.count()
	t.Logf("%d sign-ins were answered, %d not", counts[done], counts[unknown])
	if counts[done] == 0 {
		t.Error("no sign-in was answered")
	}
	for _, violation := range l.violations {
		t.Error(violation)
	}
}
