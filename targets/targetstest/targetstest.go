// Package targetstest lets tests reach the servers that they start.
package targetstest

import (
	"net/netip"

	"github.com/secboard/secboard/targets"
)

// Loopback allows this machine's own loopback addresses.
var Loopback = targets.Policy{Allowed: []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
}}
