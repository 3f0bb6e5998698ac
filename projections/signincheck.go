package projections

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// SignInCheck says whether somebody would get in, and if not why.
type SignInCheck struct {
	At          time.Time      `json:"at"`
	Verdict     string         `json:"verdict"`
	Reason      string         `json:"reason"`
	Checks      []SignInCause  `json:"checks"`
	LastAttempt *SignInAttempt `json:"last_attempt"`
}

// SignInCause is one thing that decides on a sign-in: an access.Finding with who made it so. Event, time and actor are
// nil where nothing did.
type SignInCause struct {
	Code    string     `json:"code"`
	OK      bool       `json:"ok"`
	Detail  string     `json:"detail"`
	Fix     *string    `json:"fix"`
	EventID *uuid.UUID `json:"event_id"`
	At      *time.Time `json:"at"`
	Actor   *Actor     `json:"actor"`
}

// SignInAttempt is the last time that somebody tried, with the true outcome.
type SignInAttempt struct {
	EventID uuid.UUID `json:"event_id"`
	At      time.Time `json:"at"`
	IP      *string   `json:"ip"`
	Summary string    `json:"summary"`
}

// SignInCheck answers for an account: now, or with asOf as it was then. ErrNotFound where the account did not exist.
func (r *ReadModels) SignInCheck(ctx context.Context, id uuid.UUID, now time.Time,
	asOf *time.Time) (SignInCheck, error) {
	last := endOfTime
	if asOf != nil {
		now, last = *asOf, *asOf
	}
	facts, ips, err := r.signInFacts(ctx, id, now, last)
	if err != nil {
		return SignInCheck{}, err
	}
	if facts.Directories, err = r.directoriesAt(ctx, last); err != nil {
		return SignInCheck{}, err
	}
	if facts.HasRights, err = r.hasRights(ctx, facts.Account, last); err != nil {
		return SignInCheck{}, err
	}
	answer := facts.SignIn()
	check := SignInCheck{At: now.UTC(), Verdict: answer.Verdict, Reason: answer.Reason()}
	var actors []*Actor
	for _, found := range answer.Findings {
		shown := SignInCause{Code: found.Code, OK: found.OK, Detail: found.Detail, Fix: optional(found.Fix)}
		shown.EventID, shown.At, shown.Actor = shownCause(found.Cause)
		if shown.Actor != nil {
			actors = append(actors, shown.Actor)
		}
		check.Checks = append(check.Checks, shown)
	}
	if a := answer.LastAttempt; a != nil {
		check.LastAttempt = &SignInAttempt{
			EventID: a.EventID, At: a.At.UTC(), IP: ips[a.EventID], Summary: a.Event.Summary(),
		}
	}
	return check, r.signChecks(ctx, &check, actors)
}

// signChecks adds to the text of each check that refuses who caused it, and when.
func (r *ReadModels) signChecks(ctx context.Context, check *SignInCheck, actors []*Actor) error {
	if err := r.nameActors(ctx, actors); err != nil {
		return err
	}
	decided := false
	for i := range check.Checks {
		c := &check.Checks[i]
		if c.OK {
			continue
		}
		if c.Actor != nil && c.Actor.Name != nil {
			c.Detail += fmt.Sprintf(" (by %s, %s)", *c.Actor.Name, c.At.Format(time.RFC3339))
		}
		if !decided {
			check.Reason, decided = c.Detail, true
		}
	}
	return nil
}

// newestSignIns is how many events of sign-ins are looked at to name the causes. What holds is in the newest one.
const newestSignIns = 100

// signInFacts folds the account's events, and the newest of its sign-ins. ips are the
// addresses that the events came from.
func (r *ReadModels) signInFacts(ctx context.Context, id uuid.UUID,
	now, last time.Time) (*access.SignInFacts, map[uuid.UUID]*string, error) {
	const columns = `position, event_id, kind, type, revision, at, actor_kind, coalesce(actor_id, ''), ip, data`
	rows, err := r.pool.Query(ctx, `SELECT `+columns+` FROM history WHERE kind = $1 AND subject_id = $3 AND at <= $4
		UNION ALL (SELECT `+columns+
		` FROM history WHERE kind = $2 AND subject_id = $3 AND at <= $4 ORDER BY position DESC LIMIT $5)
		ORDER BY position`, user.Kind, signin.Kind, id.String(), last, newestSignIns)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	account, facts, ips := newUserRow(id), &access.SignInFacts{ID: id, Now: now}, map[uuid.UUID]*string{}
	for rows.Next() {
		var noted access.Event
		var kind string
		var ip *string
		var e eventstore.Envelope
		if err := rows.Scan(&e.Position, &noted.EventID, &kind, &e.Type, &e.Revision, &noted.At, &noted.By.Kind,
			&noted.By.ID, &ip, &e.Data); err != nil {
			return nil, nil, err
		}
		if e.Event, err = eventstore.DecodeData(e.Type, e.Data); err != nil {
			return nil, nil, err
		}
		noted.Event, e.Meta.At = e.Event, noted.At
		if kind == user.Kind {
			if err := account.Apply(&e); err != nil {
				return nil, nil, fmt.Errorf("the history of account %s: %w", id, err)
			}
		} else {
			ips[noted.EventID] = ip
		}
		facts.Note(&noted)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	if !account.Exists() {
		return nil, nil, ErrNotFound
	}
	facts.Account, facts.Reason = account.state, account.reason
	facts.HasPassword, facts.BackupCodes = account.hasPassword, account.codesLeft
	return facts, ips, nil
}

// hasRights says whether an account could do something at a time, whether or not it could be used.
func (r *ReadModels) hasRights(ctx context.Context, account user.State, at time.Time) (bool, error) {
	if account.Superuser || len(account.Groups) == 0 {
		return account.Superuser, nil
	}
	groups, err := groupRows.AsOf(ctx, r.pool, slices.Collect(maps.Keys(account.Groups)), at)
	if err != nil {
		return false, err
	}
	var offers []access.Offer
	for _, g := range groups {
		offers = append(offers, access.OfferOf(g.state))
	}
	return len(access.RightsOf(access.StandingOf(account, ""), offers, at).Granted) > 0, nil
}

// directoriesAt gives the connections as they stood at a time, the oldest first.
func (r *ReadModels) directoriesAt(ctx context.Context, at time.Time) ([]directory.Connection, error) {
	ids, err := r.ids(ctx, "SELECT id FROM directories ORDER BY created_at, id")
	if err != nil {
		return nil, err
	}
	then, err := directoryRows.AsOf(ctx, r.pool, ids, at)
	if err != nil {
		return nil, err
	}
	var connections []directory.Connection
	var companies []uuid.UUID
	for _, id := range ids {
		if d := then[id]; d != nil {
			connections = append(connections, directory.Connection{ID: id, State: d.state})
			companies = append(companies, d.state.Settings.CompanyID)
		}
	}
	owners, err := companyRows.AsOf(ctx, r.pool, companies, at)
	if err != nil {
		return nil, err
	}
	for i, id := range companies {
		if owner := owners[id]; owner != nil {
			connections[i].CompanyRetired = owner.state.Retired
		}
	}
	return connections, nil
}
