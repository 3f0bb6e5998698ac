-- +goose Up

-- How far each process with effects outside has worked through the event log. It belongs to no read model: a rebuild
-- of those must not repeat the effects.
CREATE TABLE process_checkpoints (
    name       text PRIMARY KEY,
    position   bigint      NOT NULL, -- of the last event worked on
    updated_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE process_checkpoints;
