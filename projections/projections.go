// Package projections keeps the Postgres read models up to date with the event log, and answers queries from them.
//
// A projection turns pages of the log into rows of its own tables; the page's rows and the projection's checkpoint
// commit in one transaction. One file holds one projection: how events change its tables, and the queries that read
// them. The rows of an earlier time come from the history, folded by the same functions.
package projections

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// ErrNotFound says that there is no such thing, or that there was none at the time asked for.
var ErrNotFound = errors.New("not found")

// projection is how one part of the read models follows the log.
type projection struct {
	name string
	// kind is that of the aggregates whose events change its tables; "" stands for all.
	kind   string
	tables []table // that nobody else writes or reads while applying events
}

// all lists the projections in the order in which their status is shown.
var all = []projection{
	{"users", user.Kind, []table{bareUserRows.table(writeUsers), roleStays.table(), groupStays.table(), photos}},
	{"sign_ins", signin.Kind, []table{lastSignIns}},
	{"companies", company.Kind, []table{companyRows.table(writeCompanies)}},
	{"roles", role.Kind, []table{roleRows.table(writeRoles)}},
	{"groups", group.Kind, []table{groupRows.table(writeGroups)}},
	{"directories", directory.Kind, []table{directoryRows.table(writeDirectories)}},
	{"modules", module.Kind, []table{moduleRows.table(writeModules)}},
	{"mail_servers", mailserver.Kind, []table{mailServerRows.table(writeMailServers)}},
	{"mail_accounts", mailaccount.Kind, []table{mailAccountRows.table(writeMailAccounts)}},
	{"mail_messages", mailmessage.Kind, []table{mailMessageRows.table(writeMailMessages)}},
	{"account_versions", user.Kind, []table{accountVersions.table()}},
	{"group_versions", group.Kind, []table{groupVersions.table()}},
	{"history", "", []table{history, historyHours}},
}

// handles says whether an event concerns the projection. One that can't be decoded concerns it also by its type:
// better to stop than to pass over what a newer SecBoard wrote.
func (p projection) handles(e *eventstore.Envelope) bool {
	if p.kind == "" {
		return !e.Foreign()
	}
	kind, _ := domain.SplitStream(e.Stream)
	return kind == p.kind || e.Err != nil && strings.HasPrefix(e.Type, p.kind+".")
}

// ReadModels answers queries from the read models.
type ReadModels struct {
	pool     *pgxpool.Pool
	security cachedSecurity
}

// NewReadModels makes ReadModels. In the pool's connections unqualified names must mean the schema readmodels.
func NewReadModels(pool *pgxpool.Pool) *ReadModels { return &ReadModels{pool: pool} }

// Ref names another resource.
type Ref struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
}

// optional is nil for an empty value, so that JSON reads null.
func optional[T comparable](value T) *T {
	var empty T
	if value == empty {
		return nil
	}
	return &value
}

// orNotFound turns the answer "no rows" into ErrNotFound.
func orNotFound[T any](value T, err error) (T, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		var none T
		return none, ErrNotFound
	}
	return value, err
}

// notNil is an empty list for none, so that JSON reads [].
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// jsonb is a value that Postgres gets as JSON, also as an element of an array.
type jsonb struct{ value any }

// MarshalJSON implements json.Marshaler.
func (j jsonb) MarshalJSON() ([]byte, error) { return json.Marshal(j.value) }

// rawUUID is a UUID that pgx sends as 16 bytes. It would send a uuid.UUID through its text, at many times the cost.
type rawUUID = [16]byte
