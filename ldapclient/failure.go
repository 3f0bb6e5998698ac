package ldapclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/go-ldap/ldap/v3"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/targets"
)

// Reason is why a directory refuses a person.
type Reason string

// The reasons of a Refused. WrongPassword can also stand for an account that the directory doesn't reveal.
const (
	WrongPassword   Reason = "wrong_password"
	Unknown         Reason = "unknown"
	Ambiguous       Reason = "ambiguous"
	NoEmail         Reason = "no_email"
	Disabled        Reason = "disabled"
	AccountExpired  Reason = "account_expired"
	PasswordExpired Reason = "password_expired"
	MustChange      Reason = "must_change"
	Locked          Reason = "locked"
	Hours           Reason = "hours"
	Workstation     Reason = "workstation"
)

// Refused is a directory's answer that this person doesn't get in.
type Refused struct{ Reason Reason }

func (r *Refused) Error() string {
	switch r.Reason {
	case WrongPassword:
		return "the directory does not accept the password"
	case Unknown:
		return "no entry of the directory that matches user_filter has this e-mail address"
	case Ambiguous:
		return "several entries of the directory have this e-mail address"
	case NoEmail:
		return "the directory found an entry, but does not show its e-mail address"
	case Disabled:
		return "the account is disabled in the directory"
	case AccountExpired:
		return "the account has expired in the directory"
	case PasswordExpired:
		return "the password has expired in the directory"
	case MustChange:
		return "the password must be changed in the directory first"
	case Locked:
		return "the account is locked in the directory after too many wrong passwords"
	case Hours:
		return "the directory does not let this account sign in at this hour"
	case Workstation:
		return "the directory does not let this account sign in from this machine"
	default:
		return "the directory refuses this account"
	}
}

// advice is what an administrator can do about the reason.
func (r *Refused) advice() string {
	switch r.Reason {
	case WrongPassword:
		return "Try the password again. Some directories give the same answer for a disabled account."
	case Unknown:
		return "Check base_dn, user_filter and attr_email, and the address in the person's entry."
	case Ambiguous:
		return "Leave the address in only one entry, or narrow user_filter or base_dn."
	case NoEmail:
		return "Let the account of bind_dn read the attribute that attr_email names."
	case Hours:
		return "Change the logon hours of the account in the directory."
	case Workstation:
		return "Allow the account to log on from the directory's servers (Log On To)."
	default:
		return "Change that in the directory."
	}
}

// Failure says why a server can't tell now, and at which step it stopped. Nothing in it is secret.
type Failure struct {
	Server string // as in Config.URLs, or empty
	Step   string // one of the Step constants of package directory
	Detail string
	Fix    string // what an administrator can do
	cause  error
	final  bool // another server would answer the same
}

func (f *Failure) Error() string {
	where := ""
	if f.Server != "" {
		where = f.Server + ": "
	}
	return where + strings.TrimSuffix(domain.Sentences(f.Detail, f.Fix), ".") // errors end without one
}

func (f *Failure) Unwrap() error { return f.cause }

// failures are what each of several servers said.
type failures []*Failure

func (f failures) Error() string {
	texts := make([]string, len(f))
	for i, failure := range f {
		texts[i] = failure.Error()
	}
	return "no server of the directory can be used: " + strings.Join(texts, "; ")
}

func (f failures) Unwrap() []error {
	errs := make([]error, len(f))
	for i, failure := range f {
		errs[i] = failure
	}
	return errs
}

// timedOut is the cause of a context that Config.Timeout ended.
type timedOut struct{ after time.Duration }

func (t *timedOut) Error() string { return fmt.Sprintf("no answer within %s", t.after) }

// Is makes it what callers ask for.
func (t *timedOut) Is(target error) bool { return target == context.DeadlineExceeded }

// errEndless says that a search gave maxPages and did not end.
var errEndless = errors.New("the search returns pages without end")

// explained is an error in an administrator's words.
type explained struct {
	detail, fix string
	cause       error
	final       bool
}

func (s server) failure(step string, e explained) *Failure {
	return &Failure{Server: s.url, Step: step, Detail: e.detail, Fix: e.fix, cause: e.cause, final: e.final}
}

