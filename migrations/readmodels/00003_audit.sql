-- Who could do what at any time.

-- +goose Up

-- How accounts and groups stood, in what counts for access: a row holds from an event on until the next event that
-- changed something. Several may begin at the same time; all but the last of these held for no time at all.
CREATE TABLE account_versions (
    user_id         uuid        NOT NULL,
    position        bigint      NOT NULL, -- of the event that began it
    from_at         timestamptz NOT NULL,
    to_at           timestamptz,          -- exclusive; null: it still holds
    event_id        uuid        NOT NULL,
    actor_kind      text        NOT NULL,
    actor_id        text,
    company_id      uuid,
    active          boolean     NOT NULL,
    inactive_reason text        NOT NULL,
    superuser       boolean     NOT NULL,
    start_date      date,
    end_date        date, -- inclusive
    PRIMARY KEY (user_id, position)
);
CREATE INDEX account_versions_company ON account_versions (company_id, user_id);
CREATE INDEX account_versions_superuser ON account_versions (user_id) WHERE superuser;

CREATE TABLE group_versions (
    group_id    uuid        NOT NULL,
    position    bigint      NOT NULL,
    from_at     timestamptz NOT NULL,
    to_at       timestamptz,
    event_id    uuid        NOT NULL,
    actor_kind  text        NOT NULL,
    actor_id    text,
    name        text        NOT NULL,
    company_id  uuid, -- null: global
    retired     boolean     NOT NULL,
    permissions jsonb       NOT NULL,
    PRIMARY KEY (group_id, position)
);
CREATE INDEX group_versions_permissions ON group_versions USING gin (permissions);

-- Members in the order of their ids, at any time.
DROP INDEX memberships_group;
CREATE INDEX memberships_members ON memberships (group_id, user_id);

-- +goose Down
DROP INDEX memberships_members;
CREATE INDEX memberships_group ON memberships (group_id, joined_at, left_at);
DROP TABLE account_versions, group_versions;
