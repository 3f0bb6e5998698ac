-- +goose Up

-- The revision at which a group last came to give its members more, or to admit more of them: sessions of members that
-- began before it have ended. -1: never.
ALTER TABLE groups ADD COLUMN widened bigint NOT NULL DEFAULT -1;
ALTER TABLE groups ALTER COLUMN widened DROP DEFAULT;

-- +goose Down
ALTER TABLE groups DROP COLUMN widened;
