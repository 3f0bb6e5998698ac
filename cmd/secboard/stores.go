package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/secboard/secboard/instance"
)

// request is what a short command asks of the stores: it attaches to those of a running serve.
func (p *program) request(s *storeSettings, want instance.Parts, command string) instance.Request {
	return instance.Request{
		Settings: s.instance(), Parts: want, Command: command, Attach: true, Patience: p.patience,
		StoreTime: p.storeTime,
		Logger:    p.logger(s.LogFormat, slog.LevelWarn),
	}
}

// with opens the wanted parts for one short command, runs it and closes them.
func (p *program) with(ctx context.Context, s *storeSettings, want instance.Parts, command string,
	work func(*instance.Stores) error) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	st, err := instance.Claim(ctx, p.request(s, want, command))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.Open(ctx); err != nil {
		return err
	}
	if want.Log && want.Database {
		if err := st.CheckLog(ctx); err != nil {
			return err
		}
	}
	return work(st)
}

// withReadModels runs work on stores whose read models are migrated.
func (p *program) withReadModels(ctx context.Context, s *storeSettings, command string,
	work func(*instance.Stores) error) error {
	return p.with(ctx, s, instance.Parts{Log: true, Database: true}, command, func(st *instance.Stores) error {
		pending, err := st.PendingMigrations(ctx)
		if err != nil {
			return err
		}
		if pending > 0 {
			return fmt.Errorf("%d migrations of the database are missing, so its read models can't be used yet: "+
				"`secboard serve` or `secboard migrate up` applies them", pending)
		}
		return work(st)
	})
}
