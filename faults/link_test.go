//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is the connection between two parts, through a proxy that can break it.
type link struct {
	name    string
	address string // where it listens
	mu      sync.Mutex
	proxy   *toxiproxy.Proxy
	added   int // toxics, so that two of a kind have names of their own
}

func newLink(t testing.TB, name, upstream string) *link {
	t.Helper()
	l := &link{name: name}
	if err := l.start("127.0.0.1:0", upstream); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.cut)
	l.address = l.proxy.Listen
	return l
}

// start puts a new proxy in place.
func (l *link) start(listen, upstream string) error {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l.proxy = toxiproxy.NewProxy(server, l.name, listen, upstream)
	return l.proxy.Start()
}

// poison changes what passes; see the toxics of Toxiproxy. direction is upstream or downstream.
func (l *link) poison(kind, direction, attributes string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added++
	toxic := fmt.Sprintf(`{"name":"%s %d","type":%q,"stream":%q,"attributes":{%s}}`, kind, l.added, kind, direction,
		attributes)
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	return err
}

// blackHole lets nothing through, in neither direction, without a word.
func (l *link) blackHole() error {
	if err := l.poison("timeout", "upstream", `"timeout":0`); err != nil {
		return err
	}
	return l.poison("timeout", "downstream", `"timeout":0`)
}

// cut ends all connections and takes no new ones.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Stop()
}

// sever ends all connections, with what is on its way, and takes new ones at once. The proxy is replaced: taking a
// toxic away from connections that have ended takes Toxiproxy seconds.
func (l *link) sever() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Stop()
	return l.start(l.address, l.proxy.Upstream)
}

// heal makes the link whole again.
func (l *link) heal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Toxics.ResetToxics(context.Background())
	if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return err
	}
	return nil
}
