package ldapclient_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/ldapclient"
)

// No connection, and no goroutine of one, is left behind whatever happened to it.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(patience)
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !strings.Contains(string(stacks), "go-ldap") {
			break
		}
		if time.Now().After(deadline) {
			fmt.Printf("connections are left behind:\n%s\n", stacks)
			code = 1
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	os.Exit(code)
}

// soon is the first limit of calls that have to run into it, and patience about the last.
const (
	soon     = 200 * time.Millisecond
	patience = time.Minute
)

// untilHang calls try with longer and longer limits, until a call ends at the step that is meant: on a busy machine a
// short limit is over before.
func untilHang(t *testing.T, step string, try func(limit time.Duration) error) {
	t.Helper()
	for limit := soon; ; limit *= 4 {
		err := try(limit)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want %v", err, context.DeadlineExceeded)
		}
		var failure *ldapclient.Failure
		if limit > patience || (errors.As(err, &failure) && failure.Step == step) {
			requireStep(t, step, err)
			return
		}
	}
}

func TestAServerThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plain bool
		behaviour
		step string
	}{
		"at the TLS handshake": {false, behaviour{accept: hang}, directory.StepTLS},
		"at StartTLS":          {true, behaviour{accept: hang}, directory.StepTLS},
		"at the handshake after StartTLS": {true, behaviour{startTLS: func(e *exchange) {
			e.result(ldap.ApplicationExtendedResponse, 0, "")
			hang(e)
		}}, directory.StepTLS},
		"at the bind":   {false, behaviour{bind: hang}, directory.StepBind},
		"at the search": {false, behaviour{search: hang}, directory.StepSearch},
		"in the middle of the search": {
			false, behaviour{search: func(e *exchange) { e.anna(); hang(e) }}, directory.StepSearch,
		},
		"at the person's bind": {true, behaviour{userBind: hang}, directory.StepUserBind},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, c.plain, nil)
			f.behave.Store(&c.behaviour)
			settings := f.config()
			untilHang(t, c.step, func(limit time.Duration) error {
				settings.Timeout = limit
				_, err := settings.SignIn(t.Context(), "anna@example.com", "secret")
				if err == nil || !strings.Contains(err.Error(), "no answer within "+limit.String()) {
					t.Fatalf("%v does not say %q", err, "no answer within "+limit.String())
				}
				return err
			})
			for step := ""; step != c.step; settings.Timeout *= 4 {
				if settings.Timeout >= patience {
					t.Fatalf("it ends at %s: got %v, want less than %v", step, settings.Timeout, patience)
				}
				steps, _, err := settings.Test(t.Context(), "anna@example.com", "secret")
				if err != nil {
					t.Fatal(err)
				}
				step = failedStep(t, steps)
			}

			// A caller that gives up waits no longer either.
			settings.Timeout = time.Hour
			untilHang(t, c.step, func(limit time.Duration) error {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				_, err := settings.SignIn(ctx, "anna@example.com", "secret")
				if err == nil || !strings.Contains(err.Error(), "cancelled") {
					t.Fatalf(`%v does not say "cancelled"`, err)
				}
				return err
			})

			f.behave.Store(&behaviour{})
			_, err := f.config().SignIn(t.Context(), "anna@example.com", "secret")
			if err != nil {
				t.Fatalf("the next call works: %v", err)
			}
		})
	}
}

func TestAHostThatDoesNotAnswerIsLeft(t *testing.T) {
	t.Parallel()
	f := newFake(t, false, nil)
	settings := f.config()
	settings.URLs = append([]string{"ldaps://" + silentPort(t)}, settings.URLs...)
	var err error
	for settings.Timeout = soon; settings.Timeout < patience; settings.Timeout *= 4 { // also for the one that works
		if _, err = settings.SignIn(t.Context(), "anna@example.com", "secret"); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("the second server works: %v", err)
	}

	settings.URLs = settings.URLs[:1]
	settings.Timeout = soon
	_, err = settings.SignIn(t.Context(), "anna@example.com", "secret")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want %v", err, context.DeadlineExceeded)
	}
	requireStep(t, directory.StepConnect, err)
}

