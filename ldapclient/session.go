package ldapclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"iter"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/secboard/secboard/domain/directory"
)

// server is one of Config.URLs.
type server struct {
	url   string // for people
	host  string
	port  string
	plain bool // ldap://, to be secured by StartTLS
}

func parseURL(text string) (server, *Failure) {
	u, err := url.Parse(strings.TrimSpace(text))
	bad := func(s server, detail string) (server, *Failure) {
		return s, s.failure(directory.StepResolve,
			explained{detail: detail, fix: "Write it as ldaps://dc1.example.com or ldap://dc1.example.com:389."})
	}
	switch {
	case err != nil:
		return bad(server{}, "an entry of urls is not a URL") // its text may hold a password
	case u.User != nil:
		return bad(server{}, "an entry of urls contains a user name or password")
	}
	s := server{url: strings.TrimSpace(text), host: u.Hostname(), port: u.Port()}
	switch u.Scheme {
	case "ldaps":
		s.port = orDefault(s.port, ldap.DefaultLdapsPort)
	case "ldap":
		s.plain = true
		s.port = orDefault(s.port, ldap.DefaultLdapPort)
	default:
		return bad(s, "the URL is neither ldaps:// nor ldap://")
	}
	if s.host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return bad(s, "the URL may only have a host and a port")
	}
	return s, nil
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// session is a connection that is bound as the searching account.
type session struct {
	config Config
	server server
	// raw is what ends the library's goroutines: its own Close waits for a write that a silent peer never takes.
	raw  net.Conn
	ldap *ldap.Conn
	kept bool
}

// open connects to a server, secures the connection and binds as the searching account.
func (c Config) open(ctx context.Context, url string, log *steps) (_ *session, err error) {
	to, failure := parseURL(url)
	if failure != nil {
		return nil, log.failed(failure)
	}
	if to.plain && !c.StartTLS {
		return nil, log.failed(to.failure(directory.StepConnect, explained{detail: "with ldap:// and without " +
			"start_tls, " +
			"passwords would be sent unencrypted",
			fix: "Use ldaps://, or switch start_tls on."}))
	}
	if err := log.run(directory.StepResolve, func() (string, *Failure) {
		addresses, err := net.DefaultResolver.LookupHost(ctx, to.host)
		if err != nil {
			return "", to.failure(directory.StepResolve, explainConnect(cause(ctx, err)))
		}
		return fmt.Sprintf("the host %s has the address %s", to.host, strings.Join(addresses, ", ")), nil
	}); err != nil {
		return nil, err
	}
	s := &session{config: c, server: to}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := log.run(directory.StepConnect, func() (string, *Failure) {
		s.raw, err = c.Targets.Dialer().DialContext(ctx, "tcp", net.JoinHostPort(to.host, to.port))
		if err != nil {
			return "", to.failure(directory.StepConnect, explainConnect(cause(ctx, err)))
		}
		return fmt.Sprintf("connected to %s at %s", to.url, s.raw.RemoteAddr()), nil
	}); err != nil {
		return nil, err
	}
	if err := log.run(directory.StepTLS, func() (string, *Failure) { return s.secure(ctx) }); err != nil {
		return nil, err
	}
	if err := log.run(directory.StepBind, func() (string, *Failure) {
		if c.BindDN == "" {
			return "not bound, because bind_dn is empty: the search is anonymous", nil
		}
		return fmt.Sprintf("bound to %s as %s", to.url, c.BindDN), s.bind(ctx)
	}); err != nil {
		return nil, err
	}
	return s, nil
}

// secure makes the connection a TLS one, verified for the host of the URL. It does so without the library, whose
// StartTLS has no end of its own and loses what was wrong with a certificate.
func (s *session) secure(ctx context.Context) (string, *Failure) {
	settings := &tls.Config{ServerName: s.server.host, MinVersion: tls.VersionTLS12}
	if s.config.CAPEM != "" {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM([]byte(s.config.CAPEM)) {
			return "", s.server.failure(directory.StepTLS, misconfigured("the setting ca_pem contains no certificate",
				"Put certificates there, as text that starts with -----BEGIN CERTIFICATE-----."))
		}
	}
	if s.server.plain {
		if err := s.guarded(ctx, func() error { return startTLS(s.raw) }); err != nil {
			return "", s.server.failure(directory.StepTLS, explainStartTLS(err))
		}
	}
	conn := tls.Client(s.raw, settings)
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", s.server.failure(directory.StepTLS, s.config.explainTLS(s.server, cause(ctx, err)))
	}
	s.ldap = ldap.NewConn(conn, true)
	s.ldap.Start()
	state := conn.ConnectionState()
	return fmt.Sprintf("encrypted the connection to %s with %s; the certificate for %s is valid until %s", s.server.url,
		tls.VersionName(state.Version), namesOf(state.PeerCertificates[0]),
		state.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)), nil
}

