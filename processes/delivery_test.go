package processes

import (
	"errors"
	"testing"

	"github.com/secboard/secboard/smtpclient"
)

func TestTheReasonOfAFailedAttemptSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"a sentence of ours": {
			&smtpclient.Failure{
				Detail: "Nothing listens on port 2599 of 127.0.0.1.",
				Fix:    "Correct the port, or start the mail server.",
			},
			"Nothing listens on port 2599 of 127.0.0.1. Correct the port, or start the mail server.",
		},
		"a server's own words": {
			&smtpclient.Failure{Detail: "The server refused the message: 554 5.7.1 Spam", Fix: "Ask there."},
			"The server refused the message: 554 5.7.1 Spam. Ask there.",
		},
		"nothing to do":  {&smtpclient.Failure{Detail: "The delivery was stopped."}, "The delivery was stopped."},
		"another error":  {errors.New("the store is away"), "the store is away"},
		"what went well": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcome := outcomeOf(test.err)
			if (outcome == nil) != (test.err == nil) {
				t.Fatalf("got %+v for %v", outcome, test.err)
			}
			if outcome != nil && outcome.Reason != test.want {
				t.Errorf("got %q, want %q", outcome.Reason, test.want)
			}
		})
	}
}
