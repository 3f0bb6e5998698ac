// Package company decides about companies, the tenants that accounts and groups belong to.
package company

import (
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a company's stream name.
const Kind = "company"

// Events is the catalogue of the company's events.
var Events = []domain.Event{Created{}, Renamed{}, CabinetPasswordSet{}, DefaultMailAccountSet{}, Retired{}}

// Created starts a company.
type Created struct {
	Name string `json:"name"`
}

// Renamed gives the company another name.
type Renamed struct {
	Name domain.Changed[string] `json:"name"`
}

// CabinetPasswordSet replaces the password that people use, with their e-mail, for their first sign-in.
type CabinetPasswordSet struct {
	Hash domain.Sealed `json:"hash" history:"-" secret:"true"`
}

// DefaultMailAccountSet chooses the account that sends the company's mail where no route says otherwise.
type DefaultMailAccountSet struct {
	MailAccountID domain.Changed[uuid.UUID] `json:"mail_account_id"`
}

// Retired takes the company out of use. Its name is free again; its history stays.
type Retired struct {
	Reason string `json:"reason,omitempty"`
}

func (Created) EventType() string               { return "company.created" }
func (Renamed) EventType() string               { return "company.renamed" }
func (CabinetPasswordSet) EventType() string    { return "company.cabinet_password_set" }
func (DefaultMailAccountSet) EventType() string { return "company.default_mail_account_set" }
func (Retired) EventType() string               { return "company.retired" }

func (e Created) Summary() string             { return "company " + e.Name + " created" }
func (e Renamed) Summary() string             { return "renamed from " + e.Name.From + " to " + e.Name.To }
func (CabinetPasswordSet) Summary() string    { return "cabinet password set" }
func (DefaultMailAccountSet) Summary() string { return "default mail account changed" }
func (e Retired) Summary() string             { return "retired" + domain.Because(e.Reason) }
