package user

import (
	"strings"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
)

// State is what deciding about an account needs; its zero value is an account that does not exist.
type State struct {
	Exists            bool
	Details           Details
	Source            string
	Active            bool
	Superuser         bool
	TwoFactorRequired bool
	Password          domain.Sealed
	PasswordsSet      int  // how many there were; one that is hashed again is still the same
	PasswordDoubtful  bool // whoever set it may not be the person
	AddressDoubtful   bool // somebody who is no superuser changed it
	Mark              int  // how often links and challenges were made void: see voidsLinks
	TwoFactor         TwoFactor
	Language          string
	HasPhoto          bool
	Roles             map[uuid.UUID]string // id → name when given
	Groups            map[uuid.UUID]string // id → name when joined
	Directory         DirectoryLink
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Registered:
		s.Exists, s.Active, s.Source = true, true, e.Source
		s.Details = Details{
			e.Email, e.FirstName, e.LastName, e.Phone, e.CompanyID, e.Department, e.Position, e.StartDate, e.EndDate,
		}
		s.Roles, s.Groups = map[uuid.UUID]string{}, map[uuid.UUID]string{}
	case EmailChanged:
		s.Details.Email = e.Email.To
	case NameChanged:
		domain.Apply(&s.Details.FirstName, e.FirstName)
		domain.Apply(&s.Details.LastName, e.LastName)
	case PhoneChanged:
		s.Details.Phone = e.Phone.To
	case CompanyChanged:
		s.Details.CompanyID = e.CompanyID.To
	case DepartmentChanged:
		s.Details.Department = e.Department.To
	case PositionChanged:
		s.Details.Position = e.Position.To
	case AccessPeriodChanged:
		domain.Apply(&s.Details.StartDate, e.StartDate)
		domain.Apply(&s.Details.EndDate, e.EndDate)
	case Activated:
		s.Active = true
	case Deactivated:
		s.Active = false
	case SuperuserGranted:
		s.Superuser = true
	case SuperuserRevoked:
		s.Superuser = false
	case TwoFactorRequired:
		s.TwoFactorRequired = true
	case TwoFactorRequirementLifted:
		s.TwoFactorRequired = false
	case LanguageChanged:
		s.Language = e.Language.To
	case PhotoChanged:
		s.HasPhoto = true
	case PhotoRemoved:
		s.HasPhoto = false
	case RoleGiven:
		s.Roles[e.RoleID] = e.RoleName
	case RoleTaken:
		delete(s.Roles, e.RoleID)
	case GroupJoined:
		s.Groups[e.GroupID] = e.GroupName
	case GroupLeft:
		delete(s.Groups, e.GroupID)
	}
	s.evolveCredentials(event)
	s.evolveDirectory(event)
}

// BelongsTo is the account's company; uuid.Nil for none.
func (s State) BelongsTo() uuid.UUID { return s.Details.CompanyID }

// SubjectName is the person's name.
func (s State) SubjectName() string { return s.Details.Name() }

// Claim is the e-mail address that the account holds; none before it exists.
func (s State) Claim() claim.Key {
	if !s.Exists {
		return claim.Key{}
	}
	return EmailClaim(s.Details.Email)
}

// EmailClaim is the key under which an address is unique, whatever its case.
func EmailClaim(email string) claim.Key {
	return claim.Key{Kind: "email", Value: NormalizeEmail(email)}
}

// NormalizeEmail is the form in which addresses are compared. A letter with its accent is the same whether it is one
// character or two.
func NormalizeEmail(email string) string {
	return norm.NFC.String(strings.ToLower(strings.TrimSpace(email)))
}

// Name is the full name, or the e-mail address of an account without one.
func (d Details) Name() string {
	if name := strings.TrimSpace(d.FirstName + " " + d.LastName); name != "" {
		return name
	}
	return d.Email
}

// Details are an account's own data. CompanyID is uuid.Nil for none; StartDate and EndDate are the first and the last
// day of access.
type Details struct {
	Email      string
	FirstName  string
	LastName   string
	Phone      string
	CompanyID  uuid.UUID
	Department string
	Position   string
	StartDate  domain.Date
	EndDate    domain.Date
}

// Normalized trims the texts.
func (d Details) Normalized() Details {
	for _, text := range []*string{&d.Email, &d.FirstName, &d.LastName, &d.Phone, &d.Department, &d.Position} {
		*text = strings.TrimSpace(*text)
	}
	return d
}

// Validate reports every wrong field.
func (d Details) Validate() error {
	return Patch{
		Email: &d.Email, FirstName: &d.FirstName, LastName: &d.LastName, Phone: &d.Phone, Department: &d.Department,
		Position: &d.Position, StartDate: &d.StartDate, EndDate: &d.EndDate,
	}.Validate()
}
