package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

// directory checks who may read what stands in the data directory, and that this user may write.
func (d *doctor) directory() {
	path := d.Data
	if !exists(path) {
		d.ok("data directory", "%s does not exist yet: the first start creates it", path)
		return
	}
	if err := unix.Access(path, unix.W_OK|unix.X_OK); err != nil {
		d.problem("data directory", fmt.Sprintf("%s can't be written to: %v", path, err),
			"run secboard as the owner of the directory, or choose another in SECBOARD_DATA")
		return
	}
	for _, private := range []string{filepath.Join(path, "eventstore"), d.instance().KeysetFile()} {
		info, err := os.Stat(private)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.problem("data directory", err.Error(), "give this user access to it")
			return
		}
		if info.Mode().Perm()&0o077 != 0 {
			d.problem("data directory",
				fmt.Sprintf("others can read %s (mode %04o)", private, info.Mode().Perm()),
				"chmod go-rwx "+private)
			return
		}
	}
	d.ok("data directory", "%s is writable, and only this user can read its secrets", path)
}

// leastFree is the room below which a disk counts as nearly full.
const leastFree = 1 << 30

func (d *doctor) disk() {
	path, err := filepath.Abs(d.Data)
	for err == nil && !exists(path) {
		path = filepath.Dir(path)
	}
	var stat syscall.Statfs_t
	if err == nil {
		err = syscall.Statfs(path, &stat)
	}
	if err != nil {
		d.problem("disk space", err.Error(), "give this user access to the data directory")
		return
	}
	free := stat.Bavail * uint64(stat.Bsize)
	if free < leastFree {
		d.problem("disk space", "only "+humanize.IBytes(free)+" are free at "+path,
			"free some space, or move the data directory: without space every change is refused")
		return
	}
	d.ok("disk space", "%s are free at %s", humanize.IBytes(free), path)
}

// stores checks the event store and the database, and what belongs to them.
func (d *doctor) stores(ctx context.Context) (err error) {
	request := d.p.request(&d.storeSettings, instance.Parts{Log: true, Database: true}, "doctor")
	if !exists(d.Data) && (d.EventstoreURL == "" || d.DatabaseURL == "") {
		d.notThereYet(ctx)
		request.Parts = instance.Parts{Log: d.EventstoreURL != "", Database: d.DatabaseURL != ""}
		if request.Parts == (instance.Parts{}) {
			return nil
		}
		d.st = instance.External(request)
	} else if d.st, err = instance.Claim(ctx, request); err != nil {
		d.problem("data directory", err.Error(), "wait until the other process has started or ended, then try again")
		return nil
	}
	defer func() { err = errors.Join(err, d.st.Close()) }()
	logOK := request.Log && d.eventStore(ctx)
	databaseOK := request.Database && d.database(ctx)
	if logOK && databaseOK && d.projections(ctx) {
		d.checklist(ctx)
		d.mail(ctx)
		d.directories(ctx)
	}
	return nil
}

// notThereYet: nothing was ever started here, and a check should not make anything.
func (d *doctor) notThereYet(ctx context.Context) {
	if d.EventstoreURL == "" {
		d.ok("event store", "the first start creates the embedded one")
	}
	if d.DatabaseURL != "" {
		return
	}
	version, dir, err := instance.InstalledPostgres(ctx)
	if err != nil {
		d.problem("database", err.Error(), "install PostgreSQL, or let the first start download it")
		return
	}
	d.ok("database", "the first start creates one with PostgreSQL %s in %s", version, dir)
}

func (d *doctor) eventStore(ctx context.Context) bool {
	if err := d.st.OpenLog(ctx); err != nil {
		d.problem("event store", err.Error(), "start it, or correct SECBOARD_EVENTSTORE_URL")
		return false
	}
	switch {
	case d.EventstoreURL != "":
		d.ok("event store", "the one at SECBOARD_EVENTSTORE_URL answers")
	case d.st.Attached:
		d.ok("event store", "the embedded one of the running secboard (pid %d) answers", d.st.Dir.Holder().PID)
	default:
		d.ok("event store", "the embedded one can be opened")
	}
	d.keyset(ctx)
	return true
}

