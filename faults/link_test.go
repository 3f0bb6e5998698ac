//go:build linux

package faults

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is the connection between two parts, through a proxy that can break it.
type link struct {
	name  string
	proxy *toxiproxy.Proxy
	mu    sync.Mutex
	added int // toxics, so that two of a kind have names of their own
}

func newLink(t testing.TB, name, upstream string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &link{name: name, proxy: toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)}
	if err := l.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.proxy.Stop)
	return l
}

func (l *link) address() string { return l.proxy.Listen }

// poison changes what passes; see the toxics of Toxiproxy. direction is upstream or downstream.
func (l *link) poison(kind, direction, attributes string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added++
	toxic := fmt.Sprintf(`{"name":"%s %d","type":%q,"stream":%q,"attributes":{%s}}`, kind, l.added, kind, direction, attributes)
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

// heal makes the link whole again.
func (l *link) heal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Toxics.ResetToxics(context.Background())
	if err := l.proxy.Start(); err != nil && err != toxiproxy.ErrProxyAlreadyStarted { //nolint:errorlint // it is never wrapped
		return err
	}
	return nil
}
