-- +goose Up

-- Rebuilds of read models, the newest few: what they are asked to do and how far they are. It stands here and not with
-- the read models because those are exchanged at the end of a rebuild.
CREATE TABLE rebuilds (
    id           uuid PRIMARY KEY,
    names        text[]      NOT NULL, -- of projections
    mode         text        NOT NULL, -- rebuild, verify or rollback
    state        text        NOT NULL,
    done         bigint      NOT NULL DEFAULT 0, -- events
    total        bigint      NOT NULL DEFAULT 0, -- events, as far as known at the start
    events_per_s bigint      NOT NULL DEFAULT 0,
    eta_s        bigint, -- seconds to the end; null while unknown
    differences  jsonb       NOT NULL DEFAULT '[]',
    not_compared jsonb       NOT NULL DEFAULT '{}', -- reason by name of projection
    error        text,
    abort        boolean     NOT NULL DEFAULT false, -- somebody wants it to end
    started_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz
);

-- +goose Down
DROP TABLE rebuilds;
