-- +goose Up

-- Changes that take a second person.
CREATE TABLE approvals (
    id           uuid PRIMARY KEY,
    operation    text        NOT NULL COLLATE "C",
    by_id        uuid        NOT NULL, -- the account that proposed it
    subject_id   uuid,                 -- of the account or group; null: a new one
    subject      text        NOT NULL,
    company_id   uuid,
    change       jsonb,
    reason       text        NOT NULL,
    expires_at   timestamptz NOT NULL,
    state        text        NOT NULL COLLATE "C",
    detail       text        NOT NULL, -- why it was refused, or failed
    decided_by   uuid,                 -- the account that confirmed or refused it
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    revision     bigint      NOT NULL
);
CREATE INDEX approvals_created ON approvals (created_at, id);
CREATE INDEX approvals_by ON approvals (by_id, created_at, id);
CREATE INDEX approvals_company ON approvals (company_id, created_at, id) WHERE company_id IS NOT NULL;
CREATE INDEX approvals_open ON approvals (expires_at) WHERE state = 'proposed';

-- +goose Down
DROP TABLE approvals;
