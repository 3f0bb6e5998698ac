-- An index for each query that had none.

-- +goose Up

-- Accounts by what few of them are, in the order in which they are listed.
CREATE INDEX users_superuser ON users (name_key, id) WHERE superuser;
CREATE INDEX users_inactive ON users (name_key, id) WHERE NOT active;
CREATE INDEX users_directory_disabled ON users (name_key, id) WHERE directory_disabled;
CREATE INDEX users_source ON users (source, name_key, id);
CREATE INDEX users_two_factor ON users (two_factor_enrolled, name_key, id);
CREATE INDEX users_start ON users (start_date) WHERE start_date IS NOT NULL;
CREATE INDEX users_end ON users (end_date) WHERE end_date IS NOT NULL;

CREATE INDEX mail_messages_feature ON mail_messages (feature, created_at, id);
CREATE INDEX mail_messages_user ON mail_messages (user_id, created_at, id) WHERE user_id IS NOT NULL;
CREATE INDEX mail_messages_company ON mail_messages (company_id, created_at, id) WHERE company_id IS NOT NULL;

-- These tables are small, and a part of a name is looked for along the order of the list.
CREATE INDEX companies_created ON companies (created_at, id);
CREATE INDEX companies_in_use ON companies (name_key, id) WHERE NOT retired;
CREATE INDEX companies_mail_account ON companies (default_mail_account_id) WHERE default_mail_account_id IS NOT NULL;
CREATE INDEX roles_created ON roles (created_at, id);
CREATE INDEX groups_created ON groups (created_at, id);
CREATE INDEX groups_in_use ON groups (name_key, id) WHERE NOT retired;
CREATE INDEX directories_created ON directories (created_at, id);
CREATE INDEX mail_servers_created ON mail_servers (created_at, id);
CREATE INDEX mail_accounts_created ON mail_accounts (created_at, id);
CREATE INDEX mail_accounts_in_use ON mail_accounts (name_key, id) WHERE NOT retired;

-- As users_search.
-- +goose StatementBegin
DO $$
BEGIN
    CREATE INDEX mail_messages_search ON mail_messages USING gin (search public.gin_trgm_ops);
EXCEPTION WHEN undefined_object THEN
    RAISE NOTICE 'pg_trgm is not available: searching mails will read the whole table';
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX IF EXISTS mail_messages_search;
DROP INDEX users_superuser, users_inactive, users_directory_disabled, users_source, users_two_factor, users_start, users_end,
    mail_messages_feature, mail_messages_user, mail_messages_company,
    companies_created, companies_in_use, companies_mail_account, roles_created, groups_created, groups_in_use, directories_created,
    mail_servers_created, mail_accounts_created, mail_accounts_in_use;
