-- +goose Up

CREATE TABLE mail_servers (
    id         uuid PRIMARY KEY,
    name       text        NOT NULL,
    host       text        NOT NULL,
    port       int         NOT NULL,
    security   text        NOT NULL, -- starttls, tls or none
    timeout_s  int         NOT NULL,
    retired    boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision   bigint      NOT NULL,
    name_key   bytea       NOT NULL,
    search     text        NOT NULL
);
CREATE INDEX mail_servers_name ON mail_servers (name_key, id);

CREATE TABLE mail_accounts (
    id           uuid PRIMARY KEY,
    server_id    uuid        NOT NULL,
    address      text        NOT NULL,
    display_name text        NOT NULL,
    username     text        NOT NULL,
    has_password boolean     NOT NULL,
    retired      boolean     NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    revision     bigint      NOT NULL,
    name_key     bytea       NOT NULL, -- of the address
    search       text        NOT NULL
);
CREATE INDEX mail_accounts_name ON mail_accounts (name_key, id);
CREATE INDEX mail_accounts_server ON mail_accounts (server_id);

-- Every mail that was asked for, and what became of it. What it said is not here.
CREATE TABLE mail_messages (
    id          uuid PRIMARY KEY,
    feature     text        NOT NULL,
    notice      text        NOT NULL, -- which security notice; empty for other features
    recipient   text        NOT NULL,
    subject     text        NOT NULL,
    user_id     uuid,
    company_id  uuid,
    account_id  uuid,                 -- the mail account of the last attempt
    state       text        NOT NULL, -- queued, sending, sent, failed or abandoned
    attempts    int         NOT NULL,
    doubts      int         NOT NULL, -- attempts of which nobody knows whether the mail arrived
    last_error  text        NOT NULL,
    happened_at timestamptz NOT NULL, -- what the mail tells about
    due_at      timestamptz,          -- of the next attempt, or when one under way counts as cut short; null when it is over
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    revision    bigint      NOT NULL,
    search      text        NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX mail_messages_due ON mail_messages (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX mail_messages_created ON mail_messages (created_at, id);
CREATE INDEX mail_messages_state ON mail_messages (state, created_at, id);

-- +goose Down
DROP TABLE mail_servers, mail_accounts, mail_messages;
