// Package targets says to which addresses SecBoard connects because the settings of a directory or of a mail server
// name them. Whoever may change those settings decides where connections go: not to what only this machine or its
// neighbours reach, unless its operator allows it.
package targets

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// Policy says which addresses may be connected to. The zero value allows what is not special: the Internet and private
// networks, where directories and mail servers usually are.
type Policy struct {
	Allowed []netip.Prefix // networks that are allowed although they are special
	Setting string         // what an operator calls Allowed; empty: it is not named
}

// Refused says why an address is not connected to. It comes before any packet is sent, so that nothing shows whether
// something listens there.
type Refused struct {
	Address netip.Addr
	Why     string // such as "a loopback address"
	Setting string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%s is %s, to which SecBoard does not connect", r.Address, r.Why)
}

// Fix says what to do about it.
func (r *Refused) Fix() string {
	setting := ""
	if r.Setting != "" {
		setting = " (" + r.Setting + ")"
	}
	return "Name another server, or have the operator of SecBoard allow this address" + setting + "."
}

// Dialer opens connections to allowed addresses only. It checks the address that a connection goes to, after names were
// looked up, so that no name can change in between. The error of another address holds a *Refused.
func (p Policy) Dialer() *net.Dialer {
	return &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("the address %q can't be checked: %w", address, err)
		}
		return p.Check(to.Addr())
	}}
}

// Check answers nil, or a *Refused.
func (p Policy) Check(address netip.Addr) error {
	address = address.WithZone("").Unmap()
	why := special(address)
	if why == "" || slices.ContainsFunc(p.Allowed, func(n netip.Prefix) bool { return n.Contains(address) }) {
		return nil
	}
	return &Refused{Address: address, Why: why, Setting: p.Setting}
}

// network is one that is special, and what its addresses are.
type network struct {
	netip.Prefix
	what string
}

const (
	cloud    = "an address of a cloud's own services"
	reserved = "a reserved address"
	embedder = "an address that leads to an IPv4 address"
)

// https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry, and where clouds answer
// the machines that they run, passwords included.
var networks = []network{
	{netip.MustParsePrefix("0.0.0.0/8"), "an address of this machine"},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), reserved}, // with the broadcast address
	{netip.MustParsePrefix("192.0.0.0/24"), reserved},
	{netip.MustParsePrefix("168.63.129.16/32"), cloud},   // Azure
	{netip.MustParsePrefix("100.100.100.200/32"), cloud}, // Alibaba
	{netip.MustParsePrefix("::/128"), "an address of this machine"},
	{netip.MustParsePrefix("::1/128"), "a loopback address"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("fec0::/10"), "a site-local address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("fd00:ec2::/32"), cloud},     // Amazon
	{netip.MustParsePrefix("fd20:ce::254/128"), cloud},  // Google
	{netip.MustParsePrefix("fd00:c1::/32"), cloud},      // Oracle
	{netip.MustParsePrefix("::/96"), embedder},          // IPv4-compatible, which nobody uses any more
	{netip.MustParsePrefix("64:ff9b:1::/48"), embedder}, // translation within a network
	{netip.MustParsePrefix("2001::/32"), embedder},      // Teredo
}

// special says what is special about an address; "" for nothing.
func special(address netip.Addr) string {
	if !address.IsValid() {
		return "no address"
	}
	for _, network := range networks {
		if network.Contains(address) {
			return network.what
		}
	}
	if inner, ok := translated(address); ok {
		return special(inner)
	}
	return ""
}

// translated is the IPv4 address that a router makes of an address: behind NAT64 all of IPv4 is reached that way.
func translated(address netip.Addr) (netip.Addr, bool) {
	if !address.Is6() {
		return netip.Addr{}, false
	}
	bytes := address.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(address):
		return netip.AddrFrom4([4]byte(bytes[12:])), true
	case netip.MustParsePrefix("2002::/16").Contains(address): // 6to4
		return netip.AddrFrom4([4]byte(bytes[2:])), true
	}
	return netip.Addr{}, false
}
