package ldapclient_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/ldapclient/sambatest"
	"github.com/secboard/secboard/targets/targetstest"
)

// fake is a directory that misbehaves where a test wants it to. It holds one person, anna@example.com.
type fake struct {
	address  string
	caPEM    string
	plain    bool // starts in clear, for StartTLS
	behave   atomic.Pointer[behaviour]
	accepted atomic.Int64
	binds    atomic.Int64

	mu    sync.Mutex
	clear []byte   // what came in clear
	asked []string // who was bound at each search
	// the attributes that the last search asked for
	wanted []string
}

// behaviour is what the fake does at a step; nil is the proper thing.
type behaviour struct{ accept, startTLS, bind, search, userBind func(*exchange) }

// exchange is one request.
type exchange struct {
	net.Conn
	id int64
}

const (
	searcher = "CN=searcher,DC=example,DC=com"
	annaDN   = "CN=Anna,DC=example,DC=com"
)

func newFake(t *testing.T, plain bool, template *x509.Certificate) *fake {
	t.Helper()
	authority, err := sambatest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	if template == nil {
		template = &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	}
	certificate, err := authority.Issue(template)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: listener.Addr().String(), caPEM: string(authority.PEM), plain: plain}
	f.behave.Store(&behaviour{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.accepted.Add(1)
			serving.Go(func() {
				defer cut(&exchange{Conn: conn})
				f.serve(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
			})
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		serving.Wait() // every client has hung up
	})
	return f
}

func (f *fake) config() ldapclient.Config {
	scheme := "ldaps://"
	if f.plain {
		scheme = "ldap://"
	}
	return ldapclient.Config{
		URLs: []string{scheme + f.address}, StartTLS: f.plain, CAPEM: f.caPEM, BaseDN: "DC=example,DC=com",
		BindDN: searcher, BindPassword: "Bind-secret", UserFilter: "(objectClass=user)",
		Attributes: ldapclient.Attributes{Email: "mail"},
		Timeout:    patience, Targets: targetstest.Loopback,
	}
}

func (f *fake) serve(conn net.Conn, settings *tls.Config) {
	behave := f.behave.Load()
	if behave.accept != nil {
		behave.accept(&exchange{Conn: conn})
		return
	}
	if !f.plain {
		conn = tls.Server(conn, settings)
	}
	var as string
	for {
		request, err := ber.ReadPacket(conn)
		if err != nil || len(request.Children) < 2 {
			return
		}
		if _, secured := conn.(*tls.Conn); !secured {
			f.mu.Lock()
			f.clear = append(f.clear, request.Bytes()...)
			f.mu.Unlock()
		}
		e := &exchange{Conn: conn, id: request.Children[0].Value.(int64)}
		operation := request.Children[1]
		do := func(odd, proper func(*exchange)) bool {
			if odd != nil {
				odd(e)
				return operation.Tag != ldap.ApplicationExtendedRequest
			}
			proper(e)
			return true
		}
		switch operation.Tag {
		case ldap.ApplicationExtendedRequest:
			if !do(behave.startTLS, func(e *exchange) { e.result(ldap.ApplicationExtendedResponse, 0, "") }) {
				return
			}
			conn = tls.Server(conn, settings)
		case ldap.ApplicationBindRequest:
			f.binds.Add(1)
			as, _ = operation.Children[1].Value.(string)
			if as == searcher {
				do(behave.bind, bound)
			} else {
				do(behave.userBind, bound)
			}
		case ldap.ApplicationSearchRequest:
			f.mu.Lock()
			f.asked = append(f.asked, as)
			f.wanted = nil
			for _, attribute := range operation.Children[len(operation.Children)-1].Children {
				f.wanted = append(f.wanted, attribute.Data.String())
			}
			f.mu.Unlock()
			do(behave.search, func(e *exchange) {
				e.anna()
				e.result(ldap.ApplicationSearchResultDone, 0, "")
			})
		default:
			return
		}
	}
}

func bound(e *exchange) { e.result(ldap.ApplicationBindResponse, 0, "") }

// hang answers nothing until the client hangs up.
func hang(e *exchange) { _, _ = io.Copy(io.Discard, e) }

// cut ends the connection.
func cut(e *exchange) { _ = e.Close() }

// half sends the start of an answer and ends the connection.
func half(e *exchange) {
	_, _ = e.Write([]byte{0x30, 0x82, 0x01, 0x00, 0x02, 0x01})
	_ = e.Close()
}

// noise sends something other than LDAP.
func noise(e *exchange) {
	_, _ = e.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
}

// says answers with a result code.
func says(operation ber.Tag, code int64, message string) func(*exchange) {
	return func(e *exchange) { e.result(operation, code, message) }
}

// page ends a page of a search after which there are more.
func (e *exchange) page() {
	answer := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultDone, nil, "")
	answer.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, 0, ""))
	answer.AppendChild(text(""))
	answer.AppendChild(text(""))
	paging := ldap.NewControlPaging(1)
	paging.SetCookie([]byte("0"))
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(paging.Encode())
	e.send(answer, controls)
}

func (e *exchange) result(operation ber.Tag, code int64, message string) {
	answer := ber.Encode(ber.ClassApplication, ber.TypeConstructed, operation, nil, "")
	answer.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	answer.AppendChild(text(""))
	answer.AppendChild(text(message))
	e.send(answer)
}

func (e *exchange) anna(attributes ...string) {
	e.entry(annaDN, append(attributes, "mail=anna@example.com")...)
}

// entry sends an entry; attributes are name=value.
func (e *exchange) entry(dn string, attributes ...string) {
	answer := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	answer.AppendChild(text(dn))
	list := ber.NewSequence("")
	for _, attribute := range attributes {
		name, value, _ := strings.Cut(attribute, "=")
		one := ber.NewSequence("")
		one.AppendChild(text(name))
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(text(value))
		one.AppendChild(values)
		list.AppendChild(one)
	}
	answer.AppendChild(list)
	e.send(answer)
}

func (e *exchange) reference(url string) {
	answer := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultReference, nil, "")
	answer.AppendChild(text(url))
	e.send(answer)
}

func (e *exchange) send(parts ...*ber.Packet) {
	message := ber.NewSequence("")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, e.id, ""))
	for _, part := range parts {
		message.AppendChild(part)
	}
	_, _ = e.Write(message.Bytes())
}

func text(value string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, value, "")
}

func active(code string) string {
	return fmt.Sprintf("80090308: LdapErr: DSID-0C09042F, comment: AcceptSecurityContext error, data %s, v2580", code)
}
