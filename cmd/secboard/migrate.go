package main

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Bring the Postgres schema up to date. serve does it too."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations and which of them the database has."`
}
