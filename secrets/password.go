package secrets

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
)

// Parameters of Argon2id, from OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
var Parameters = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// ErrBusy says that so many passwords are being checked that this one would wait too long.
var ErrBusy = errors.New("too many passwords are being checked at the moment")

// Hasher checks and makes password hashes, few at a time: each takes 19 MiB and some 20 ms of a core, so more at once
// would only make all of them slower and could exhaust the memory.
type Hasher struct {
	parameters argon2id.Params
	slots      chan struct{}
	queue      chan struct{}
	decoy      string
}

// Option of a Hasher.
type Option func(*Hasher)

// WithParameters has a Hasher use others than Parameters, the default.
func WithParameters(parameters argon2id.Params) Option {
	return func(h *Hasher) { h.parameters = parameters }
}

// NewHasher makes a Hasher that works on as many hashes at once as there are cores, with a queue of queued more.
func NewHasher(queued int, options ...Option) (*Hasher, error) {
	cores := runtime.GOMAXPROCS(0)
	h := &Hasher{parameters: *Parameters, slots: make(chan struct{}, cores), queue: make(chan struct{}, cores+queued)}
	for _, option := range options {
		option(h)
	}
	var err error
	if h.decoy, err = argon2id.CreateHash("the password of nobody", &h.parameters); err != nil {
		return nil, fmt.Errorf("hash a password: %w", err)
	}
	return h, nil
}

// Hash makes the Argon2id hash of a password in PHC form.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	var hash string
	err := h.work(ctx, func() (err error) {
		hash, err = argon2id.CreateHash(password, &h.parameters)
		return err
	})
	return hash, err
}

// Check says whether the password fits the hash. With an empty hash it does the same work and says no, so that the
// time of an answer does not tell whether there is such an account.
func (h *Hasher) Check(ctx context.Context, password, hash string) (bool, error) {
	against := hash
	if against == "" {
		against = h.decoy
	}
	var fits bool
	err := h.work(ctx, func() (err error) {
		fits, err = argon2id.ComparePasswordAndHash(password, against)
		return err
	})
	return fits && hash != "", err
}

// UpToDate says whether a hash was made with today's parameters.
func (h *Hasher) UpToDate(hash string) bool {
	parameters, _, _, err := argon2id.DecodeHash(hash)
	return err == nil && *parameters == h.parameters
}

func (h *Hasher) work(ctx context.Context, job func() error) error {
	select {
	case h.queue <- struct{}{}:
		defer func() { <-h.queue }()
	default:
		return ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return job()
}

// PasswordProblem says why a password is refused, or "". Length counts characters.
func PasswordProblem(password, email string) string {
	switch folded := strings.ToLower(password); {
	case !utf8.ValidString(password): // no request, which is JSON, could send it
		return "must be UTF-8 text"
	case len([]rune(password)) < 12:
		return "must have at least 12 characters"
	case len(password) > 1024:
		return "must have at most 1024 bytes"
	case email != "" && (folded == strings.ToLower(email) || folded == localPart(email)):
		return "must not be the e-mail address"
	case common[folded] || repeats(folded):
		return "is one of the common passwords that attackers try first"
	}
	return ""
}

func localPart(email string) string {
	local, _, _ := strings.Cut(strings.ToLower(email), "@")
	return local
}

// repeats finds a short unit written over and over ("abcabcabcabc", "111111111111").
func repeats(text string) bool {
	for unit := 1; unit <= 4; unit++ {
		if len(text)%unit == 0 && strings.Repeat(text[:unit], len(text)/unit) == text {
			return true
		}
	}
	return false
}

// common lists widespread passwords of 12 characters or more; shorter ones are refused by their length.
var common = func() map[string]bool {
	list := map[string]bool{}
	for _, password := range strings.Fields(`
		123456789012 1234567890123 12345678901234 123456789012345 1234567890123456 123456123456 0123456789012
		098765432109
		qwertyuiop123 qwertyuiop12 qwertyuiopasdf qwertyuiop[] 1qaz2wsx3edc 1q2w3e4r5t6y 1q2w3e4r5t6y7u qazwsxedcrfv
		zxcvbnm12345
		qwerty123456 qwerty12345678 123456qwerty 123qweasdzxc q1w2e3r4t5y6 asdfghjkl123 password1234 password12345
		password123456
		passwordpassword password123! passw0rd1234 p@ssw0rd1234 p@ssword1234 p@ssw0rd123! mypassword123 changeme1234
		changemechangeme
		administrator administrator1 admin1234567 adminadmin123 administrator123 letmeinletmein letmein12345
		iloveyou1234 iloveyouforever
		welcome12345 welcome123456 welcometothejungle correcthorsebatterystaple trustno1trustno1 sunshine1234
		princess1234 football1234
		baseball1234 superman1234 dragon123456 monkey123456 michael12345 charlie12345 liverpool123 barcelona123
		manchesterunited
		abcdefghijkl abcdefghijklm abcd12345678 abc123456789 a12345678901 aa1234567890 secret123456 summer2024summer
		spring2025spring
		unknown12345 internet1234 computer1234 starwars1234 whatever1234 secboard1234 secboardsecboard`) {
		list[password] = true
	}
	return list
}()
