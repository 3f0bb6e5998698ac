package instance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secboard/secboard/eventstore"
)

func TestReadModelsThatStandStillAreNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const moves = 5 * time.Minute
		began := time.Now()
		forEver := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		position := func(context.Context) (eventstore.Position, error) {
			return eventstore.Position(min(time.Since(began), moves).Seconds()), nil
		}
		err := whileMoving(t.Context(), forEver, position)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "have not moved for 30s") ||
			took < moves+stallTime || took > moves+2*stallTime {
			t.Errorf("after %s: %v", took, err)
		}
		away := errors.New("the database is away")
		err = whileMoving(t.Context(), forEver, func(context.Context) (eventstore.Position, error) { return 0, away })
		if !errors.Is(err, away) {
			t.Error(err)
		}
		slow := func(context.Context) error { <-time.After(moves); return nil }
		if err := whileMoving(t.Context(), slow, position); err == nil {
			t.Error("what stands still is waited for")
		}
		began = time.Now()
		if err := whileMoving(t.Context(), slow, position); err != nil {
			t.Error(err)
		}
		interrupted, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := whileMoving(interrupted, forEver, position); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		<-time.After(moves) // slow, of which nobody waits for the end, ends
	})
}
