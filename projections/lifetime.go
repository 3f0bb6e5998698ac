package projections

import (
	"errors"
	"time"

	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/eventstore"
)

// lifetime is what every row holds.
type lifetime struct {
	createdAt time.Time
	updatedAt time.Time
	revision  eventstore.Revision
}

// Exists says whether the aggregate has begun.
func (l *lifetime) Exists() bool { return !l.createdAt.IsZero() }

// applied notes an event. exists says whether the aggregate exists after it.
func (l *lifetime) applied(e *eventstore.Envelope, exists bool) error {
	if !exists {
		if _, fence := e.Event.(claim.Contested); fence {
			return nil // the aggregate was about to begin when its claim was taken over
		}
		return errors.New("it changes something that does not exist yet")
	}
	if l.createdAt.IsZero() {
		l.createdAt = e.Meta.At
	}
	l.updatedAt, l.revision = e.Meta.At, e.Revision
	return nil
}
