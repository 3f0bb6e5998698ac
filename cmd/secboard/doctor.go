package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	httpSettings
	storeSettings
}

// Help is the end of the command's --help.
func (doctorCmd) Help() string {
	return `It asks a running secboard serve, or starts the embedded stores for the time of the check. The exit status
is 1 when something has to be done.

Examples:

    secboard doctor
    secboard doctor --json | jq '.checks[] | select(.ok | not)'`
}

// errProblemsFound is the outcome of a doctor who has said what it found.
var errProblemsFound = errors.New("problems were found")

// finding is what one check found. Fix says what to do where it is not OK.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// doctor collects findings.
type doctor struct {
	*doctorCmd
	p        *program
	st       *instance.Stores
	findings []finding
	setup    []projections.SetupItem
	keys     string // fingerprint of the keyset, if it is that of the log
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, OK: true, Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) problem(check, detail, fix string) {
	d.findings = append(d.findings, finding{Check: check, Detail: detail, Fix: fix})
}

// Run carries the command out.
func (c *doctorCmd) Run(ctx context.Context, p *program, app *kong.Kong) error {
	d := &doctor{doctorCmd: c, p: p}
	if d.configuration(app.Model) {
		d.directory()
		d.disk()
		if err := d.stores(ctx); err != nil {
			return err
		}
		d.port(ctx)
	}
	return d.report()
}

func (d *doctor) report() error {
	var failed error
	for _, f := range d.findings {
		if !f.OK {
			failed = errProblemsFound
		}
	}
	if d.JSON {
		return errors.Join(d.p.printJSON(map[string]any{"ok": failed == nil, "checks": d.findings, "setup": d.setup}),
			failed)
	}
	for _, f := range d.findings {
		mark, fix := "ok     ", ""
		if !f.OK {
			mark, fix = "PROBLEM", "\n                          -> "+printable(f.Fix)
		}
		if err := d.p.printf("%s  %-15s  %s%s\n", mark, f.Check, printable(f.Detail), fix); err != nil {
			return err
		}
	}
	for i, item := range d.setup {
		if i == 0 {
			if err := d.p.printf("\nSet-up of the installation, as GET /api/v1/setup shows it:\n"); err != nil {
				return err
			}
		}
		mark := "open    "
		switch {
		case item.Done:
			mark = "done    "
		case item.Optional:
			mark = "optional"
		}
		if err := d.p.printf("%s %-22s %s\n", mark, item.Code, printable(item.Detail)); err != nil {
			return err
		}
	}
	return failed
}

func (d *doctor) configuration(app *kong.Application) bool {
	_, err := d.parse()
	_, bootstrapErr := d.p.bootstrap()
	if err := errors.Join(d.check(), err, bootstrapErr); err != nil {
		d.problem("configuration", strings.ReplaceAll(err.Error(), "\n", "; "),
			"correct the settings; `secboard serve --help` lists all of them")
		return false
	}
	if unknown := d.p.unknownVariables(app); len(unknown) > 0 {
		d.ok("configuration", "valid; %s are not settings and have no effect", strings.Join(unknown, ", "))
		return true
	}
	d.ok("configuration", "valid")
	return true
}

