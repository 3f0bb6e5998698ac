// Package secretstest gives tests that are not about passwords a Hasher that costs nearly nothing.
package secretstest

import (
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"

	"github.com/secboard/secboard/secrets"
)

// cheap makes a hash in microseconds, where the real parameters take tens of milliseconds of a core.
var cheap = argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

var shared = sync.OnceValues(func() (*secrets.Hasher, error) {
	return secrets.NewHasher(1000, secrets.WithParameters(cheap))
})

// Hasher is as in production but for its cost, and one for all tests of a package. It is never too busy.
func Hasher(t testing.TB) *secrets.Hasher {
	t.Helper()
	hasher, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}
