-- Short-lived operational state: what may be lost without losing a fact about an account. Facts are events.

-- +goose Up
CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    token_hash   bytea       NOT NULL UNIQUE, -- hash of the bearer token; the token itself is never stored
    user_id      uuid        NOT NULL,
    kind         text        NOT NULL DEFAULT 'full',
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    ip           text,
    user_agent   text
);
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- The first answer to a request with an Idempotency-Key header. While it is being made, status is null and
-- locked_until says when another request may take over.
CREATE TABLE idempotency_keys (
    actor_id     uuid,
    key          text,
    request_hash bytea       NOT NULL,
    command_id   uuid        NOT NULL,
    status       int,
    headers      jsonb,
    body         bytea,
    created_at   timestamptz NOT NULL,
    locked_until timestamptz,
    PRIMARY KEY (actor_id, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- Fixed windows: count requests since window_start.
CREATE TABLE rate_limits (
    key          text PRIMARY KEY,
    window_start timestamptz NOT NULL,
    count        int         NOT NULL
);
