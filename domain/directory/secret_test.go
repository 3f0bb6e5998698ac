package directory_test

import (
	"strings"
	"testing"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/scenario"
)

var secretAttributes = []string{
	"ms-Mcs-AdmPwd", "MS-MCS-ADMPWD", "ms-Mcs-AdmPwdHistory", "msLAPS-Password", "msLAPS-EncryptedPassword",
	"msLAPS-EncryptedDSRMPasswordHistory", "unicodePwd", "userPassword", "unixUserPassword", "dBCSPwd", "ntPwdHistory",
	"lmPwdHistory", "msDS-ManagedPassword", "msDS-ManagedPasswordId", "msFVE-RecoveryPassword", "msFVE-KeyPackage",
	"msTPM-OwnerInformation", "msDS-KeyCredentialLink", "supplementalCredentials", "msPKIAccountCredentials",
	"msPKIDPAPIMasterKeys", "msDS-ExecuteScriptPassword", "trustAuthIncoming", "initialAuthOutgoing", "currentValue",
	"krbPrincipalKey", "krbExtraData", "sambaNTPassword", "sambaLMPassword", "sambaPasswordHistory", "authPassword",
	"ipaNTHash", "ipatokenOTPkey", "userPKCS12", "olcRootPW", "pwdHistory",
}

var publicAttributes = []string{
	"mail", "userPrincipalName", "proxyAddresses", "telephoneNumber", "mobile", "extensionAttribute1", "pwdLastSet",
	"badPwdCount", "pwdAccountLockedTime", "msDS-UserPasswordExpiryTimeComputed", "userAccountControl", "memberOf",
	"employeeType", "physicalDeliveryOfficeName", "thumbnailPhoto", "objectClass", "sAMAccountName",
}

func TestSecretAttributesAreRefusedInEverySetting(t *testing.T) {
	t.Parallel()
	for _, name := range secretAttributes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mapped := settings()
			mapped.Attributes = directory.Attributes{
				Email: name, FirstName: name, LastName: name, Phone: name, Department: name, Position: name,
			}
			mapped.UserFilter = "(&(objectClass=user)(!(|(" + name + ";binary=a*)(cn=b))))"
			fields := []string{
				"user_filter", "attr_email", "attr_first_name", "attr_last_name", "attr_phone", "attr_department",
				"attr_position",
			}
			scenario.Given[directory.State]().
				When(func(s directory.State) ([]domain.Event, error) {
					return directory.Connect(s, superuser, mapped, nil)
				}).ThenInvalid(t, fields...)
			patch := directory.Patch{UserFilter: &mapped.UserFilter, Attributes: directory.AttributesPatch{
				Email: &name, FirstName: &name, LastName: &name, Phone: &name, Department: &name, Position: &name,
			}}
			scenario.Given[directory.State](connected(t, superuser, nil)).When(change(superuser, patch)).
				ThenInvalid(t, fields...)
		})
	}
	for _, name := range publicAttributes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if directory.SecretAttribute(name) {
				t.Errorf("%s is taken for a secret", name)
			}
		})
	}
}

// A filter that can ask for any attribute without naming it gets around the names.
func TestAFilterNamesWhatItAsksFor(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]string{
		"(objectClass=user)": "",
		"(&(objectCategory=person)(userAccountControl:1.2.840.113556.1.4.803:=512)(mail=*))": "",
		"(&(cn=*)(memberOf:1.2.840.113556.1.4.1941:=CN=A,DC=example)(!(employeeType=bot)))":  "",
		"(pwdLastSet>=1)":                                "",
		"(cn=userPassword)":                              "", // a value
		"(userPassword=*)":                               "userPassword",
		"(userPassword=a*)":                              "userPassword",
		"(userPassword>=a)":                              "userPassword",
		"(userPassword<=a)":                              "userPassword",
		"(userPassword~=a)":                              "userPassword",
		"(userPassword:caseExactMatch:=a)":               "userPassword",
		"(userPassword:dn:=a)":                           "userPassword",
		"(|(cn=x)(!(ms-Mcs-AdmPwd=a*)))":                 "ms-Mcs-AdmPwd",
		"(2.5.4.35=a*)":                                  "2.5.4.35",
		"(OID.2.5.4.35=a*)":                              "OID.2.5.4.35",
		"(:caseIgnoreMatch:=a)":                          "all attributes",
		"(:dn:2.5.13.2:=a)":                              "all attributes",
		"(user Password=a)":                              "user Password",
		"(&(objectClass=user)(1.2.840.113556.1.4.90=a))": "1.2.840.113556.1.4.90",
	} {
		t.Run(filter, func(t *testing.T) {
			t.Parallel()
			err := directory.CheckFilter(filter)
			switch {
			case want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("got %v, want a refusal that names %s", err, want)
			}
		})
	}
}
