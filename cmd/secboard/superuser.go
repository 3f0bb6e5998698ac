package main

import (
	"context"
	"strings"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/instance"
)

type superuserCmd struct {
	Create superuserCreateCmd `cmd:"" help:"Create a superuser, or make an existing account one."`
}

type superuserCreateCmd struct {
	Email          string `required:"" placeholder:"E" help:"E-mail address, which is also the user name."`
	PasswordStdin  bool   `help:"Read the password from standard input, one line, instead of asking for it."`
	ResetTwoFactor bool   `help:"Remove the account's second factor, when its device and backup codes are lost."`
	JSON           bool   `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (superuserCreateCmd) Help() string {
	return `The password has at least 12 characters. It is asked for twice and never taken from the command line, where
everybody on the machine could read it. An account that has the e-mail address already keeps its history; it is
activated, its first and last day are cleared where they keep it out, a lockout after wrong passwords ends, and it gets
the new password. Its second factor stays, unless --reset-two-factor is given.

Examples:

    secboard superuser create --email anna@example.com
    pass show secboard/anna | secboard superuser create --email anna@example.com --password-stdin`
}

// Run carries the command out.
func (c *superuserCreateCmd) Run(ctx context.Context, p *program) error {
	email := strings.TrimSpace(c.Email)
	if err := (user.Details{Email: email}).Validate(); err != nil {
		return usagef("--%w", err)
	}
	password, err := p.password(ctx, c.PasswordStdin)
	if err != nil {
		return err
	}
	return p.with(ctx, &c.storeSettings, instance.Parts{Log: true}, "superuser create",
		func(st *instance.Stores) error {
			h, err := st.Handler(ctx)
			if err != nil {
				return err
			}
			reason := ""
			if c.ResetTwoFactor {
				reason = "by the operator: secboard superuser create --reset-two-factor"
			}
			id, account, err := h.EnsureSuperuser(ctx, commands.OperatorNamed(operatorName()), email, password, reason)
			if err != nil {
				return err
			}
			if c.JSON {
				return p.printJSON(map[string]string{"id": id.String(), "email": email})
			}
			with := "the password"
			switch {
			case account.TwoFactor.Challenges():
				with = "the password and a code of its second factor"
			case account.TwoFactorRequired && !account.TwoFactor.Enrolled:
				with = "the password, to set up the second factor that is required"
			}
			return p.printf("%s is a superuser and can sign in with %s (account %s).\n", email, with, id)
		})
}
