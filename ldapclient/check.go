package ldapclient

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
)

// steps collects what happens.
type steps []directory.Step

func (s *steps) run(step string, do func() (detail string, failure *Failure)) error {
	began := time.Now()
	detail, failure := do()
	if failure != nil {
		return s.add(failure, time.Since(began))
	}
	*s = append(*s, directory.Step{Step: step, OK: true, Detail: sentence(detail), Took: time.Since(began)})
	return nil
}

// failed records what failed before it was tried.
func (s *steps) failed(failure *Failure) error { return s.add(failure, 0) }

func (s *steps) add(failure *Failure, took time.Duration) error {
	detail := failure.Detail
	if failure.Server != "" {
		detail = "At " + failure.Server + ": " + detail
	}
	*s = append(*s, directory.Step{Step: failure.Step, Detail: sentence(detail), Took: took, Fix: failure.Fix})
	return failure
}

// sentence begins a text with a capital and ends it with a full stop.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	return domain.Sentences(text)
}

// Test does what SignIn does, step by step, for an administrator, and reaches each server for it. Without an e-mail
// address it looks only whether the filter finds anybody, and without a password it doesn't bind as the person. found
// is nil where there isn't exactly one entry. The error is that of ctx, where it has ended; what else is wrong is in
// the steps.
func (c Config) Test(ctx context.Context, email, password string) (steps []directory.Step, found *Entry, err error) {
	log, found := c.test(ctx, email, password)
	return log, found, ctx.Err()
}

func (c Config) test(ctx context.Context, email, password string) (log steps, found *Entry) {
	s := c.openAll(ctx, &log)
	if s == nil {
		return log, nil
	}
	defer s.close()
	ctx, cancel := c.limit(ctx)
	defer cancel()

	if email == "" {
		//nolint:errcheck // it is in the log
		_ = log.run(directory.StepSearch, func() (string, *Failure) { return s.anybody(ctx) })
		return log, nil
	}
	var raw *ldap.Entry
	if log.run(directory.StepSearch, func() (detail string, failure *Failure) {
		var err error
		if raw, err = s.find(ctx, email); err != nil {
			return "", s.asFailure(directory.StepSearch, err)
		}
		e := c.entry(raw, email, time.Now())
		if c.Groups {
			if e.Groups, err = s.groups(ctx, raw); err != nil {
				return "", s.asFailure(directory.StepSearch, err)
			}
		}
		found = &e
		return "found the entry " + raw.DN, nil
	}) != nil || password == "" {
		return log, found
	}
	_ = log.run(directory.StepUserBind, func() (string, *Failure) { //nolint:errcheck // it is in the log
		if err := s.bindAs(ctx, raw.DN, password); err != nil {
			return "", s.asFailure(directory.StepUserBind, err)
		}
		return "the directory accepts the password", nil
	})
	return log, found
}

// openAll tries every server, so that one is not found broken on the day when it is needed, and keeps the first
// session. It stops where the bind is refused: to try again would lock the account.
func (c Config) openAll(ctx context.Context, log *steps) (first *session) {
	if len(c.URLs) == 0 {
		_ = log.failed(noServer()) //nolint:errcheck // it is in the log
	}
	for _, url := range c.URLs {
		err := func() error {
			ctx, cancel := c.limit(ctx)
			defer cancel()
			s, err := c.open(ctx, url, log)
			switch {
			case err != nil:
				return err
			case first == nil:
				first = s
			default:
				s.close()
			}
			return nil
		}()
		var failure *Failure
		if errors.As(err, &failure) && failure.final || ctx.Err() != nil {
			break
		}
	}
	return first
}

// anybody checks whether the filter finds entries at all.
func (s *session) anybody(ctx context.Context) (string, *Failure) {
	request, failure := s.people("")
	if failure != nil {
		return "", failure
	}
	request.SizeLimit = 1
	result, err := s.search(ctx, request)
	switch {
	case err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return "", s.server.failure(directory.StepSearch, s.config.explainSearch(err))
	case len(result.Entries) == 0:
		return "", s.server.failure(directory.StepSearch,
			explained{detail: fmt.Sprintf("no entry under %s matches user_filter", s.config.BaseDN),
				fix: "Check base_dn and user_filter, and that the account of bind_dn may read the people there."})
	}
	return "the user_filter finds entries, for example " + result.Entries[0].DN, nil
}

func (s *session) asFailure(step string, err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	var refused *Refused
	if errors.As(err, &refused) {
		return &Failure{Step: step, Detail: refused.Error(), Fix: refused.advice(), cause: err, final: true}
	}
	return s.server.failure(step, explainBroken(err))
}
