-- The log as auditors search it.

-- +goose Up
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
