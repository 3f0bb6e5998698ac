package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/projections"
)

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
		d.problem("mail", err.Error(), "restore the keyset file from a backup")
		return
	}
	handler := checking(d.st, keys, projections.NewReadModels(d.st.Pool), d.targets)
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
	steps, err := mailing.Transport{Targets: d.targets}.Check(ctx, sender)
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
		d.problem("directories", err.Error(), "restore the keyset file from a backup")
		return
	}
	handler := checking(d.st, keys, readModels, d.targets)
	for _, id := range ids {
		shown, err := readModels.Directory(ctx, id)
		var test commands.DirectoryTest
		if err == nil {
			test, err = handler.TryDirectory(ctx, id)
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
			fmt.Sprintf("something listens on %s, but it isn't secboard: %v", address, err),
			"stop it, or choose another SECBOARD_LISTEN")
		return
	}
	// Whoever serves from an embedded store holds the data directory, which then was attached to or could not be taken.
	embedded, claimed := d.EventstoreURL == "" || d.DatabaseURL == "", d.st != nil || !exists(d.Data)
	if embedded && claimed && (d.st == nil || !d.st.Attached) {
		d.problem("listen address", fmt.Sprintf("another secboard, with other data, answers on %s", address),
			"choose another SECBOARD_LISTEN, or set SECBOARD_DATA to its data")
		return
	}
	d.ok("listen address", "secboard answers on %s", address)
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
