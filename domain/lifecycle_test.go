package domain_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain"
)

type retired struct{ Reason string }

func (retired) EventType() string { return "thing.retired" }
func (retired) Summary() string   { return "retired" }

func TestRetiring(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given   domain.Lifecycle
		reason  string
		want    []domain.Event
		refusal string
	}{
		"in use":         {domain.Lifecycle{Exists: true}, " sold ", []domain.Event{retired{"sold"}}, ""},
		"retired before": {domain.Lifecycle{Exists: true, Retired: true}, "sold", nil, ""},
		"not there":      {domain.Lifecycle{}, "sold", nil, "not_found: there is no such thing"},
		"a wrong reason": {domain.Lifecycle{Exists: true}, "\x00", nil, "reason: must not contain control characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := domain.Retire(test.given, "thing", test.reason, func(reason string) domain.Event {
				return retired{reason}
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if text := textOf(err); text != test.refusal {
				t.Errorf("refused with %q, want %q", text, test.refusal)
			}
		})
	}
}

func TestCheckUsable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given domain.Lifecycle
		want  error
	}{
		"in use":    {domain.Lifecycle{Exists: true}, nil},
		"retired":   {domain.Lifecycle{Exists: true, Retired: true}, &domain.Error{Code: domain.CodeRetired}},
		"not there": {domain.Lifecycle{}, &domain.Error{Code: domain.CodeNotFound}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := test.given.CheckUsable("thing", "one"); !errors.Is(err, test.want) {
				t.Errorf("refused with %v, want %v", err, test.want)
			}
		})
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
