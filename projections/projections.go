// Package projections holds the Postgres read models of the event log, and answers queries from them.
//
// One file holds one read model: how events change its tables, and the queries that read them. The rows of an earlier
// time come from the history, folded by the same functions. Set lists the read models for package engine, which keeps
// them up to date and rebuilds them.
package projections

import (
	"encoding/json"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/projections/engine"
)

// ErrNotFound says that there is no such thing, or that there was none at the time asked for.
var ErrNotFound = engine.ErrNotFound

// ReadModels answers queries from the read models.
type ReadModels struct {
	pool     *pgxpool.Pool
	load     map[string]loader // by kind
	security cachedSecurity
}

// NewReadModels makes ReadModels. In the pool's connections unqualified names must mean the schema readmodels.
func NewReadModels(pool *pgxpool.Pool) *ReadModels {
	return &ReadModels{pool: pool, load: loaders(Set())}
}

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