// startTLS asks the server for TLS. It reads not one byte more than the answer, so nothing that somebody added to it in
// clear is taken for a part of the secured conversation.
func startTLS(conn net.Conn) error {
	request := ber.NewSequence("LDAPMessage")
	request.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, "messageID"))
	extended := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil,
		"extendedReq")
	extended.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, "1.3.6.1.4.1.1466.20037", "requestName"))
	request.AppendChild(extended)
	if _, err := conn.Write(request.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(io.LimitReader(conn, 64<<10)) // nobody is verified yet
	if err != nil {
		return err
	}
	return ldap.GetLDAPError(answer)
}

// bind binds as the searching account. Without one the connection is anonymous from the start.
func (s *session) bind(ctx context.Context) *Failure {
	if s.config.BindPassword == "" {
		return s.server.failure(directory.StepBind,
			misconfigured("a bind_dn is set, but bind_password is empty",
				"Set both, or neither for an anonymous search."))
	}
	err := s.guarded(ctx, func() error { return s.ldap.Bind(s.config.BindDN, s.config.BindPassword) })
	if err != nil {
		return s.server.failure(directory.StepBind, s.config.explainBind(err))
	}
	return nil
}

// bindAs checks a person's password. It answers nothing, *Refused or *Failure.
func (s *session) bindAs(ctx context.Context, dn, password string) error {
	err := s.guarded(ctx, func() error { return s.ldap.Bind(dn, password) })
	if err == nil {
		return nil
	}
	if refused := userRefusal(err); refused != nil {
		return refused
	}
	if code, message, ok := resultOf(err); ok {
		return s.server.failure(directory.StepUserBind,
			explained{detail: "the directory does not check the password: " + said(code, message), cause: err,
				final: true,
				fix:   "See the directory's log."})
	}
	return s.server.failure(directory.StepUserBind, explainBroken(err))
}

var attributeName = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)(;[A-Za-z0-9-]+)*$`)

func (s *session) request(base string, scope int, filter string, attributes []string) *ldap.SearchRequest {
	return &ldap.SearchRequest{
		BaseDN: base, Scope: scope, Filter: filter, Attributes: attributes,
		DerefAliases: ldap.NeverDerefAliases,
		TimeLimit:    int((s.config.Timeout + time.Second - 1) / time.Second),
	}
}

func (s *session) search(ctx context.Context, request *ldap.SearchRequest) (result *ldap.SearchResult, err error) {
	err = s.guarded(ctx, func() error {
		result, err = s.ldap.Search(request)
		return err
	})
	return result, err
}

// pages gives what a search finds, each page within the time-out. Continuation references are left out.
func (s *session) pages(ctx context.Context, request *ldap.SearchRequest) iter.Seq2[[]*ldap.Entry, error] {
	return func(yield func([]*ldap.Entry, error) bool) {
		paging := ldap.NewControlPaging(pageSize)
		request.Controls = []ldap.Control{paging}
		for range maxPages {
			limited, cancel := s.config.limit(ctx)
			result, err := s.search(limited, request)
			cancel()
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(result.Entries, nil) {
				return
			}
			next, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if !ok || len(next.Cookie) == 0 {
				return
			}
			paging.SetCookie(next.Cookie)
		}
		yield(nil, errEndless)
	}
}

// guarded ends an exchange with the context, by closing the connection: the library knows no contexts, and hides in its
// errors why a connection ended.
func (s *session) guarded(ctx context.Context, exchange func() error) error {
	stop := context.AfterFunc(ctx, func() { s.raw.Close() }) //nolint:errcheck,gosec // the exchange says why
	defer stop()
	return cause(ctx, exchange())
}

// cause is why the context ended, where that is what err comes from.
func cause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	// The net package has a timer of its own for the same deadline, which may be the first.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// keep leaves the session open after release, for close.
func (s *session) keep() *session {
	s.kept = true
	return s
}

func (s *session) release() {
	if !s.kept {
		s.close()
	}
}

// close ends the connection without waiting for the server. LDAP needs no farewell: its unbind is the end of the
// connection.
func (s *session) close() {
	if s.raw == nil {
		return
	}
	s.raw.Close() //nolint:errcheck,gosec // nothing was left to be sent
	if s.ldap != nil {
		s.ldap.Close() //nolint:errcheck,gosec // it says that raw is closed
	}
}