func noServer() *Failure {
	return &Failure{
		Step: directory.StepResolve, Detail: "no server is named in urls", Fix: "Add one, such as " +
			"ldaps://dc1.example.com.",
		final: true,
	}
}

// misconfigured is a setting that no server can make up for.
func misconfigured(detail, fix string) explained {
	return explained{detail: detail, fix: fix, final: true}
}

// explainNetwork explains errors that can come at every step. ok is false where the error is of another kind.
func explainNetwork(err error) (_ explained, ok bool) {
	var late *timedOut
	var dns *net.DNSError
	switch {
	case errors.As(err, &late):
		return explained{detail: late.Error(), cause: err,
			fix: "Check that the server is running and that no firewall drops the connection, or raise " +
				"timeout_s."}, true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return explained{detail: "the request was cancelled before an answer came", cause: err, fix: "Try again."}, true
	case errors.As(err, &dns) && dns.IsNotFound:
		return explained{detail: fmt.Sprintf("there is no host named %s", printable(dns.Name)), cause: err,
			fix: "Correct the name in urls, or its DNS entry."}, true
	case errors.As(err, &dns):
		return explained{detail: fmt.Sprintf("the name servers gave no answer for %s: "+
			"%s", printable(dns.Name), dns.Err),
			cause: err,
			fix:   "Check this machine's name servers (DNS), and that they answer for the directory's host."}, true
	case errors.Is(err, syscall.ECONNREFUSED):
		return explained{detail: "the host refuses the connection: nothing listens on this port", cause: err,
				fix: "Check the port in urls (usually 636 for ldaps://, 389 for ldap://), and start the directory."},
			true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return explained{detail: "there is no route from this machine to the host", cause: err,
			fix: "Check this machine's network and the address in urls."}, true
	}
	return explained{}, false
}

func explainConnect(err error) explained {
	if e, ok := explainNetwork(err); ok {
		return e
	}
	if refused, ok := errors.AsType[*targets.Refused](err); ok {
		return explained{detail: "its address " + refused.Error(), cause: err, fix: refused.Fix()}
	}
	return explained{
		detail: "connecting failed: " + printable(err.Error()), cause: err, fix: "Check host and port in urls.",
	}
}

// explainTLS explains why there is no verified TLS with the server.
func (c Config) explainTLS(s server, err error) explained {
	var (
		wrongHost  x509.HostnameError
		authority  x509.UnknownAuthorityError
		invalid    x509.CertificateInvalidError
		notTLS     tls.RecordHeaderError
		serverSays tls.AlertError
	)
	switch {
	case errors.As(err, &wrongHost):
		if names := namesOf(wrongHost.Certificate); names != "" {
			return explained{detail: fmt.Sprintf("the certificate is for %s and not for %s", names, s.host), cause: err,
				fix: "Use a name in urls that the certificate is for, or give the server a certificate for this name."}
		}
		return explained{detail: "the certificate has no host name among its subject alternative names", cause: err,
			fix: fmt.Sprintf("Give the server a certificate with the subject alternative name %s.", s.host)}
	case errors.As(err, &authority):
		if c.CAPEM == "" {
			return explained{detail: "the certificate was issued by an authority that this machine does not know: " +
				issuerOf(authority.Cert), cause: err,
				fix: "Put the certificate of that authority into ca_pem."}
		}
		return explained{detail: "the certificate was not issued by the authority in ca_pem, but by " +
			issuerOf(authority.Cert), cause: err,
			fix: "Put the certificate of the authority that issued the server's certificate into ca_pem."}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if cert := invalid.Cert; time.Now().Before(cert.NotBefore) {
			return explained{detail: "the certificate is valid only from " + cert.NotBefore.UTC().Format(time.DateTime),
				cause: err,
				fix:   "Check the clocks of this machine and of the directory."}
		}
		return explained{detail: "the certificate expired on " + invalid.Cert.NotAfter.UTC().Format(time.DateTime),
			cause: err,
			fix:   "Renew the certificate of the directory's server."}
	case errors.As(err, &notTLS):
		return explained{detail: "the server does not speak TLS on this port", cause: err,
			fix: "Use the port for ldaps:// (usually 636), or ldap:// (usually 389) with start_tls."}
	case errors.As(err, &serverSays):
		return explained{detail: "the server ended the TLS handshake: " + serverSays.Error(), cause: err,
			fix: "Check that the server supports TLS 1.2 or newer and requires no client certificate."}
	}
	if e, ok := explainNetwork(err); ok {
		return e
	}
	if broken(err) {
		return explained{detail: "the server closed the connection during the TLS handshake", cause: err,
			fix: "Check that the port is one for ldaps://. A domain controller also does this while it has no " +
				"certificate for LDAPS: give it one."}
	}
	return explained{detail: "the TLS handshake failed: " + printable(err.Error()), cause: err,
		fix: "Check the server's certificate and its TLS settings."}
}

