-- +goose Up

-- When the accounts of each directory were last compared with it, and how that ended. Instances share it.
CREATE TABLE directory_checks (
    directory_id uuid PRIMARY KEY,
    checked_at   timestamptz NOT NULL,
    error        text -- why the directory could not be asked; null when it could
);

-- +goose Down
DROP TABLE directory_checks;