// keyset checks that the keys are those that the log was written with.
func (d *doctor) keyset(ctx context.Context) {
	events, err := d.st.Log.ReadStream(ctx, installation.Stream)
	if err != nil {
		d.problem("keyset", err.Error(), "check the event store")
		return
	}
	var state installation.State
	for _, event := range events {
		envelope := eventstore.Decode(event)
		if envelope.Err != nil {
			d.problem("keyset", envelope.Err.Error(), "use a secboard at least as new as the one that wrote the log")
			return
		}
		state.Evolve(envelope.Event)
	}
	keys, err := d.instance().LoadKeyset()
	switch {
	case errors.Is(err, fs.ErrNotExist) && state.Keyset == "":
		d.ok("keyset", "the first start creates %s", d.instance().KeysetFile())
	case err != nil:
		d.problem("keyset", err.Error(), "restore the file from a backup; without it no password of the log can be "+
			"checked")
	case state.Check(keys) != nil:
		d.problem("keyset", state.Check(keys).Error(),
			"set SECBOARD_KEYSET to the keyset file that belongs to this log")
	case state.Keyset == "":
		d.ok("keyset", "%s is readable; the log is empty", d.instance().KeysetFile())
	default:
		d.keys = keys.Fingerprint()
		d.ok("keyset", "%s is the one that the log was written with", d.instance().KeysetFile())
	}
}

func (d *doctor) database(ctx context.Context) bool {
	if err := d.st.OpenDatabase(ctx); err != nil {
		d.problem("database", err.Error(), "start it, or correct SECBOARD_DATABASE_URL")
		return false
	}
	pending, err := d.st.PendingMigrations(ctx)
	switch {
	case errors.Is(err, migrations.ErrNewerDatabase):
		d.problem("database", err.Error(), "install that version here too")
		return false
	case err != nil:
		d.problem("database", err.Error(), "check that the user of SECBOARD_DATABASE_URL owns the database")
		return false
	case pending > 0:
		d.problem("database", fmt.Sprintf("answers, but %d migrations are missing", pending),
			"secboard migrate up (secboard serve does it too)")
		return false
	}
	d.ok("database", "answers, and its schema is up to date")
	return true
}

// projections checks the read models, and says whether they are those of this log: what they show is of no use
// otherwise.
func (d *doctor) projections(ctx context.Context) bool {
	err := d.st.CheckLog(ctx)
	if other, ok := errors.AsType[*engine.ErrOtherLog](err); ok {
		d.problem("projections", fmt.Sprintf("the read models were built from another event log, or a longer one: "+
			"the event %s at position %d is not in this log", other.Event, other.Position),
			"set SECBOARD_EVENTSTORE_URL and SECBOARD_DATABASE_URL to stores that belong together; a restored "+
				"log needs an empty database")
		return false
	}
	var statuses []engine.Status
	if err == nil {
		statuses, err = engine.StatusOf(ctx, projections.Set(), d.st.Pool, d.st.Log)
	}
	if err != nil {
		d.problem("projections", err.Error(), "check the database and the event store")
		return true
	}
	behind, stopped := int64(0), false
	for _, s := range statuses {
		behind = max(behind, s.LagEvents)
		if s.Error != nil {
			stopped = true
			d.problem("projections", s.Name+" is stopped: "+*s.Error,
				"it resumes by itself once the cause is gone; an event of a newer version needs that version")
		}
	}
	switch {
	case stopped:
	case behind == 0:
		d.ok("projections", "all %d are up to date", len(statuses))
	case d.st.Attached:
		d.ok("projections", "catching up: %d events behind", behind)
	default:
		d.ok("projections", "%d events behind: they catch up while secboard serve runs", behind)
	}
	return true
}

// checklist is what is still to be set up. That is no problem: the exit status does not depend on it.
func (d *doctor) checklist(ctx context.Context) {
	options, err := d.parse()
	if err == nil {
		d.setup, err = projections.NewReadModels(d.st.Pool).Setup(ctx, projections.Deployment{
			Keyset: d.keys, TrustsProxies: len(options.trustedProxies) > 0, HostsAreListed: len(d.AllowedHosts) > 0,
			ProxiesSetting: settingProxies, HostsSetting: settingHosts,
		})
	}
	if err != nil {
		d.problem("set-up", err.Error(), "check the database")
	}
	broken := slices.IndexFunc(d.findings, func(f finding) bool { return f.Check == "keyset" && !f.OK })
	item := slices.IndexFunc(d.setup, func(item projections.SetupItem) bool { return item.Code == "keyset" })
	if broken >= 0 && item >= 0 { // there was one, so that no start makes another
		d.setup[item].Detail = d.findings[broken].Detail
	}
}
