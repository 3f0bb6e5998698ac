package httpapi

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

const auditTag = "Audit"

type auditEventsRequest struct {
	QueryHeaders
	ActorID       uuid.UUID `query:"actor_id" format:"uuid" doc:"Who did it"`
	SubjectID     string    `query:"subject_id" maxLength:"100" doc:"What it was about: the id of an account, company, role, group, …, or the key of a module"`
	Type          string    `query:"type" maxLength:"100" doc:"Prefix of the event type, such as user.group"`
	CompanyID     uuid.UUID `query:"company_id" format:"uuid" doc:"Company that the subject is, belonged to, or was removed from by the event"`
	From          Moment    `query:"from" doc:"Earliest time (RFC 3339), or first day (UTC)"`
	To            Moment    `query:"to" doc:"Latest time (RFC 3339), or last day (UTC)"`
	IP            string    `query:"ip" maxLength:"45" doc:"Address that the request came from"`
	CorrelationID uuid.UUID `query:"correlation_id" format:"uuid" doc:"Shared by the events of one request, whose answer has it as X-Request-ID; the id of a sign-in event finds everything done in that session"`
	Limit         int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most"`
	Cursor        string    `query:"cursor" maxLength:"2000" doc:"next_cursor or previous_cursor of a page of the same query"`
}

// auditEvents is a page of the log.
type auditEvents struct {
	Items          []projections.AuditEvent `json:"items" doc:"Newest first"`
	NextCursor     *string                  `json:"next_cursor" doc:"Cursor for older events; null at the beginning of the log"`
	PreviousCursor string                   `json:"previous_cursor" doc:"Cursor for newer events; if there are none yet, ask again later"`
}

type auditEventsAnswer struct {
	Body auditEvents
}

// addAudit adds the reading of the log over all subjects.
func (s *server) addAudit() {
	register(s, operation{
		method: http.MethodGet, path: "/audit/events", id: "audit-events", tag: auditTag,
		required: needs("audit", domain.View).forCompanies(),
		summary:  "The whole log, newest first",
		description: "Everything that happened: who, when, from where, and each field's old and new value. The " +
			"query is itself recorded, once for all its pages; its cursors work only for the person who asked. To " +
			"follow new events, ask again with `previous_cursor`.",
	}, s.auditEvents)
	s.addAuditExport()
}

func (s *server) auditEvents(ctx context.Context, in *auditEventsRequest) (*auditEventsAnswer, error) {
	if in.IP != "" {
		address, err := netip.ParseAddr(in.IP)
		if err != nil {
			return nil, &domain.Invalid{Fields: []domain.FieldError{
				{Field: "ip", Code: domain.CodeIP, Message: "must be an address such as 203.0.113.9 or 2001:db8::7"},
			}}
		}
		in.IP = textOf(address.Unmap())
	}
	in.CompanyID = idOf(infoOf(ctx).reach.within(in.CompanyID))
	filter := projections.AuditFilter{
		SubjectID: in.SubjectID, Type: in.Type, CompanyID: given(in.CompanyID), From: in.From.start(), To: in.To.end(),
		IP:            in.IP,
		CorrelationID: given(in.CorrelationID),
	}
	reading := audit.EventsRead{
		SubjectID: in.SubjectID, Type: in.Type, CompanyID: in.CompanyID, From: in.From.from, To: in.To.to, IP: in.IP,
		CorrelationID: in.CorrelationID,
	}
	if in.ActorID != uuid.Nil {
		filter.ActorID, reading.ActorID = in.ActorID.String(), in.ActorID.String()
	}
	page := projections.AuditPage{Limit: in.Limit}
	var place logPlace
	if err := s.openCursor(ctx, reading, in.Cursor, &place); err != nil {
		return nil, err
	}
	if place.Newer {
		page.After = &place.Position
	} else if in.Cursor != "" {
		page.Before = &place.Position
	}
	var events []projections.AuditEvent
	var more bool
	err := s.recorded(ctx, reading, in.Cursor, func(ctx context.Context) (err error) {
		events, more, err = s.ReadModels.AuditEvents(ctx, filter, page)
		return err
	})
	if err != nil {
		return nil, err
	}
	oldest, newest := place.Position, place.Position
	switch {
	case len(events) > 0:
		oldest, newest = events[len(events)-1].Position, events[0].Position
	case place.Newer:
		oldest++ // the page that this one would follow ended with the event at the position
	case newest > 0:
		newest--
	}
	body := auditEvents{Items: events}
	if more || place.Newer {
		older, err := s.bindCursor(ctx, reading, logPlace{Position: oldest})
		if err != nil {
			return nil, err
		}
		body.NextCursor = &older
	}
	body.PreviousCursor, err = s.bindCursor(ctx, reading, logPlace{Position: newest, Newer: true})
	return &auditEventsAnswer{Body: body}, err
}

// logPlace is where a page of the log continues: at what is older than a position, or newer.
type logPlace struct {
	Position eventstore.Position `json:"p"`
	Newer    bool                `json:"n,omitempty"`
}

// recorded runs a query of the audit and writes down that it was asked. Pages after the first belong to the same
// query. Whoever can't be written down is not answered.
func (s *server) recorded(ctx context.Context, reading domain.Event, cursor string,
	query func(context.Context) error) error {
	if cursor != "" {
		return query(ctx)
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		_, err := s.Commands.RecordReading(ctx, s.caller(ctx), reading)
		return err
	})
	both.Go(func() error { return query(ctx) })
	return both.Wait()
}

// bindCursor makes a cursor that works only for the same person and the same query: pages are not recorded one by one,
// so nobody may come to one without its query.
func (s *server) bindCursor(ctx context.Context, reading domain.Event, place any) (string, error) {
	payload, err := json.Marshal(place)
	if err != nil {
		return "", err
	}
	mac, err := s.cursorMAC(ctx, reading, payload)
	return base64.RawURLEncoding.EncodeToString(append(mac, payload...)), err
}

const cursorMACSize = 16

func (s *server) openCursor(ctx context.Context, reading domain.Event, cursor string, place any) error {
	if cursor == "" {
		return nil
	}
	content, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(content) < cursorMACSize {
		return projections.ErrBadCursor
	}
	mac, err := s.cursorMAC(ctx, reading, content[cursorMACSize:])
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, content[:cursorMACSize]) || json.Unmarshal(content[cursorMACSize:], place) != nil {
		return projections.ErrBadCursor
	}
	return nil
}

func (s *server) cursorMAC(ctx context.Context, reading domain.Event, payload []byte) ([]byte, error) {
	query, err := json.Marshal(reading)
	if err != nil {
		return nil, err
	}
	bound := strings.Join([]string{infoOf(ctx).access.UserID.String(), reading.EventType(),
		strconv.Quote(string(query)), string(payload)}, "\n")
	return s.Commands.Keys.MAC("audit-cursor", []byte(bound))
}

// timeOf is the zero time for none.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