// silentPort is an address that answers no attempt to connect, as behind a firewall: its queue is full.
func silentPort(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Close(socket); err != nil {
			t.Fatal(err)
		}
	})
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return address
		}
		t.Cleanup(func() {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAServerThatBreaksOffIsSaidSo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plain bool
		behaviour
		step, detail string
	}{
		"at the TLS handshake": {false, behaviour{accept: cut}, directory.StepTLS, "closed the connection"},
		"no TLS":               {false, behaviour{accept: noise}, directory.StepTLS, "does not speak TLS"},
		"TLS at once for StartTLS": {true, behaviour{accept: func(e *exchange) {
			_, _ = e.Write([]byte("\x15\x03\x01\x00\x02\x02\x0a"))
		}}, directory.StepTLS, "did not answer in LDAP"},
		"at StartTLS": {true, behaviour{startTLS: half}, directory.StepTLS, "closed the connection"},
		"StartTLS is refused": {true, behaviour{
			startTLS: says(ldap.ApplicationExtendedResponse, 2, "unsupported"),
		}, directory.StepTLS, "protocol error (2), unsupported"},
		"no certificate for StartTLS": {
			true, behaviour{startTLS: says(ldap.ApplicationExtendedResponse, 52, "00000000: LdapErr")},
			directory.StepTLS, "unavailable (52)",
		},
		"a huge answer to StartTLS": {true, behaviour{startTLS: func(e *exchange) {
			_, _ = e.Write(append([]byte{0x04, 0x84, 0x7f, 0, 0, 0}, make([]byte, 1<<17)...))
		}}, directory.StepTLS, ""},
		"at the bind":               {false, behaviour{bind: cut}, directory.StepBind, "closed the connection"},
		"in the answer to the bind": {false, behaviour{bind: half}, directory.StepBind, "closed the connection"},
		"the bind is answered in noise": {
			false, behaviour{bind: func(e *exchange) { noise(e); cut(e) }}, directory.StepBind, "closed the connection",
		},
		"the server is busy": {
			false, behaviour{bind: says(ldap.ApplicationBindResponse, 51, "later")}, directory.StepBind,
			"busy (51), later",
		},
		"in the middle of the search": {false, behaviour{search: func(e *exchange) {
			e.anna()
			half(e)
		}}, directory.StepSearch, "closed the connection"},
		"a referral": {false, behaviour{
			search: says(ldap.ApplicationSearchResultDone, 10, "see ldap://other"),
		}, directory.StepSearch, "follows no referrals"},
		"a limit of the server": {
			false, behaviour{search: says(ldap.ApplicationSearchResultDone, 11, "")}, directory.StepSearch, "too large",
		},
		"at the person's bind": {
			false, behaviour{userBind: half}, directory.StepUserBind, "closed the connection",
		},
		"busy at the person's bind": {
			false, behaviour{userBind: says(ldap.ApplicationBindResponse, 51, "")}, directory.StepUserBind, "busy (51)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, c.plain, nil)
			f.behave.Store(&c.behaviour)
			_, err := f.config().SignIn(t.Context(), "anna@example.com", "a person's secret")
			requireStep(t, c.step, err)
			if got := err.Error(); !strings.Contains(got, c.detail) {
				t.Fatalf("%q lacks %q", got, c.detail)
			}
			if got := err.Error(); strings.Contains(got, "secret") {
				t.Fatalf(`%q contains "secret"`, got)
			}
			f.mu.Lock()
			if got := string(f.clear); strings.Contains(got, "secret") {
				t.Fatalf(`in clear: %q contains "secret"`, got)
			}
			f.mu.Unlock()

			f.behave.Store(&behaviour{})
			_, err = f.config().SignIn(t.Context(), "anna@example.com", "a person's secret")
			if err != nil {
				t.Fatalf("the next call works: %v", err)
			}
		})
	}
}

