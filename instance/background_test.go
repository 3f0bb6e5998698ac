package instance

import (
	"context"
	"errors"
	"testing"
)

func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestTheEndOfBackgroundWorkIsNoticed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reason error
		want   string
	}{
		"with a reason":    {errors.New("no more paper"), "the sending of mail ended: no more paper"},
		"without a reason": {nil, "the sending of mail ended unexpectedly without an error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := NewBackground()
			b.Start("the projections", untilStopped)
			b.Start("the sending of mail", func(context.Context) error { return test.reason })
			<-b.Ended()
			if err := b.End(); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestBackgroundWorkThatIsStopped(t *testing.T) {
	t.Parallel()
	b := NewBackground()
	b.Start("the projections", untilStopped)
	if err := b.End(); err != nil {
		t.Errorf("it ended as it should, but: %v", err)
	}
	b = NewBackground()
	b.Start("the sending of mail", func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("a mail is cut")
	})
	if err := b.End(); err == nil || err.Error() != "stopping the sending of mail: a mail is cut" {
		t.Error(err)
	}
}
