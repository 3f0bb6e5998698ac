package targets_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/secboard/secboard/targets"
)

func TestSpecialAddressesAreRefused(t *testing.T) {
	t.Parallel()
	for address, why := range map[string]string{
		"127.0.0.1": "loopback", "127.255.0.9": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback",
		"0.0.0.0": "this machine", "0.1.2.3": "this machine", "::": "this machine",
		"169.254.169.254": "link-local", "::ffff:169.254.169.254": "link-local", "fe80::1": "link-local",
		"fe80::1%eth0": "link-local", "224.0.0.1": "multicast", "239.255.255.250": "multicast", "ff02::1": "multicast",
		"255.255.255.255": "reserved", "240.0.0.1": "reserved", "192.0.0.192": "reserved", "fec0::1": "site-local",
		"168.63.129.16": "cloud", "100.100.100.200": "cloud", "fd00:ec2::254": "cloud", "fd20:ce::254": "cloud",
		"fd00:c1::a9fe:a9fe": "cloud",
		"64:ff9b::7f00:1":    "loopback", "64:ff9b::a9fe:a9fe": "link-local", "64:ff9b:1::1": "IPv4",
		"2002:7f00:1::1": "loopback", "2002:a9fe:a9fe::1": "link-local", "2001:0:1::1": "IPv4", "::7f00:1": "IPv4",
		"10.0.0.1": "", "172.16.3.4": "", "192.168.1.1": "", "100.64.0.1": "", "fd12:3456::1": "",
		"8.8.8.8": "", "2001:db8::1": "", "2606:4700::1111": "", "64:ff9b::808:808": "", "64:ff9b::a00:1": "",
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			err := targets.Policy{Setting: "TARGETS"}.Check(netip.MustParseAddr(address))
			refused, isRefused := errors.AsType[*targets.Refused](err)
			switch {
			case why == "" && err != nil:
				t.Errorf("refused: %v", err)
			case why != "" && (!isRefused || !strings.Contains(refused.Why, why)):
				t.Errorf("got %v, want that it is %s", err, why)
			case isRefused && !strings.Contains(refused.Fix(), "(TARGETS)"):
				t.Errorf("the setting is not named: %s", refused.Fix())
			}
		})
	}
	if err := (targets.Policy{}).Check(netip.Addr{}); err == nil {
		t.Error("what is no address is allowed")
	}
}

func TestAnOperatorAllowsNetworks(t *testing.T) {
	t.Parallel()
	policy := targets.Policy{Allowed: []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/30"), netip.MustParsePrefix("fe80::/10"),
	}}
	for address, allowed := range map[string]bool{
		"127.0.0.1": true, "::ffff:127.0.0.2": true, "fe80::1%eth0": true, "10.0.0.1": true,
		"127.0.0.4": false, "::1": false, "169.254.169.254": false,
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			if err := policy.Check(netip.MustParseAddr(address)); (err == nil) != allowed {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Nothing is sent to a refused address, so nobody learns whether something listens there.
func TestNothingReachesARefusedAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // the test is over
	refuse := func(address string) string {
		t.Helper()
		conn, err := targets.Policy{}.Dialer().DialContext(t.Context(), "tcp", address)
		if err == nil {
			t.Fatalf("connected to %s", conn.RemoteAddr())
		}
		if _, ok := errors.AsType[*targets.Refused](err); !ok {
			t.Fatalf("got %v, want a *Refused", err)
		}
		return strings.ReplaceAll(err.Error(), address, "")
	}
	open := listener.Addr().String()
	closed := net.JoinHostPort("127.0.0.1", "1")
	if a, b := refuse(open), refuse(closed); a != b {
		t.Errorf("an open port is told from a closed one: %q and %q", a, b)
	}
	allowing := targets.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	conn, err := allowing.Dialer().DialContext(t.Context(), "tcp", open)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// A name that first leads elsewhere and then to this machine (DNS rebinding) is checked where the connection goes.
func TestANameThatChangesIsCheckedWhenConnecting(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go answerNames(there, func() [4]byte {
			if asked.Add(1) == 1 {
				return [4]byte{192, 0, 2, 1}
			}
			return [4]byte{127, 0, 0, 1}
		})
		return here, nil
	}}
	first, err := resolver.LookupNetIP(t.Context(), "ip4", "rebinding.test")
	if err != nil || len(first) != 1 || first[0].Unmap().String() != "192.0.2.1" {
		t.Fatalf("at first it is %v, %v", first, err)
	}
	dialer := targets.Policy{}.Dialer()
	dialer.Resolver = resolver
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = dialer.DialContext(ctx, "tcp4", "rebinding.test:389")
	if refused, ok := errors.AsType[*targets.Refused](err); !ok || refused.Address.String() != "127.0.0.1" {
		t.Errorf("got %v, want that 127.0.0.1 is refused", err)
	}
}

// answerNames answers questions for IPv4 addresses over a stream, as DNS over TCP does.
func answerNames(conn net.Conn, address func() [4]byte) {
	defer conn.Close() //nolint:errcheck // a pipe
	for {
		var head [2]byte
		if _, err := conn.Read(head[:]); err != nil {
			return
		}
		raw := make([]byte, int(head[0])<<8|int(head[1]))
		if _, err := conn.Read(raw); err != nil {
			return
		}
		var question dnsmessage.Message
		if question.Unpack(raw) != nil {
			return
		}
		answer := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: question.ID, Response: true, RecursionAvailable: true},
			Questions: question.Questions,
			Answers: []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: question.Questions[0].Name, Type: dnsmessage.TypeA,
					Class: dnsmessage.ClassINET},
				Body: &dnsmessage.AResource{A: address()},
			}},
		}
		packed, err := answer.Pack()
		if err != nil {
			return
		}
		if _, err := conn.Write(append([]byte{byte(len(packed) >> 8), byte(len(packed))}, packed...)); err != nil {
			return
		}
	}
}