func TestAConfigShowsNoPassword(t *testing.T) {
	t.Parallel()
	c := newFake(t, false, nil).config()
	var logged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(handler).Info("directory", "config", c, "pointer", &c)
	}
	if got := logged.String(); !strings.Contains(got, searcher) {
		t.Fatalf("%q lacks %q", got, searcher)
	}
	if got := fmt.Sprintf("%v %+v %s", c, c, &c) + logged.String(); strings.Contains(got, "Bind-secret") {
		t.Fatalf(`%q contains "Bind-secret"`, got)
	}
}

func TestNothingIsSentInClear(t *testing.T) {
	t.Parallel()
	f := newFake(t, true, nil)
	settings := f.config()
	settings.StartTLS = false
	_, err := settings.SignIn(t.Context(), "anna@example.com", "secret")
	requireStep(t, directory.StepConnect, err)
	if got := f.accepted.Load(); got != 0 {
		t.Fatalf("nothing was sent at all: got %v, want nothing", got)
	}
}

// Somebody in between adds an answer of his own behind the one to StartTLS: it must not count once TLS is on.
func TestWhatCameBeforeTLSIsNotTakenAfterIt(t *testing.T) {
	t.Parallel()
	f := newFake(t, true, nil)
	f.behave.Store(&behaviour{startTLS: func(e *exchange) {
		e.result(ldap.ApplicationExtendedResponse, 0, "")
		for id := range int64(5) {
			(&exchange{Conn: e, id: id}).result(ldap.ApplicationBindResponse, 0, "")
		}
	}})
	_, err := f.config().SignIn(t.Context(), "anna@example.com", "secret")
	requireStep(t, directory.StepTLS, err)
}

func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	here := []net.IP{net.IPv4(127, 0, 0, 1)}
	for name, c := range map[string]struct {
		template    *x509.Certificate
		ca          string
		detail, fix string
	}{
		"of another host": {&x509.Certificate{DNSNames: []string{"dc1.example.com"}}, "",
			"is for dc1.example.com and not for 127.0.0.1", "Use a name"},
		"of no host": {&x509.Certificate{}, "", "no host name among", "127.0.0.1"},
		"expired": {
			&x509.Certificate{IPAddresses: here, NotAfter: time.Now().Add(-time.Minute)}, "", "expired on", "Renew",
		},
		"not yet valid": {
			&x509.Certificate{IPAddresses: here, NotBefore: time.Now().Add(time.Hour)}, "", "valid only from", "clock",
		},
		"of another authority": {
			&x509.Certificate{IPAddresses: here}, "other", "not issued by the authority in ca_pem", "ca_pem",
		},
		"of an unknown authority": {&x509.Certificate{IPAddresses: here}, "none", "machine does not know", "ca_pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for how, plain := range map[string]bool{"LDAPS": false, "StartTLS": true} {
				t.Run(how, func(t *testing.T) {
					f := newFake(t, plain, c.template)
					settings := f.config()
					switch c.ca {
					case "other":
						settings.CAPEM = newFake(t, false, nil).caPEM
					case "none":
						settings.CAPEM = ""
					}
					_, err := settings.SignIn(t.Context(), "anna@example.com", "secret")
					requireStep(t, directory.StepTLS, err)
					var failure *ldapclient.Failure
					if !errors.As(err, &failure) {
						t.Fatalf("%T is not of the wanted type: %v", err, err)
					}
					if !strings.Contains(failure.Detail, c.detail) {
						t.Fatalf("%q lacks %q", failure.Detail, c.detail)
					}
					if !strings.Contains(failure.Fix, c.fix) {
						t.Fatalf("%q lacks %q", failure.Fix, c.fix)
					}
					if got := f.binds.Load(); got != 0 {
						t.Fatalf("f.binds.Load() = %v, want nothing", got)
					}
				})
			}
		})
	}
}