// explainStartTLS explains why a server on a plain port didn't start TLS.
func explainStartTLS(err error) explained {
	if e, ok := explainNetwork(err); ok {
		return e
	}
	if code, message, ok := resultOf(err); ok {
		return explained{detail: fmt.Sprintf("the server does not start TLS: %s", said(code, message)), cause: err,
			fix: "Give the server a certificate, or use ldaps:// where it has a port for that."}
	}
	return explained{detail: "the server closed the connection or did not answer in LDAP", cause: err,
		fix: "If the port expects TLS from the start (usually 636), use ldaps:// for it; otherwise use port 389."}
}

// explainBind explains why the searching account can't bind.
func (c Config) explainBind(err error) explained {
	code, message, ok := resultOf(err)
	if !ok {
		return explainBroken(err)
	}
	switch code {
	case ldap.LDAPResultInvalidCredentials:
		detail := fmt.Sprintf("the directory refuses the bind as %s", c.BindDN)
		if reason := refusal(message); reason != WrongPassword && reason != Unknown {
			return explained{detail: detail + ": " + (&Refused{reason}).Error(), cause: err, final: true,
				fix: "Change that in the directory, or use another account."}
		}
		return explained{
			detail: detail + ": name or password is wrong", cause: err, final: true,
			fix: "Correct bind_dn or bind_password.",
		}
	case ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultNoSuchObject:
		return explained{detail: fmt.Sprintf("the directory has no account %s: %s", c.BindDN, said(code, message)),
			cause: err, final: true,
			fix: "Set bind_dn to the whole DN, such as CN=secboard,OU=Services,DC=example,DC=com."}
	case ldap.LDAPResultInappropriateAuthentication:
		return explained{detail: "the directory does not let this account bind with a password: " + said(code, message),
			cause: err, final: true,
			fix: "Set bind_dn and bind_password to an account that may."}
	}
	return explained{detail: "the directory refuses the bind at the moment: " +
		said(code, message), cause: err, fix: "See the directory's log."}
}

// explainSearch explains why a search gave no result.
func (c Config) explainSearch(err error) explained {
	if ldap.IsErrorAnyOf(err, ldap.ErrorFilterCompile) {
		return misconfigured("the user_filter is not an LDAP filter: "+printable(errors.Unwrap(err).Error()),
			"Write it with its brackets, such as (objectClass=user).")
	}
	if errors.Is(err, errEndless) {
		return explained{detail: fmt.Sprintf("after %d pages of entries the directory still has more", maxPages),
			cause: err, final: true,
			fix: "Narrow user_filter or base_dn. If there are fewer people than that, the error is in the directory " +
				"or " +
				"in a proxy in front of it."}
	}
	code, message, ok := resultOf(err)
	if !ok {
		return explainBroken(err)
	}
	switch code {
	case ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax:
		detail := fmt.Sprintf("the base_dn %s does not exist in the directory", c.BaseDN)
		if _, matched, ok := strings.Cut(message, "best match of:"); ok {
			detail += "; what exists is " + strings.Trim(printable(matched), " '\t\x00")
		}
		return explained{detail: detail, cause: err, final: true, fix: "Correct base_dn, such as DC=example,DC=com."}
	case ldap.LDAPResultReferral:
		return explained{detail: fmt.Sprintf("the server refers to another one for %s, but SecBoard follows no "+
			"referrals",
			c.BaseDN), cause: err, final: true,
			fix: "Correct base_dn, or name a server of that domain in urls."}
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultOperationsError, ldap.LDAPResultStrongAuthRequired,
		ldap.LDAPResultInappropriateAuthentication:
		return explained{detail: "the directory does not let this account search: " + said(code, message), cause: err,
			final: true,
			fix:   "Set bind_dn and bind_password to an account that may read the people under base_dn."}
	case ldap.LDAPResultSizeLimitExceeded, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultAdminLimitExceeded:
		return explained{detail: "the search is too large for the directory's limits: " + said(code, message),
			cause: err, final: true,
			fix: "Narrow user_filter or base_dn, index the attribute of attr_email, or raise the limits for the " +
				"account of bind_dn."}
	}
	return explained{detail: "the directory refuses the search at the moment: " +
		said(code, message), cause: err, fix: "See the directory's log."}
}