// directory checks who may read what stands in the data directory, and that this user may write.
func (d *doctor) directory() {
	path := d.Data
	if !exists(path) {
		d.ok("data directory", "%s does not exist yet: the first start creates it", path)
		return
	}
	if err := unix.Access(path, unix.W_OK|unix.X_OK); err != nil {
		d.problem("data directory", fmt.Sprintf("%s can't be written to: %v", path, err),
			"run secboard as the owner of the directory, or name another in SECBOARD_DATA")
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
				fmt.Sprintf("%s may be read by others (mode %04o)", private, info.Mode().Perm()),
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
		d.problem("disk space", err.Error(), "make the data directory readable for this user")
		return
	}
	free := stat.Bavail * uint64(stat.Bsize)
	if free < leastFree {
		d.problem("disk space", humanize.IBytes(free)+" are free at "+path,
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
		d.problem("data directory", err.Error(), "wait until the other one has started or ended, then try again")
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
		d.problem("database", err.Error(), "install it, unless this user may download it at the first start")
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
		d.ok("event store", "the one of SECBOARD_EVENTSTORE_URL answers")
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
		d.problem("keyset", err.Error(), "put the file back from a backup; without it no password of the log can be "+
			"checked")
	case state.Check(keys) != nil:
		d.problem("keyset", state.Check(keys).Error(),
			"name the keyset file that belongs to this log in SECBOARD_KEYSET")
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
		d.problem("database", fmt.Sprintf("answers, but lacks %d migrations", pending),
			"secboard migrate up (secboard serve does it too)")
		return false
	}
	d.ok("database", "answers and is migrated")
	return true
}

// projections checks the read models, and says whether they are those of this log: what they show is of no use
// otherwise.
func (d *doctor) projections(ctx context.Context) bool {
	err := d.st.CheckLog(ctx)
	if other, ok := errors.AsType[*engine.ErrOtherLog](err); ok {
		d.problem("projections", fmt.Sprintf("the read models were built from another event log, or a longer one: "+
			"the event %s at position %d is not in this log", other.Event, other.Position),
			"name the stores that belong together in SECBOARD_EVENTSTORE_URL and SECBOARD_DATABASE_URL; a restored "+
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
				"it resumes by itself when the cause is gone; an event of a newer version needs that version")
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

// mailTime bounds the check of one mail account.
const mailTime = 30 * time.Second

// mail tries each mail account up to the login: no message is sent.
func (d *doctor) mail(ctx context.Context) {
	inUse := false
	accounts, err := projections.NewReadModels(d.st.Pool).MailAccounts(ctx,
		projections.MailAccountFilter{Retired: &inUse}, projections.PageRequest{Limit: projections.MaxLimit})
	if err != nil {
		d.problem("mail", err.Error(), "check the database")
		return
	}
	if len(accounts.Items) == 0 || d.keys == "" {
		return // the checklist says the one, the check of the keyset the other
	}
	keys, err := d.instance().LoadKeyset()
	if err != nil {
		d.problem("mail", err.Error(), "put the keyset's file back from a backup")
		return
	}
	handler := checking(d.st, keys, projections.NewReadModels(d.st.Pool))
	for _, account := range accounts.Items {
		d.mailAccount(ctx, handler, account)
	}
}

func (d *doctor) mailAccount(ctx context.Context, handler *commands.Handler, account projections.MailAccount) {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	sender, err := handler.MailSenderOf(ctx, account.ID)
	if err != nil {
		d.problem("mail", account.Address+": "+err.Error(), "choose another mail server for the account, or retire it")
		return
	}
	steps, err := mailing.Transport{}.Check(ctx, sender)
	if err != nil {
		fix := "try again"
		if len(steps) > 0 {
			fix = cmp.Or(steps[len(steps)-1].Fix, fix)
		}
		d.problem("mail", account.Address+": "+err.Error(), fix)
		return
	}
	d.ok("mail", "%s can send through %s, port %d", account.Address, sender.Server.Host, sender.Server.Port)
}

// directories tries each directory that is switched on: reaching its servers, TLS and the bind.
func (d *doctor) directories(ctx context.Context) {
	readModels := projections.NewReadModels(d.st.Pool)
	ids, err := readModels.EnabledDirectories(ctx)
	if err != nil {
		d.problem("directories", err.Error(), "check the database")
		return
	}
	if len(ids) == 0 || d.keys == "" {
		return // without the keyset, which is reported already, no bind password can be opened
	}
	keys, err := d.instance().LoadKeyset()
	if err != nil {
		d.problem("directories", err.Error(), "put the file back from a backup")
		return
	}
	handler := checking(d.st, keys, readModels)
	for _, id := range ids {
		shown, err := readModels.Directory(ctx, id)
		var test commands.DirectoryTest
		if err == nil {
			test, err = handler.TestDirectory(ctx, id, "", "")
		}
		if err != nil {
			d.problem("directories", fmt.Sprintf("%s: %v", id, err), "check the database and the event store")
			continue
		}
		broken := slices.DeleteFunc(test.Steps, func(step directory.Step) bool { return step.OK })
		for _, step := range broken {
			d.problem("directories", fmt.Sprintf("%s: %s: %s", shown.Name, step.Step, step.Detail), step.Fix)
		}
		if shown.CheckStopped != nil {
			d.problem("directories", shown.Name+": "+*shown.CheckStopped, "look at GET /api/v1/directories/"+
				id.String()+"/check, then correct the directory or confirm with POST")
		}
		if len(broken) == 0 {
			d.ok("directories", "%s answers, and its users can be searched", shown.Name)
		}
	}
}

// port checks that the API can listen, or answers already.
func (d *doctor) port(ctx context.Context) {
	address := d.Listen
	if d.st != nil && d.st.Attached {
		address = d.st.Dir.Holder().Address
	} else if listener, err := listen(ctx, "SECBOARD_LISTEN", d.Listen); err == nil {
		if err := listener.Close(); err != nil {
			d.problem("listen address", err.Error(), "try again")
			return
		}
		d.ok("listen address", "%s is free", d.Listen)
		return
	} else if !errors.Is(err, syscall.EADDRINUSE) {
		d.problem("listen address", err.Error(), "correct SECBOARD_LISTEN")
		return
	}
	if err := answers(ctx, address); err != nil {
		d.problem("listen address",
			fmt.Sprintf("something listens on %s, but it does not answer as secboard: %v", address, err),
			"stop it, or choose another SECBOARD_LISTEN")
		return
	}
	// Whoever serves from an embedded store holds the data directory, which then was attached to or could not be taken.
	embedded, claimed := d.EventstoreURL == "" || d.DatabaseURL == "", d.st != nil || !exists(d.Data)
	if embedded && claimed && (d.st == nil || !d.st.Attached) {
		d.problem("listen address", fmt.Sprintf("a secboard with other data answers on %s", address),
			"choose another SECBOARD_LISTEN, or name its data in SECBOARD_DATA")
		return
	}
	d.ok("listen address", "secboard answers on %s", address)
}

// exists says whether there is something at a path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz",
		nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET /healthz answered %s", answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}
