-- +goose Up

-- A transaction that holds a lock on a read model and does nothing, as of somebody with psql, would keep old rights in
-- force; whoever is not the owner of the database may not say so, and the connections of SecBoard say it themselves.
-- +goose StatementBegin
DO $$
BEGIN
	EXECUTE format('ALTER DATABASE %I SET idle_in_transaction_session_timeout = %L', current_database(), '10s');
EXCEPTION WHEN insufficient_privilege THEN
	RAISE NOTICE 'not the owner of the database: idle transactions of others are not ended';
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
DO $$
BEGIN
	EXECUTE format('ALTER DATABASE %I RESET idle_in_transaction_session_timeout', current_database());
EXCEPTION WHEN insufficient_privilege THEN
	NULL;
END $$;
-- +goose StatementEnd
