package ldapclient_test

import (
	"testing"

	"github.com/secboard/secboard/ldapclient"
)

func TestAFailureIsTwoSentencesWithOneFullStopBetweenThem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		failure ldapclient.Failure
		want    string
	}{
		"without stops": {ldapclient.Failure{Server: "ldaps://dc1", Detail: "nothing listens", Fix: "Correct the port"},
			"ldaps://dc1: nothing listens. Correct the port"},
		"with stops": {
			ldapclient.Failure{Detail: "nothing listens.", Fix: "Correct the port."},
			"nothing listens. Correct the port",
		},
		"nothing to do": {ldapclient.Failure{Detail: "nothing listens"}, "nothing listens"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.failure.Error(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
