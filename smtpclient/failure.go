package smtpclient

// Failure is why a message was not delivered, or may not have been.
type Failure struct {
	Step   string // the step that failed
	Detail string // what happened
	Fix    string // how to fix it
	// Code is the server's answer, such as 550, or 0 without one.
	Code int
	// Permanent says that no repetition can deliver this message: the server refused the recipient or the message
	// permanently (5xx). What an administrator can correct is not permanent, and neither is a full mailbox:
	// certificates, logins, a refused sender, denied relaying, and everything up to the login.
	Permanent bool
	// InDoubt says that the connection broke after the whole message was sent and before the server's answer: it may
	// have been delivered, and a repetition may deliver it twice.
	InDoubt bool
	// Err is the cause, without the password and the message's content.
	Err error
}

func (f *Failure) Error() string { return f.Detail }

func (f *Failure) Unwrap() error { return f.Err }