// explainGroups explains why a person's groups can't be read.
func explainGroups(err error) explained {
	code, message, ok := resultOf(err)
	if !ok {
		return explainBroken(err)
	}
	return explained{detail: "the directory does not show the person's groups: " + said(code, message), cause: err,
		final: true,
		fix:   "Let the account of bind_dn read the groups of the domain, or switch sync_groups or nested_groups off."}
}

// explainBroken explains a request that got no answer.
func explainBroken(err error) explained {
	if e, ok := explainNetwork(err); ok {
		return e
	}
	return explained{detail: "the server closed the connection or answered with something other than LDAP", cause: err,
		fix: "See the directory's log, and try again."}
}

// userRefusal is what the bind's result says of the person. It is none where the directory can't tell.
func userRefusal(err error) *Refused {
	code, message, ok := resultOf(err)
	if !ok {
		return nil
	}
	switch code {
	case ldap.LDAPResultInvalidCredentials:
		return &Refused{refusal(message)}
	case ldap.LDAPResultInappropriateAuthentication: // an entry without a password
		return &Refused{WrongPassword}
	case ldap.LDAPResultNoSuchObject: // removed since the search
		return &Refused{Unknown}
	}
	return nil
}

// adCode is Windows' error number in the text of a refused bind: "… AcceptSecurityContext error, data 52e, v1db1".
// https://learn.microsoft.com/windows/win32/debug/system-error-codes--1300-1699-
var adCode = regexp.MustCompile(`\bdata ([0-9a-fA-F]+)\b`)

func refusal(message string) Reason {
	match := adCode.FindStringSubmatch(message)
	if match == nil {
		return WrongPassword
	}
	switch strings.ToLower(match[1]) {
	case "525":
		return Unknown
	case "530":
		return Hours
	case "531":
		return Workstation
	case "532":
		return PasswordExpired
	case "533":
		return Disabled
	case "701":
		return AccountExpired
	case "773":
		return MustChange
	case "775":
		return Locked
	default: // 52e, and 57 and others that say as little
		return WrongPassword
	}
}

// resultOf is the result code and diagnostic message of the server's answer. ok is false where there was none.
func resultOf(err error) (code uint16, message string, ok bool) {
	var e *ldap.Error
	// The library's own codes start at ErrorNetwork.
	if !errors.As(err, &e) || e.ResultCode >= ldap.ErrorNetwork {
		return 0, "", false
	}
	return e.ResultCode, e.Err.Error(), true
}

func said(code uint16, message string) string {
	text := fmt.Sprintf("%s (%d)", strings.ToLower(ldap.LDAPResultCodeMap[code]), code)
	if message = printable(message); message != "" {
		text += ", " + message
	}
	return text
}

// printable is a text of a server, cut and without control characters.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.TrimSpace(text)
	if runes := []rune(text); len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return text
}

func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

func namesOf(cert *x509.Certificate) string {
	if cert == nil {
		return ""
	}
	names := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return printable(strings.Join(names, ", "))
}

func issuerOf(cert *x509.Certificate) string {
	if cert == nil {
		return "an unknown authority"
	}
	return printable(cert.Issuer.String())
}
