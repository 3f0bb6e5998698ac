package signin

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// What limits links: anybody may ask for them, and the events of that must not grow without bound.
const (
	// LinkLife is how long a link can be used.
	LinkLife = time.Hour
	// MostLinks is how many links are sent for an account within LinksWithin, and how many wishes are recorded for
	// which none is sent; whatever more is asked for is neither sent nor recorded.
	MostLinks   = 5
	LinksWithin = 15 * time.Minute
)

// Link is a link that can be used, as long as what Seal names is as it was.
type Link struct {
	ID         uuid.UUID `json:"id"`
	FirstLogin bool      `json:"first_login,omitempty"` // it signs in; else it sets a password
	ExpiresAt  time.Time `json:"expires_at"`
	Seal       string    `json:"seal"`
}

// Asked counts how often links were asked for; those that were not sent use up none of those that are.
type Asked struct {
	Of    string    `json:"of,omitempty"` // see Attempt.Of
	Sent  bool      `json:"sent,omitempty"`
	Since time.Time `json:"since"`
	Times int       `json:"times"`
}

// ResetLinkRequested asks for a link with which a new password can be set, once, until ExpiresAt. The link's token is
// signed and computed from this event when it is needed; it is stored nowhere. Without a Link none is sent.
type ResetLinkRequested struct {
	Link      uuid.UUID `json:"link,omitzero" history:"-"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Language  string    `json:"language,omitempty" history:"-"`
	Memory    Memory    `json:"memory,omitzero" history:"-"`
}

// FirstLoginRequested asks for a link that signs in once, with the company's cabinet password. Without a Link none is
// sent.
type FirstLoginRequested struct {
	Link      uuid.UUID `json:"link,omitzero" history:"-"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Language  string    `json:"language,omitempty" history:"-"`
	Memory    Memory    `json:"memory,omitzero" history:"-"`
}

// LinksLimited says that links were asked for so often that until a time none is sent.
type LinksLimited struct {
	Until  time.Time `json:"until"`
	Memory Memory    `json:"memory,omitzero" history:"-"`
}

func (ResetLinkRequested) EventType() string  { return "signin.reset_link_requested" }
func (FirstLoginRequested) EventType() string { return "signin.first_login_requested" }
func (LinksLimited) EventType() string        { return "signin.links_limited" }

func (e ResetLinkRequested) Summary() string {
	return sent("password reset link requested", e.ExpiresAt)
}
func (e FirstLoginRequested) Summary() string {
	return sent("first-login link requested", e.ExpiresAt)
}
func (e LinksLimited) Summary() string {
	return "links were requested too often: none is sent until " + e.Until.Format(time.RFC3339)
}

func sent(what string, expires time.Time) string {
	if expires.IsZero() {
		return what + ", none sent"
	}
	return what
}

// Wish is what somebody asks for. A Seal of "" is for whom no link is sent.
type Wish struct {
	Link       uuid.UUID // its id
	FirstLogin bool
	Language   string
	Seal       string
}

// AskForLink records that a link was asked for: an event for whoever has an account and for whoever has none, so that
// nobody learns the difference.
func AskForLink(s State, attempt Attempt, wish Wish, policy Policy) []domain.Event {
	memory, asked := s.at(attempt.Now, policy).asks(attempt.Of, wish.Seal != "", attempt.Now)
	switch {
	case asked.Times > MostLinks+1:
		return nil
	case asked.Times > MostLinks:
		return []domain.Event{LinksLimited{Until: asked.Since.Add(LinksWithin), Memory: memory}}
	}
	var link Link
	if wish.Seal != "" {
		link = Link{wish.Link, wish.FirstLogin, attempt.Now.Add(LinkLife).UTC(), wish.Seal}
		memory.Links = append(slices.Clone(memory.Links), link)
	} else {
		wish.Language = ""
	}
	if wish.FirstLogin {
		return []domain.Event{FirstLoginRequested{link.ID, link.ExpiresAt, wish.Language, memory}}
	}
	return []domain.Event{ResetLinkRequested{link.ID, link.ExpiresAt, wish.Language, memory}}
}

// asks counts a wish. Of too many addresses without an account, the first ones are forgotten.
func (m Memory) asks(of string, sent bool, now time.Time) (Memory, Asked) {
	asked := Asked{Of: of, Sent: sent, Since: now.UTC()}
	m.Asked = slices.DeleteFunc(slices.Clone(m.Asked), func(a Asked) bool {
		counted := a.Of == of && a.Sent == sent
		if counted {
			asked = a
		}
		return counted
	})
	asked.Times++
	m.Asked = append(m.Asked, asked)
	m.Asked = m.Asked[max(0, len(m.Asked)-mostPlaces):]
	return m, asked
}

// Link finds a link that has not expired, by its id and what it is for; ok is false when there is none.
func (m Memory) Link(id uuid.UUID, firstLogin bool, now time.Time) (link Link, ok bool) {
	i := slices.IndexFunc(m.Links, func(l Link) bool {
		return l.ID == id && l.FirstLogin == firstLogin && now.Before(l.ExpiresAt)
	})
	if i < 0 {
		return Link{}, false
	}
	return m.Links[i], true
}
