-- +goose Up

CREATE TABLE directories (
    id                uuid PRIMARY KEY,
    name              text        NOT NULL,
    company_id        uuid, -- null: serves all companies
    enabled           boolean     NOT NULL,
    vouched           boolean     NOT NULL,
    stopped           text, -- why the background check waits for somebody; null while it doesn't
    has_bind_password boolean     NOT NULL,
    settings          jsonb       NOT NULL, -- the rest, which no query looks at
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    revision          bigint      NOT NULL,
    name_key          bytea       NOT NULL,
    search            text        NOT NULL
);
CREATE INDEX directories_name ON directories (name_key, id);

ALTER TABLE users
    ADD COLUMN directory_id       uuid, -- the connection whose entry the account is bound to
    ADD COLUMN directory_guid     text    NOT NULL DEFAULT '',
    ADD COLUMN directory_dn       text    NOT NULL DEFAULT '',
    ADD COLUMN directory_disabled boolean NOT NULL DEFAULT false,
    ADD COLUMN directory_reason   text    NOT NULL DEFAULT '',
    ADD COLUMN directory_missed   text    NOT NULL DEFAULT ''; -- near misses of the last sign-in, one a line
CREATE INDEX users_directory ON users (directory_id, id) WHERE directory_id IS NOT NULL;
CREATE INDEX users_directory_entry ON users (directory_guid) WHERE directory_guid <> '';

ALTER TABLE account_versions
    ADD COLUMN directory_disabled boolean NOT NULL DEFAULT false,
    ADD COLUMN directory_reason   text    NOT NULL DEFAULT '';

-- Directory groups are matched with names here in any case, to tell near misses.
CREATE INDEX groups_search ON groups (search);

-- +goose Down
DROP INDEX groups_search, users_directory_entry, users_directory;
ALTER TABLE users
    DROP COLUMN directory_id, DROP COLUMN directory_guid, DROP COLUMN directory_dn, DROP COLUMN directory_disabled,
    DROP COLUMN directory_reason, DROP COLUMN directory_missed;
ALTER TABLE account_versions DROP COLUMN directory_disabled, DROP COLUMN directory_reason;
DROP TABLE directories;