func TestServersAreTriedInOrder(t *testing.T) {
	t.Parallel()
	second := newFake(t, false, nil)
	both := func(first *fake) ldapclient.Config {
		settings := second.config()
		settings.CAPEM += first.caPEM
		settings.URLs = append(first.config().URLs, settings.URLs...)
		return settings
	}
	for name, b := range map[string]behaviour{
		"closed at the bind":          {bind: cut},
		"busy":                        {bind: says(ldap.ApplicationBindResponse, 51, "")},
		"broken in the search":        {search: half},
		"broken at the person's bind": {userBind: half},
	} {
		t.Run(name, func(t *testing.T) {
			first := newFake(t, false, nil)
			first.behave.Store(&b)
			_, err := both(first).SignIn(t.Context(), "anna@example.com", "secret")
			if err != nil {
				t.Fatal(err)
			}
		})
	}

	asked := second.accepted.Load()
	first := newFake(t, false, nil)
	first.behave.Store(&behaviour{bind: says(ldap.ApplicationBindResponse, 49, active("52e"))})
	_, err := both(first).SignIn(t.Context(), "anna@example.com", "secret")
	requireStep(t, directory.StepBind, err)
	_, _, err = both(first).Test(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if got := second.accepted.Load(); got != asked {
		t.Fatalf("a wrong bind password is not tried elsewhere: that would lock the account: got %v, want %v", got,
			asked)
	}
	first.behave.Store(&behaviour{userBind: says(ldap.ApplicationBindResponse, 49, active("52e"))})
	_, err = both(first).SignIn(t.Context(), "anna@example.com", "secret")
	requireRefused(t, ldapclient.WrongPassword, err)
	if got := second.accepted.Load(); got != asked {
		t.Fatalf("nor is a person's: got %v, want %v", got, asked)
	}

	second.behave.Store(&behaviour{accept: cut})
	first.behave.Store(&behaviour{bind: cut})
	_, err = both(first).SignIn(t.Context(), "anna@example.com", "secret")
	for _, f := range []*fake{first, second} {
		if got := err.Error(); !strings.Contains(got, f.address) {
			t.Fatalf("each is named: %q lacks %q", got, f.address)
		}
	}
}

func TestWhatOtherDirectoriesAnswer(t *testing.T) {
	t.Parallel()
	signIn := func(t *testing.T, b behaviour) (ldapclient.Entry, error) {
		f := newFake(t, false, nil)
		f.behave.Store(&b)
		settings := f.config()
		settings.Groups, settings.NestedGroups = true, true
		return settings.SignIn(t.Context(), "anna@example.com", "secret")
	}
	found := func(send func(*exchange)) behaviour {
		return behaviour{search: func(e *exchange) {
			e.reference("ldap://example.com/CN=Configuration,DC=example,DC=com")
			send(e)
			e.result(ldap.ApplicationSearchResultDone, 0, "")
		}}
	}
	t.Run("no flags, an entryUUID and memberOf", func(t *testing.T) {
		t.Parallel()
		got, err := signIn(t, found(func(e *exchange) {
			e.anna("ENTRYUUID=0193A5C2-0000-7000-8000-0000000000FF",
				`memberof=cn=Risk\2C \C3\9Cber,ou=groups,dc=example`)
		}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ldapclient.Entry{DN: annaDN, GUID: "0193a5c2-0000-7000-8000-0000000000ff",
			Email: "anna@example.com", Groups: []string{"Risk, Über"}}, got); diff != "" {
			t.Fatalf("got (-want +got):\n%s", diff)
		}
	})
	t.Run("an address that may be searched but not read", func(t *testing.T) {
		t.Parallel()
		_, err := signIn(t, found(func(e *exchange) { e.entry(annaDN) }))
		requireRefused(t, ldapclient.NoEmail, err)
	})
	t.Run("a bind that works for a disabled account", func(t *testing.T) {
		t.Parallel()
		_, err := signIn(t, found(func(e *exchange) { e.anna("userAccountControl=514") }))
		requireRefused(t, ldapclient.Disabled, err)
	})
	t.Run("a bind that works for an expired account", func(t *testing.T) {
		t.Parallel()
		_, err := signIn(t, found(func(e *exchange) { e.anna("accountExpires=129000000000000000") }))
		requireRefused(t, ldapclient.AccountExpired, err)
	})
	t.Run("more entries than it gives", func(t *testing.T) {
		t.Parallel()
		_, err := signIn(t, behaviour{search: func(e *exchange) {
			e.anna()
			e.result(ldap.ApplicationSearchResultDone, 4, "")
		}})
		requireRefused(t, ldapclient.Ambiguous, err)
	})
	for code, reason := range map[string]ldapclient.Reason{
		"525": ldapclient.Unknown, "52e": ldapclient.WrongPassword, "530": ldapclient.Hours,
		"531": ldapclient.Workstation,
		"532": ldapclient.PasswordExpired, "533": ldapclient.Disabled, "701": ldapclient.AccountExpired,
		"773": ldapclient.MustChange,
		"775": ldapclient.Locked, "57": ldapclient.WrongPassword,
	} {
		t.Run("data "+code, func(t *testing.T) {
			t.Parallel()
			_, err := signIn(t, behaviour{userBind: says(ldap.ApplicationBindResponse, 49, active(code))})
			requireRefused(t, reason, err)
		})
	}
	t.Run("no data", func(t *testing.T) {
		t.Parallel()
		_, err := signIn(t, behaviour{userBind: says(ldap.ApplicationBindResponse, 49, "")})
		requireRefused(t, ldapclient.WrongPassword, err)
	})
}

func TestPagesThatNeverEndAreLeft(t *testing.T) {
	t.Parallel()
	f := newFake(t, false, nil)
	f.behave.Store(&behaviour{search: func(e *exchange) { e.anna(); e.page() }})
	pages := 0
	for _, err := range f.config().Entries(t.Context()) {
		if err != nil {
			requireStep(t, directory.StepSearch, err)
			if err == nil || !strings.Contains(err.Error(), "still has more") {
				t.Fatalf(`%v does not say "still has more"`, err)
			}
			if pages != 2000 {
				t.Fatalf("pages = %v, want 2000", pages)
			}
			return
		}
		pages++
	}
	t.Fatal("it ended as if there were no more")
}

func TestGroupsAreReadByTheSearchingAccount(t *testing.T) {
	t.Parallel()
	f := newFake(t, false, nil)
	sid := "\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x21\x02\x00\x00"
	f.behave.Store(&behaviour{search: func(e *exchange) {
		e.anna("objectSid="+sid, "primaryGroupID=513", "cn=Risk")
		e.result(ldap.ApplicationSearchResultDone, 0, "")
	}})
	settings := f.config()
	settings.Groups, settings.NestedGroups = true, true
	got, err := settings.SignIn(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Risk"}, got.Groups); diff != "" {
		t.Fatalf("got.Groups (-want +got):\n%s", diff)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff([]string{searcher, searcher, searcher}, f.asked); diff != "" {
		t.Fatalf("for the person, the primary group and those around (-want +got):\n%s", diff)
	}
}

func requireStep(t *testing.T, step string, err error) {
	t.Helper()
	var failure *ldapclient.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if failure.Step != step {
		t.Fatalf("%v: got %q, want %q", err, failure.Step, step)
	}
	if failure.Detail == "" {
		t.Fatalf("failure.Detail = %q, want something", failure.Detail)
	}
	if failure.Fix == "" {
		t.Fatalf("failure.Fix = %q, want something", failure.Fix)
	}
}
