-- +goose Up

-- At which revision of its account a session began: what ended the account's sessions later ended it too. Of those that
-- are there it is not known, so they end now.
DELETE FROM sessions;
ALTER TABLE sessions ADD COLUMN account_revision bigint NOT NULL;

-- +goose Down
ALTER TABLE sessions DROP COLUMN account_revision;
