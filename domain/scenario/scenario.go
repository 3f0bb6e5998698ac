// Package scenario tells tests of deciders as stories: given these events, when this is decided, then those events.
package scenario

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/secboard/secboard/domain"
)

// Story is a test of one decision about an aggregate with the state S.
type Story[S any] struct {
	state   S
	decided []domain.Event
	err     error
}

// Given folds what happened before.
func Given[S any, P interface {
	*S
	Evolve(domain.Event)
}](events ...domain.Event) Story[S] {
	var story Story[S]
	for _, event := range events {
		P(&story.state).Evolve(event)
	}
	return story
}

// When decides.
func (s Story[S]) When(decide func(S) ([]domain.Event, error)) Story[S] {
	s.decided, s.err = decide(s.state)
	return s
}

// Then expects exactly these events; none when nothing changes.
func (s Story[S]) Then(t *testing.T, want ...domain.Event) {
	t.Helper()
	if s.err != nil {
		t.Fatalf("refused: %v", s.err)
	}
	if diff := cmp.Diff(want, s.decided, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b domain.Date) bool {
		return a == b
	})); diff != "" {
		t.Fatalf("decided (-want +got):\n%s", diff)
	}
}

// ThenRefused expects a refusal with this code.
func (s Story[S]) ThenRefused(t *testing.T, code domain.Code) {
	t.Helper()
	var refused *domain.Error
	if !errors.As(s.err, &refused) || refused.Code != code {
		t.Fatalf("want a refusal %s, got events %v, error %v", code, s.decided, s.err)
	}
}

// ThenInvalid expects exactly these fields to be reported as wrong, in this order.
func (s Story[S]) ThenInvalid(t *testing.T, fields ...string) {
	t.Helper()
	var invalid *domain.Invalid
	if !errors.As(s.err, &invalid) {
		t.Fatalf("want wrong fields %v, got events %v, error %v", fields, s.decided, s.err)
	}
	var got []string
	for _, field := range invalid.Fields {
		got = append(got, field.Field)
	}
	if diff := cmp.Diff(fields, got); diff != "" {
		t.Fatalf("wrong fields (-want +got):\n%s", diff)
	}
}
