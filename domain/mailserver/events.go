// Package mailserver decides about the servers that take SecBoard's mail.
package mailserver

import (
	"fmt"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a mail server's stream name.
const Kind = "mailserver"

// Events is the catalogue of the mail server's events.
var Events = []domain.Event{Created{}, Renamed{}, ConnectionChanged{}, Retired{}}

// Created starts a mail server.
type Created struct {
	Name     string `json:"name"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Security string `json:"security"`
	TimeoutS int    `json:"timeout_s"`
}

// Renamed gives the server another name.
type Renamed struct {
	Name domain.Changed[string] `json:"name"`
}

// ConnectionChanged changes how the server is reached; a field that stays is left out.
type ConnectionChanged struct {
	Host     domain.Changed[string] `json:"host,omitzero"`
	Port     domain.Changed[int]    `json:"port,omitzero"`
	Security domain.Changed[string] `json:"security,omitzero"`
	TimeoutS domain.Changed[int]    `json:"timeout_s,omitzero"`
}

// Retired takes the server out of use. Its history stays.
type Retired struct {
	Reason string `json:"reason,omitempty"`
}

func (Created) EventType() string           { return "mailserver.created" }
func (Renamed) EventType() string           { return "mailserver.renamed" }
func (ConnectionChanged) EventType() string { return "mailserver.connection_changed" }
func (Retired) EventType() string           { return "mailserver.retired" }

func (e Created) Summary() string {
	return fmt.Sprintf("mail server %s created, at %s port %d", e.Name, e.Host, e.Port)
}
func (e Renamed) Summary() string         { return "renamed from " + e.Name.From + " to " + e.Name.To }
func (ConnectionChanged) Summary() string { return "connection changed" }
func (e Retired) Summary() string         { return "retired" + domain.Because(e.Reason) }
