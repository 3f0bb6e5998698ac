package console

import (
	"strings"
	"time"
)

// account is somebody's, as the API shows it; what is null there is empty here.
type account struct {
	ID               string    `json:"id"`
	Email            string    `json:"email"`
	FirstName        string    `json:"first_name"`
	LastName         string    `json:"last_name"`
	Phone            string    `json:"phone"`
	CompanyID        string    `json:"company_id"`
	Company          named     `json:"company"`
	Department       string    `json:"department"`
	Position         string    `json:"position"`
	Active           bool      `json:"active"`
	StartDate        string    `json:"start_date"`
	EndDate          string    `json:"end_date"`
	Superuser        bool      `json:"superuser"`
	RequireTwoFactor bool      `json:"require_two_factor"`
	RoleIDs          []string  `json:"role_ids"`
	GroupIDs         []string  `json:"group_ids"`
	Roles            []named   `json:"roles"`
	Groups           []named   `json:"groups"`
	State            string    `json:"state"`
	StateReason      string    `json:"state_reason"`
	Source           string    `json:"source"`
	DirectoryDN      string    `json:"directory_dn"`
	HasPassword      bool      `json:"has_password"`
	TwoFactor        twoFactor `json:"two_factor"`
	LastSignInAt     time.Time `json:"last_sign_in_at"`
	Language         string    `json:"language"`
	HasPhoto         bool      `json:"has_photo"`
	CreatedAt        time.Time `json:"created_at"`
	UpdatedAt        time.Time `json:"updated_at"`
	Revision         int       `json:"revision"`
}

type twoFactor struct {
	Required        bool `json:"required"`
	Enrolled        bool `json:"enrolled"`
	BackupCodesLeft int  `json:"backup_codes_left"`
}

// named is what an account refers to.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Name is the person's; of whom has none, the e-mail address.
func (a account) Name() string {
	if name := strings.TrimSpace(a.FirstName + " " + a.LastName); name != "" {
		return name
	}
	return a.Email
}

// mustSetUp says whether the person can do nothing before two-factor is set up.
func (a account) mustSetUp() bool { return a.RequireTwoFactor && !a.TwoFactor.Enrolled }
