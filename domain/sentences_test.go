package domain_test

import (
	"testing"

	"github.com/secboard/secboard/domain"
)

func TestSentencesEndWithOneFullStop(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		texts []string
		want  string
	}{
		"none":          {nil, ""},
		"without stops": {[]string{"nothing listens", "correct the port"}, "nothing listens. correct the port."},
		"with stops": {[]string{"Nothing listens on 127.0.0.1.", "Correct the port."}, "Nothing listens on " +
			"127.0.0.1. Correct the port."},
		"a server's own":     {[]string{"550 5.1.1 Go away...", "Try again."}, "550 5.1.1 Go away. Try again."},
		"a question":         {[]string{"550 Who are you?", "Set a name."}, "550 Who are you? Set a name."},
		"cut":                {[]string{"550 Much text…", "Try again."}, "550 Much text… Try again."},
		"empty ones between": {[]string{"It failed", "", " "}, "It failed."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := domain.Sentences(test.texts...); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
