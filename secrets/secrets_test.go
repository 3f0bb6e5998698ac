package secrets_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/argon2id"

	"github.com/secboard/secboard/secrets"
)

func newKeyset(t *testing.T) (*secrets.Keyset, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyset.json")
	keys, err := secrets.LoadOrCreateKeyset(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys, path
}

func TestAKeysetIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	fingerprints := make(chan string, 8)
	for range cap(fingerprints) {
		go func() {
			keys, err := secrets.LoadOrCreateKeyset(path)
			if err != nil {
				t.Error(err)
				fingerprints <- ""
				return
			}
			fingerprints <- keys.Fingerprint()
		}()
	}
	first := <-fingerprints
	for range cap(fingerprints) - 1 {
		if other := <-fingerprints; other != first {
			t.Errorf("two processes starting at once have the keysets %s and %s", first, other)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".keyset-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAKeysetOpensItsSealsOnlyInTheirContext(t *testing.T) {
	t.Parallel()
	keys, path := newKeyset(t)
	sealed, err := keys.Seal([]byte("hush"), "user-1")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "hush") {
		t.Error("the seal shows the secret")
	}
	again, err := secrets.LoadKeyset(path)
	if err != nil {
		t.Fatal(err)
	}
	if secret, err := again.Open(sealed, "user-1"); err != nil || string(secret) != "hush" {
		t.Errorf("opened %q, %v", secret, err)
	}
	if _, err := keys.Open(sealed, "user-2"); err == nil {
		t.Error("it opens in another context")
	}
	other, _ := newKeyset(t)
	if _, err := other.Open(sealed, "user-1"); err == nil {
		t.Error("it opens with another keyset")
	}
}

func TestNamesFindAValueAndDoNotReveal(t *testing.T) {
	t.Parallel()
	keys, _ := newKeyset(t)
	name := func(kind, value string) string {
		name, err := keys.Name(kind, value)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	if first, again := name("email", "a@b.example"), name("email", "a@b.example"); first != again {
		t.Error("the same value has two names")
	}
	for how, other := range map[string]string{
		"of another value": name("email", "b@b.example"), "of another kind": name("group", "a@b.example"),
	} {
		t.Run(how, func(t *testing.T) {
			if other == name("email", "a@b.example") {
				t.Error("two values have one name")
			}
		})
	}
}

func TestUnfitKeysetFilesAreRefusedWithASentence(t *testing.T) {
	t.Parallel()
	_, path := newKeyset(t)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.LoadKeyset(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a keyset that others can read: %v", err)
	}
	for _, content := range []string{"", "{}", `{"aead":{"primaryKeyId":1},"prf":{}}`, "secret material"} {
		t.Run(fmt.Sprintf("%q", content), func(t *testing.T) {
			if err := os.WriteFile(path+"2", []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := secrets.LoadKeyset(path + "2"); err == nil ||
				strings.Contains(err.Error(), "secret material") {
				t.Errorf("%q: %v", content, err)
			}
		})
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	hasher, err := secrets.NewHasher(4)
	if err != nil {
		t.Fatal(err)
	}
	const password = "пароль із пробілами 1"
	hash, err := hasher.Hash(t.Context(), password)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", hash, err)
	}
	for _, test := range []struct {
		password, hash string
		fits           bool
	}{{password, hash, true}, {password + " ", hash, false}, {"the password of nobody", "", false}, {"", hash, false}} {
		t.Run(fmt.Sprintf("%q against %q", test.password, test.hash), func(t *testing.T) {
			if fits, err := hasher.Check(t.Context(), test.password, test.hash); err != nil || fits != test.fits {
				t.Errorf("%q against %q: %v, %v", test.password, test.hash, fits, err)
			}
		})
	}
}

func TestAFloodOfPasswordsIsRefusedBeyondTheQueue(t *testing.T) {
	t.Parallel()
	hasher, err := secrets.NewHasher(2)
	if err != nil {
		t.Fatal(err)
	}
	const flood = 200
	var busy, done int
	var mu sync.Mutex
	var checks sync.WaitGroup
	for range flood {
		checks.Go(func() {
			_, err := hasher.Check(t.Context(), "whatever it is", "")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, secrets.ErrBusy):
				busy++
			case err == nil:
				done++
			default:
				t.Error(err)
			}
		})
	}
	checks.Wait()
	if busy == 0 || done < runtime.GOMAXPROCS(0) || busy+done != flood {
		t.Errorf("%d refused, %d checked", busy, done)
	}
}

func TestPasswordProblems(t *testing.T) {
	t.Parallel()
	for password, fine := range map[string]bool{
		"correct horse battery": true, "довгий пароль тут": true,
		"short": false, "Password1234": false, "anna@acme.example": false, "aaaaaaaaaaaa": false, "abcabcabcabc": false,
		"annaannaanna": false, "caf\xe9 caf\xe9 caf\xe9": false, strings.Repeat("ab c", 300): false,
	} {
		t.Run(fmt.Sprintf("%.40q", password), func(t *testing.T) {
			if problem := secrets.PasswordProblem(password, "anna@acme.example"); (problem == "") != fine {
				t.Errorf("%q: %q", password, problem)
			}
		})
	}
}

// The share of raw Argon2id that checking through the Hasher reaches, on all cores.
func BenchmarkCheck(b *testing.B) {
	hash, err := argon2id.CreateHash("a password", secrets.Parameters)
	if err != nil {
		b.Fatal(err)
	}
	hasher, err := secrets.NewHasher(1000)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("raw", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := argon2id.ComparePasswordAndHash("a password", hash); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("hasher", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := hasher.Check(b.Context(), "a password", hash); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
