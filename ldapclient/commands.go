package ldapclient

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/targets"
)

// Client asks directories in the terms of the domain.
type Client struct {
	Targets targets.Policy // the addresses that may be connected to
}

// SignIn finds the one entry of an e-mail address and signs in as it.
func (c Client) SignIn(ctx context.Context, server directory.Server, email, password string) (directory.Entry, error) {
	found, err := c.configOf(server).SignIn(ctx, email, password)
	if refused, ok := errors.AsType[*Refused](err); ok {
		err = &directory.Refused{Reason: string(refused.Reason)}
	}
	return entryOf(found), err
}

// Test does the same step by step, as far as e-mail and password are given.
func (c Client) Test(ctx context.Context, server directory.Server,
	email, password string) ([]directory.Step, *directory.Entry, error) {
	config := c.configOf(server)
	config.Groups = true // also to see what switching it on would give
	steps, found, err := config.Test(ctx, email, password)
	if found == nil {
		return steps, nil, err
	}
	entry := entryOf(*found)
	return steps, &entry, err
}

// Entries gives all entries that the user filter lets through.
func (c Client) Entries(ctx context.Context, server directory.Server) iter.Seq2[directory.Entry, error] {
	return func(yield func(directory.Entry, error) bool) {
		for found, err := range c.configOf(server).Entries(ctx) {
			if !yield(entryOf(found), err) {
				return
			}
		}
	}
}

func (c Client) configOf(server directory.Server) Config {
	return Config{
		URLs: server.URLs, StartTLS: server.StartTLS, CAPEM: server.CAPEM, BaseDN: server.BaseDN, BindDN: server.BindDN,
		BindPassword: server.BindPassword, UserFilter: server.UserFilter, Attributes: Attributes(server.Attributes),
		Groups: server.SyncGroups, NestedGroups: server.NestedGroups, Timeout: server.Timeout(),
		Targets: c.Targets,
	}
}

// longestDN is in bytes. Longer ones are cut where they are shown, and hashed where they name an entry: an index can't
// hold them.
const longestDN = 1000

// entryOf names an entry by its DN where the directory gives it nothing that stays.
func entryOf(e Entry) directory.Entry {
	id, dn := e.GUID, e.DN
	if id == "" {
		id = strings.ToLower(e.DN)
	}
	if len(dn) > longestDN {
		dn = strings.ToValidUTF8(dn[:longestDN], "") + "…"
	}
	if len(id) > longestDN {
		id = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id)))
	}
	return directory.Entry{
		DN: dn, GUID: id, Email: e.Email, FirstName: e.FirstName, LastName: e.LastName, Phone: e.Phone,
		Department: e.Department, Position: e.Position,
		Disabled: e.Disabled, Locked: e.Locked, Expired: e.Expired, PasswordExpired: e.PasswordExpired,
		MustChange: e.MustChange, Groups: e.Groups,
	}
}
