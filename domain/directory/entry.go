package directory

import (
	"time"
)

// Entry is a person as the directory has it.
type Entry struct {
	DN              string
	GUID            string // stays when the entry is renamed or moved
	Email           string
	FirstName       string
	LastName        string
	Phone           string
	Department      string
	Position        string
	Disabled        bool
	Locked          bool
	Expired         bool
	PasswordExpired bool
	MustChange      bool
	Groups          []string // common names
}

// The steps of asking a directory, in their order.
const (
	StepResolve  = "resolve"
	StepConnect  = "connect"
	StepTLS      = "tls"
	StepBind     = "bind"
	StepSearch   = "search"
	StepUserBind = "user_bind"
)

// Step is the result of one step of asking a directory, for an administrator.
type Step struct {
	Step   string // one of the Step constants
	OK     bool
	Detail string // a sentence
	Took   time.Duration
	Fix    string // what to do where it is not OK
}

// Why a directory refuses somebody. Whoever signs in never learns which.
const (
	WrongPassword   = "wrong_password"
	Unknown         = "unknown"
	Ambiguous       = "ambiguous"
	NoEmail         = "no_email"
	Disabled        = "disabled"
	AccountExpired  = "account_expired"
	PasswordExpired = "password_expired"
	MustChange      = "must_change"
	Locked          = "locked"
	Hours           = "hours"
	Workstation     = "workstation"
)

// Refused is a directory's answer to a sign-in, as opposed to none.
type Refused struct{ Reason string }

func (r *Refused) Error() string { return "the directory refuses: " + r.Reason }

// Refusal is why an entry can't sign in whatever its password, or "".
func (e Entry) Refusal() string {
	switch {
	case e.Disabled:
		return Disabled
	case e.Expired:
		return AccountExpired
	case e.Locked:
		return Locked
	case e.MustChange:
		return MustChange
	case e.PasswordExpired:
		return PasswordExpired
	}
	return ""
}

// Server is a connection as it is used: with its bind password opened, which must get into no log or error.
type Server struct {
	Settings
	BindPassword string
}

// String leaves the password out.
func (s Server) String() string { return s.Name }

// GoString leaves the password out.
func (s Server) GoString() string { return s.Name }
