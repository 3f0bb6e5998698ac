// Package mailaccount decides about the accounts at mail servers from which SecBoard's mail is sent.
package mailaccount

import (
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a mail account's stream name.
const Kind = "mailaccount"

// Events is the catalogue of the mail account's events.
var Events = []domain.Event{
	Created{}, ServerChanged{}, SenderChanged{}, UsernameChanged{}, PasswordSet{}, PasswordRemoved{}, Retired{},
}

// Created starts a mail account; its password, if it has one, follows as PasswordSet.
type Created struct {
	ServerID    uuid.UUID `json:"server_id"`
	Address     string    `json:"address"`
	DisplayName string    `json:"display_name,omitempty"`
	Username    string    `json:"username,omitempty"`
}

// ServerChanged moves the account to another mail server.
type ServerChanged struct {
	ServerID domain.Changed[uuid.UUID] `json:"server_id"`
}

// SenderChanged changes what recipients see as the sender; a field that stays is left out.
type SenderChanged struct {
	Address     domain.Changed[string] `json:"address,omitzero"`
	DisplayName domain.Changed[string] `json:"display_name,omitzero"`
}

// UsernameChanged changes the name under which SecBoard signs in to the server; empty for no sign-in.
type UsernameChanged struct {
	Username domain.Changed[string] `json:"username"`
}

// PasswordSet replaces the password for the server.
type PasswordSet struct {
	Password domain.Sealed `json:"password" history:"-" secret:"true"`
}

// PasswordRemoved throws the password away.
type PasswordRemoved struct{}

// Retired takes the account out of use. Its history stays.
type Retired struct {
	Reason string `json:"reason,omitempty"`
}

func (Created) EventType() string         { return "mailaccount.created" }
func (ServerChanged) EventType() string   { return "mailaccount.server_changed" }
func (SenderChanged) EventType() string   { return "mailaccount.sender_changed" }
func (UsernameChanged) EventType() string { return "mailaccount.username_changed" }
func (PasswordSet) EventType() string     { return "mailaccount.password_set" }
func (PasswordRemoved) EventType() string { return "mailaccount.password_removed" }
func (Retired) EventType() string         { return "mailaccount.retired" }

func (e Created) Summary() string       { return "mail account " + e.Address + " created" }
func (ServerChanged) Summary() string   { return "moved to another mail server" }
func (SenderChanged) Summary() string   { return "sender changed" }
func (UsernameChanged) Summary() string { return "user name changed" }
func (PasswordSet) Summary() string     { return "password set" }
func (PasswordRemoved) Summary() string { return "password removed" }
func (e Retired) Summary() string       { return "retired" + domain.Because(e.Reason) }
