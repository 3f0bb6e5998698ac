package instance

import (
	"net"
	"strings"
	"testing"

	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

func TestWhichDatabasesAreWaitedFor(t *testing.T) {
	t.Parallel()
	here := pgtest.NewDatabaseURL(t)
	for url, want := range map[string]bool{
		"postgres://u:p@" + nobody(t) + "/x":                                   true,
		"postgres://u:p@/x?host=/nowhere":                                      true,
		"postgres://u:p@/nosuch?" + strings.SplitN(here, "?", 2)[1]:            false,
		"postgres://stranger@/x?" + strings.SplitN(here, "?", 2)[1]:            false,
		"postgres://u:p@127.0.0.1/x?sslmode=maybe":                             false,
		"postgres://u:p@127.0.0.1/x?sslmode=verify-full&sslrootcert=/no/where": false,
	} {
		t.Run(url, func(t *testing.T) {
			if _, err := postgres.Open(t.Context(), url); err == nil || mayCome(err) != want {
				t.Errorf("%s: waited for is %v, want %v: %v", url, !want, want, err)
			}
		})
	}
}

// nobody is a loopback address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}
