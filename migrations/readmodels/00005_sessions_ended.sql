-- +goose Up

-- The revision of the last event that ended the account's sessions, and the one that went on after it. The sessions
-- that began before these columns were there have ended with them, so that the rows which are there need no past.
ALTER TABLE users
    ADD COLUMN sessions_ended bigint NOT NULL DEFAULT -1,
    ADD COLUMN session_kept   uuid;

-- +goose Down
ALTER TABLE users DROP COLUMN sessions_ended, DROP COLUMN session_kept;
