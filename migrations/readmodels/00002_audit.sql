-- Who could do what at any time, and the log as auditors search it.

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

-- The history, searched over all subjects. It is built again with its new columns.
TRUNCATE history;
UPDATE checkpoints SET position = 0, events = 0, error = NULL, stopped_at = NULL WHERE name = 'history';
ALTER TABLE history
    ADD company_id        uuid, -- that the subject is, or belonged to after the event
    ADD former_company_id uuid; -- that the event took it out of
DROP INDEX history_at;
CREATE INDEX history_company ON history (company_id, position) WHERE company_id IS NOT NULL;
CREATE INDEX history_former_company ON history (former_company_id, position) WHERE former_company_id IS NOT NULL;
CREATE INDEX history_ip ON history (ip, position) WHERE ip IS NOT NULL;
CREATE INDEX history_correlation ON history (correlation_id, position);
CREATE INDEX history_causation ON history (causation_id, position) WHERE causation_id <> command_id;

-- Where in the log the events of an hour stand. Positions follow the times of events only roughly; with these bounds a
-- search in a time reads what is there and little else, however the log was written.
CREATE TABLE history_hours (
    hour           timestamptz PRIMARY KEY,
    first_position bigint NOT NULL,
    last_position  bigint NOT NULL
);

-- +goose Down
DROP TABLE history_hours;
DROP INDEX history_company, history_former_company, history_ip, history_correlation, history_causation;
CREATE INDEX history_at ON history (at);
ALTER TABLE history DROP company_id, DROP former_company_id;
DROP INDEX memberships_members;
CREATE INDEX memberships_group ON memberships (group_id, joined_at, left_at);
DROP TABLE account_versions, group_versions;
