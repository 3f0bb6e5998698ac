package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// photos keeps the newest photo of each account, also in a rebuild page by page: all of them are too large for memory.
var photos = engine.Table{Name: "user_photos", Apply: applyPhotos}

// applyPhotos takes the picture from the event itself: the history holds none.
func applyPhotos(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
	for _, e := range events {
		_, id := domain.SplitStream(e.Stream)
		var err error
		switch event := e.Event.(type) {
		case user.PhotoChanged:
			_, err = tx.Exec(ctx, `INSERT INTO user_photos (user_id, jpeg, updated_at) VALUES ($1, $2, $3)
				ON CONFLICT (user_id) DO UPDATE SET jpeg = excluded.jpeg, updated_at = excluded.updated_at`, id,
				event.JPEG, e.Meta.At)
		case user.PhotoRemoved:
			_, err = tx.Exec(ctx, "DELETE FROM user_photos WHERE user_id = $1", id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Photo gives the photo of an account as a JPEG, and since when it is that; ErrNotFound without one.
func (r *ReadModels) Photo(ctx context.Context, userID uuid.UUID) (jpeg []byte, since time.Time, err error) {
	err = r.pool.QueryRow(ctx, "SELECT jpeg, updated_at FROM user_photos WHERE user_id = $1", userID).Scan(&jpeg,
		&since)
	jpeg, err = orNotFound(jpeg, err)
	return jpeg, since.UTC(), err
}
