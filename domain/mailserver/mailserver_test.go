package mailserver_test

import (
	"testing"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/scenario"
)

var details = mailserver.Details{
	Name: "Office", Host: "smtp.example.com", Port: 587, Security: mailserver.StartTLS, TimeoutS: 20,
}

func TestCreating(t *testing.T) {
	t.Parallel()
	create := func(d mailserver.Details) func(mailserver.State) ([]domain.Event, error) {
		return func(s mailserver.State) ([]domain.Event, error) { return mailserver.Create(s, d) }
	}
	scenario.Given[mailserver.State]().When(create(details)).Then(t, mailserver.Created(details))
	scenario.Given[mailserver.State](mailserver.Created(details)).When(create(details)).Then(t)
	unbounded := details
	unbounded.Host, unbounded.TimeoutS = " SMTP.example.com ", 0
	want := details
	want.TimeoutS = mailserver.DefaultTimeoutS
	scenario.Given[mailserver.State]().When(create(unbounded)).Then(t, mailserver.Created(want))
	scenario.Given[mailserver.State]().When(create(mailserver.Details{TimeoutS: -1})).ThenInvalid(t, "name", "host",
		"port", "security", "timeout_s")
	for host, right := range map[string]bool{
		"localhost": true, "mx-1.example.com": true, "192.0.2.1": true, "2001:db8::1": true, "mail_relay": true,
		"xn--e1afmkfd.example": true,
		"smtp.example.com:587": false, "https://smtp.example.com": false, "a b": false, "-a.example": false,
		"a..b": false, "user@host": false,
	} {
		t.Run(host, func(t *testing.T) {
			d := details
			d.Host = host
			if err := d.Normalized().Validate(); (err == nil) != right {
				t.Errorf("%s: %v", host, err)
			}
		})
	}
}

func TestChanging(t *testing.T) {
	t.Parallel()
	name, port, security, wrong := "Head office", 465, mailserver.TLS, 0
	change := func(patch mailserver.Patch) func(mailserver.State) ([]domain.Event, error) {
		return func(s mailserver.State) ([]domain.Event, error) { return mailserver.Change(s, patch) }
	}
	created := mailserver.Created(details)
	scenario.Given[mailserver.State](created).When(change(mailserver.Patch{Host: &details.Host})).Then(t)
	scenario.Given[mailserver.State](created).When(
		change(mailserver.Patch{Name: &name, Port: &port, Security: &security})).Then(t,
		mailserver.Renamed{Name: domain.Changed[string]{From: "Office", To: name}},
		mailserver.ConnectionChanged{
			Port:     domain.Changed[int]{From: 587, To: 465},
			Security: domain.Changed[string]{From: "starttls", To: "tls"},
		},
	)
	scenario.Given[mailserver.State](created).When(change(mailserver.Patch{Port: &wrong})).ThenInvalid(t, "port")
	scenario.Given[mailserver.State]().When(change(mailserver.Patch{})).ThenRefused(t, domain.CodeNotFound)
	retired := mailserver.Retired{}
	scenario.Given[mailserver.State](created, retired).When(change(mailserver.Patch{Name: &name})).ThenRefused(t,
		domain.CodeRetired)
	retire := func(s mailserver.State) ([]domain.Event, error) { return mailserver.Retire(s, "") }
	scenario.Given[mailserver.State](created).When(retire).Then(t, retired)
	scenario.Given[mailserver.State](created, retired).When(retire).Then(t)
}
