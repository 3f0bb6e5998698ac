package kinds_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/kinds"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
)

// An aggregate whose events nobody entered could be written by no command, and read by nobody.
func TestEveryAggregateIsEntered(t *testing.T) {
	t.Parallel()
	entered := map[string]bool{}
	for _, kind := range kinds.All {
		for _, event := range kind.Events {
			entered[path.Base(reflect.TypeOf(event).PkgPath())] = true
		}
	}
	packages, err := filepath.Glob("../*/*.go")
	if err != nil || len(packages) == 0 {
		t.Fatal("no packages of aggregates found", err)
	}
	for _, file := range packages {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if folder := filepath.Base(filepath.Dir(file)); declaresEvents(parsed) && !entered[folder] {
			t.Errorf("domain/%s has Events, but no entry in kinds.All", folder)
		}
	}
}

func declaresEvents(file *ast.File) bool {
	for _, declaration := range file.Decls {
		variables, ok := declaration.(*ast.GenDecl)
		if !ok || variables.Tok != token.VAR {
			continue
		}
		for _, spec := range variables.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				if name.Name == "Events" {
					return true
				}
			}
		}
	}
	return false
}

func TestEveryEntryIsComplete(t *testing.T) {
	t.Parallel()
	met := map[string]bool{}
	for _, kind := range kinds.All {
		t.Run(kind.Name, func(t *testing.T) {
			if kind.Name == "" || met[kind.Name] {
				t.Fatal("it has no name, or that of another")
			}
			met[kind.Name] = true
			if len(kind.Events) == 0 {
				t.Error("it has no events")
			}
			for _, event := range kind.Events {
				if before, _, _ := strings.Cut(event.EventType(), "."); before != kind.Name {
					t.Errorf("the type of %T begins with %q", event, before)
				}
			}
			ways := 0
			for _, is := range []bool{kind.New != nil, kind.Names != nil, kind.About != "", kind.Nameless != ""} {
				if is {
					ways++
				}
			}
			if ways != 1 {
				t.Errorf("its subjects are named in %d ways, or none says why they have no name", ways)
			}
			if about, known := kinds.Of(kind.About); kind.About != "" && (!known || about.About != "") {
				t.Errorf("it is about %q", kind.About)
			}
		})
	}
}

func TestWhatPeopleCallIt(t *testing.T) {
	t.Parallel()
	renamed := domain.Changed[string]{From: "Old", To: "New"}
	stories := map[string][]domain.Event{
		approval.Kind:    {approval.Proposed{Operation: "change-user", Subject: "New"}},
		company.Kind:     {company.Created{Name: "Old"}, company.Renamed{Name: renamed}},
		contact.Kind:     {contact.Received{Name: "Anna", Subject: "New"}},
		directory.Kind:   {directory.Connected{Name: "Old"}, directory.Renamed{Name: renamed}},
		group.Kind:       {group.Created{Name: "Old"}, group.Renamed{Name: renamed}},
		mailaccount.Kind: {mailaccount.Created{Address: "Old"}, mailaccount.SenderChanged{Address: renamed}},
		mailmessage.Kind: {mailmessage.Queued{To: "a@example.com", Subject: "New"}},
		mailserver.Kind:  {mailserver.Created{Name: "Old"}, mailserver.Renamed{Name: renamed}},
		module.Kind:      {module.Registered{Key: "risks", Name: "Old"}, module.Renamed{Name: renamed}},
		role.Kind:        {role.Created{Name: "Old"}, role.Renamed{Name: renamed}},
		user.Kind: {
			user.Registered{Email: "a@example.com", LastName: "Old"}, user.NameChanged{LastName: renamed},
		},
	}
	for _, kind := range kinds.All {
		if kind.New == nil {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			subject := kind.New()
			if name := subject.SubjectName(); name != "" {
				t.Errorf("before its first event it is called %q", name)
			}
			for _, event := range stories[kind.Name] {
				subject.Evolve(event)
			}
			if name := subject.SubjectName(); name != "New" {
				t.Errorf("it is called %q", name)
			}
		})
	}
}

func TestEventsBesideAreAboutTheSame(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string][2]string{
		"signin-1": {user.Kind, "1"}, "user-1": {user.Kind, "1"}, "group-a-b": {group.Kind, "a-b"},
		"directorytest-1": {directory.Kind, "1"}, "mailtest-1": {mailaccount.Kind, "1"},
		"email-x": {"email", "x"},
	} {
		t.Run(stream, func(t *testing.T) {
			if kind, id := kinds.Subject(stream); kind != want[0] || id != want[1] {
				t.Errorf("it is about %s %s", kind, id)
			}
		})
	}
}
