-- +goose Up

-- At which revisions of its account's groups a session began, by their ids: what gave the members of one more since
-- then ended it. Of those that are there it is not known, so they end now.
DELETE FROM sessions;
ALTER TABLE sessions ADD COLUMN group_revisions jsonb NOT NULL;

-- +goose Down
ALTER TABLE sessions DROP COLUMN group_revisions;
