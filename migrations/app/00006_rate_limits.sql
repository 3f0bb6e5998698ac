-- +goose Up

-- Windows that are over are removed every minute.
CREATE INDEX rate_limits_window_start ON rate_limits (window_start);

-- +goose Down
DROP INDEX rate_limits_window_start;
