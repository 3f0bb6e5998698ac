package directory_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
)

func TestAPatchTellsOnlyWhatItNames(t *testing.T) {
	t.Parallel()
	no, number, filter, urls := "", 0, "(objectClass=", []string{"ldap://dc1.example.com"}
	for name, test := range map[string]struct {
		patch directory.Patch
		wrong []string
	}{
		"nothing":         {directory.Patch{}, nil},
		"one right field": {directory.Patch{URLs: &urls}, nil}, // start_tls may be true already
		"all of them": {directory.Patch{
			Name: &no, URLs: new([]string), CAPEM: new("x"), BaseDN: &no, BindDN: new("\x00"), UserFilter: &filter,
			TimeoutSeconds: &number,
			Attributes:     directory.AttributesPatch{Email: &no, Phone: new("a b")}, CheckMinutes: new(1),
			CheckLimit: &number,
		}, []string{
			"name", "urls", "ca_pem", "base_dn", "bind_dn", "user_filter", "attr_email", "attr_phone", "timeout_s",
			"check_minutes", "check_limit_percent",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wrong []string
			if invalid, ok := errors.AsType[*domain.Invalid](test.patch.Validate()); ok {
				for _, field := range invalid.Fields {
					wrong = append(wrong, field.Field)
				}
			}
			if diff := cmp.Diff(test.wrong, wrong); diff != "" {
				t.Errorf("wrong fields (-want +got):\n%s", diff)
			}
		})
	}
}
