-- What projections build from the event log. Nothing here is the truth: all of it can be built again.
-- No name carries a schema, so that the same file makes a second copy beside the live one.

-- +goose Up

-- How far each projection has applied the log. A page's rows and its checkpoint commit together.
CREATE TABLE checkpoints (
    name       text PRIMARY KEY,
    position   bigint      NOT NULL DEFAULT 0, -- of the last event applied; 0 before the first
    events     bigint      NOT NULL DEFAULT 0, -- how many events stand up to there, because positions have gaps
    error      text,                           -- why the projection is stopped at the next event; null while it isn't
    stopped_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- name_key and the like sort as people expect in every database: they are collation keys made by the program.
-- search is lower-case text that holds everything a list's query looks at.

CREATE TABLE users (
    id                  uuid PRIMARY KEY,
    email               text        NOT NULL,
    first_name          text        NOT NULL,
    last_name           text        NOT NULL,
    phone               text        NOT NULL,
    company_id          uuid,
    department          text        NOT NULL,
    position            text        NOT NULL,
    start_date          date,
    end_date            date, -- inclusive
    active              boolean     NOT NULL,
    inactive_reason     text        NOT NULL,
    superuser           boolean     NOT NULL,
    require_two_factor  boolean     NOT NULL,
    source              text        NOT NULL,
    has_password        boolean     NOT NULL,
    two_factor_enrolled boolean     NOT NULL,
    backup_codes_left   int         NOT NULL,
    language            text        NOT NULL, -- empty: that of the site
    has_photo           boolean     NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    revision            bigint      NOT NULL,
    name_key            bytea       NOT NULL,
    email_key           text        NOT NULL COLLATE "C",
    search              text        NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX users_name ON users (name_key, id);
CREATE INDEX users_email ON users (email_key, id);
CREATE INDEX users_created ON users (created_at, id);
CREATE INDEX users_company ON users (company_id);

CREATE TABLE user_photos (
    user_id    uuid PRIMARY KEY,
    jpeg       bytea       NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE sign_ins (
    user_id uuid PRIMARY KEY,
    last_at timestamptz NOT NULL
);

-- Roles and groups of an account over time: a row is a stay, open while its end is null.
CREATE TABLE user_roles (
    user_id        uuid        NOT NULL,
    role_id        uuid        NOT NULL,
    role_name      text        NOT NULL, -- when given
    given_at       timestamptz NOT NULL,
    given_by_kind  text        NOT NULL,
    given_by_id    text,
    given_event    uuid        NOT NULL,
    given_position bigint      NOT NULL,
    taken_at       timestamptz,
    taken_by_kind  text,
    taken_by_id    text,
    taken_event    uuid,
    PRIMARY KEY (user_id, role_id, given_position)
);
CREATE UNIQUE INDEX user_roles_open ON user_roles (role_id, user_id) WHERE taken_at IS NULL;

CREATE TABLE memberships (
    user_id         uuid        NOT NULL,
    group_id        uuid        NOT NULL,
    group_name      text        NOT NULL, -- when joined
    joined_at       timestamptz NOT NULL,
    joined_by_kind  text        NOT NULL,
    joined_by_id    text,
    joined_event    uuid        NOT NULL,
    joined_position bigint      NOT NULL,
    left_at         timestamptz,
    left_by_kind    text,
    left_by_id      text,
    left_event      uuid,
    PRIMARY KEY (user_id, group_id, joined_position)
);
CREATE UNIQUE INDEX memberships_open ON memberships (group_id, user_id) WHERE left_at IS NULL;
CREATE INDEX memberships_group ON memberships (group_id, joined_at, left_at);

CREATE TABLE companies (
    id                      uuid PRIMARY KEY,
    name                    text        NOT NULL,
    retired                 boolean     NOT NULL,
    default_mail_account_id uuid,
    has_cabinet_password    boolean     NOT NULL,
    created_at              timestamptz NOT NULL,
    updated_at              timestamptz NOT NULL,
    revision                bigint      NOT NULL,
    name_key                bytea       NOT NULL,
    search                  text        NOT NULL
);
CREATE INDEX companies_name ON companies (name_key, id);

CREATE TABLE roles (
    id          uuid PRIMARY KEY,
    name        text        NOT NULL,
    description text        NOT NULL,
    widgets     jsonb       NOT NULL,
    retired     boolean     NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    revision    bigint      NOT NULL,
    name_key    bytea       NOT NULL,
    search      text        NOT NULL
);
CREATE INDEX roles_name ON roles (name_key, id);

CREATE TABLE groups (
    id          uuid PRIMARY KEY,
    name        text        NOT NULL,
    description text        NOT NULL,
    company_id  uuid, -- null: global
    permissions jsonb       NOT NULL,
    retired     boolean     NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    revision    bigint      NOT NULL,
    name_key    bytea       NOT NULL,
    search      text        NOT NULL
);
CREATE INDEX groups_name ON groups (name_key, id);
CREATE INDEX groups_company ON groups (company_id);

CREATE TABLE modules (
    key        text PRIMARY KEY COLLATE "C",
    name       text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision   bigint      NOT NULL
);

-- Every event of every aggregate, readable and without secrets.
CREATE TABLE history (
    position       bigint PRIMARY KEY,
    event_id       uuid        NOT NULL,
    kind           text        NOT NULL COLLATE "C", -- of the aggregate: the first part of its stream's name
    subject_id     text        NOT NULL COLLATE "C", -- the second part
    revision       bigint      NOT NULL,
    type           text        NOT NULL COLLATE "C",
    at             timestamptz NOT NULL, -- when it was decided
    created        timestamptz NOT NULL, -- when the event store wrote it
    actor_kind     text        NOT NULL,
    actor_id       text COLLATE "C",
    session        text,
    ip             text,
    user_agent     text,
    command_id     uuid        NOT NULL,
    correlation_id uuid        NOT NULL,
    causation_id   uuid        NOT NULL,
    summary        text        NOT NULL,
    changes        jsonb       NOT NULL, -- [{field, from, to}]
    data           jsonb       NOT NULL,
    metadata       jsonb       NOT NULL
);
CREATE INDEX history_subject ON history (kind, subject_id, position);
CREATE INDEX history_actor ON history (actor_id, position) WHERE actor_id IS NOT NULL;
CREATE INDEX history_type ON history (type text_pattern_ops, position);
CREATE INDEX history_at ON history (at);

-- Searching for a part of a name needs pg_trgm to use an index. Where the server doesn't offer it, or this user may
-- not install it, the search reads the whole table: the same answers, slower with very many accounts.
-- +goose StatementBegin
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
    CREATE INDEX users_search ON users USING gin (search public.gin_trgm_ops);
EXCEPTION WHEN feature_not_supported OR undefined_file OR insufficient_privilege OR undefined_object THEN
    RAISE NOTICE 'pg_trgm is not available: searching accounts will read the whole table';
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE checkpoints, users, user_photos, sign_ins, user_roles, memberships, companies, roles, groups, modules, history;
