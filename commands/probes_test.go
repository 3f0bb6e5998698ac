package commands_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/eventstore"
)

// Nothing is connected to for somebody who may not ask for it by the log, or before it stands in the log who asked.
func TestWhoHasADirectoryAskedIsRecorded(t *testing.T) {
	t.Parallel()
	url := []string{"ldaps://hq.example"}
	test := func(t *testing.T, s *directoryStory, by commands.Caller) error {
		_, err := s.TestDirectory(t.Context(), by, s.ids["hq"], olenasEmail, "a guessed password")
		return err
	}
	check := func(t *testing.T, s *directoryStory, by commands.Caller) error {
		_, err := s.CheckDirectory(t.Context(), by, s.ids["hq"], commands.CheckShow)
		return err
	}
	apply := func(t *testing.T, s *directoryStory, by commands.Caller) error {
		_, err := s.CheckDirectory(t.Context(), by, s.ids["hq"], commands.CheckUnconfirmed)
		return err
	}
	view, edit := domain.Permissions{"directory": {View: true}}, domain.Permissions{"directory": {Edit: true}}
	tested := probe.DirectoryTested{URLs: url, Email: olenasEmail, Password: true}
	checked := probe.DirectoryChecked{URLs: url}
	for name, c := range map[string]struct {
		do    func(*testing.T, *directoryStory, commands.Caller) error
		may   domain.Permissions
		own   bool // only for the company that the directory does not serve
		code  domain.Code
		event domain.Event
	}{
		"test":                        {do: test, may: edit, event: tested},
		"test with view alone":        {do: test, may: view, code: domain.CodeForbidden},
		"test with nothing":           {do: test, may: domain.Permissions{"users": all}, code: domain.CodeForbidden},
		"test of another company's":   {do: test, may: edit, own: true, code: domain.CodeNotFound},
		"check":                       {do: check, may: view, event: checked},
		"check with nothing":          {do: check, may: domain.Permissions{"users": all}, code: domain.CodeForbidden},
		"check of another company's":  {do: check, may: view, own: true, code: domain.CodeNotFound},
		"changing check":              {do: apply, may: edit, event: checked},
		"changing check with view":    {do: apply, may: view, code: domain.CodeForbidden},
		"changing check of another's": {do: apply, may: edit, own: true, code: domain.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDirectoryStory(t)
			acme := must(t)(s.CreateCompany(t.Context(), admin(), company.Details{Name: "Acme"}))
			nova := must(t)(s.CreateCompany(t.Context(), admin(), company.Details{Name: "Nova"}))
			server := s.connect(t, "hq", admin(), func(c *commands.ConnectDirectory) { c.CompanyID = acme })
			r := &rights{Handler: s.Handler, log: s.log}
			of := uuid.Nil
			if c.own {
				of = nova
			}
			by := r.with(t, of, c.may)
			before := server.tried

			err := c.do(t, s, by)
			wants(t, name, err, c.code)
			recorded, err := s.log.ReadStream(t.Context(), domain.StreamName(probe.DirectoryKind, s.ids["hq"]))
			if err != nil {
				t.Fatal(err)
			}
			if c.code != "" {
				if len(recorded) > 0 || server.tried > before {
					t.Errorf("%d events, %d connections", len(recorded), server.tried-before)
				}
				return
			}
			if len(recorded) != 1 || server.tried == before {
				t.Fatalf("%d events, %d connections", len(recorded), server.tried-before)
			}
			envelope := eventstore.Decode(recorded[0])
			if diff := cmp.Diff(c.event, envelope.Event); diff != "" || envelope.Meta.Actor != by.Actor {
				t.Errorf("by %v (-want +got):\n%s", envelope.Meta.Actor, diff)
			}
			if text := string(recorded[0].Data); strings.Contains(text, "guessed") || strings.Contains(text, "bind") {
				t.Errorf("it holds a password: %s", text)
			}
		})
	}
}

// The background's own checks and the operator's look leave no trace: nobody chose the moment or sees the answer.
func TestOnlyPeoplesChecksAreRecorded(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	s.connect(t, "hq", admin(), nil)
	if _, err := s.CheckDirectory(t.Context(), commands.System(), s.ids["hq"], commands.CheckUnconfirmed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TryDirectory(t.Context(), s.ids["hq"]); err != nil {
		t.Fatal(err)
	}
	recorded, err := s.log.ReadStream(t.Context(), domain.StreamName(probe.DirectoryKind, s.ids["hq"]))
	if err != nil || len(recorded) > 0 {
		t.Errorf("%d events, %v", len(recorded), err)
	}
}

// Tests move no revision of what is tested: who tests before saving is told of no change by others.
func TestATestLeavesTheSettingsRevisionAlone(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	s.connect(t, "hq", admin(), nil)
	for range 3 {
		if _, err := s.TestDirectory(t.Context(), admin(), s.ids["hq"], "", ""); err != nil {
			t.Fatal(err)
		}
	}
	by, revision, name := admin(), eventstore.Revision(0), "HQ"
	by.IfMatch = &revision
	change := commands.ChangeDirectory{}
	change.Name = &name
	if _, err := s.ChangeDirectory(t.Context(), by, s.ids["hq"], change); err != nil {
		t.Error(err)
	}
}

func TestWhoSendsATestMailIsRecorded(t *testing.T) {
	t.Parallel()
	r := newRights(t)
	mail, viewing := domain.Permissions{"mail": {Edit: true}}, domain.Permissions{"mail": {View: true}}
	sender := commands.MailSender{ID: uuid.New(), Server: mailserver.Details{Host: "mx.example", Port: 25}}
	for name, c := range map[string]struct {
		by   commands.Caller
		code domain.Code
	}{
		"with mail.edit":           {r.with(t, uuid.Nil, mail), ""},
		"for one company only":     {r.with(t, r.acme, mail), domain.CodeNotFound},
		"with another permission":  {r.with(t, uuid.Nil, viewing), domain.CodeForbidden},
		"with nothing whatsoever":  {r.with(t, uuid.Nil, nil), domain.CodeForbidden},
		"with mail.edit once more": {r.with(t, uuid.Nil, mail), ""},
	} {
		wants(t, name, r.RecordMailTest(t.Context(), c.by, sender, "anna@example.com"), c.code)
	}
	recorded, err := r.log.ReadStream(t.Context(), domain.StreamName(probe.MailKind, sender.ID))
	if err != nil || len(recorded) != 2 {
		t.Fatalf("%d events, %v", len(recorded), err)
	}
	want := probe.MailSent{Host: "mx.example", Port: 25, To: "anna@example.com"}
	if got := eventstore.Decode(recorded[1]).Event; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
