package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestTheEndOfBackgroundWorkIsNoticed(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]error{
		"the sending of mail ended: no more paper":               errors.New("no more paper"),
		"the sending of mail ended: for no reason that it tells": nil,
	} {
		b := newBackground()
		b.start("the projections", untilStopped)
		b.start("the sending of mail", func(context.Context) error { return reason })
		<-b.ended()
		assert.EqualError(t, b.end(), name)
	}

	b := newBackground()
	b.start("the projections", untilStopped)
	assert.NoError(t, b.end(), "as it should end")
	b = newBackground()
	b.start("the sending of mail", func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("a mail is cut")
	})
	assert.EqualError(t, b.end(), "stopping the sending of mail: a mail is cut")
}
