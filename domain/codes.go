package domain

// Code names a refusal, or what is wrong with a field. It is stable and part of the HTTP contract: clients decide by
// it.
type Code string

// All codes; Codes says what each means.
const (
	// The request itself.
	CodeMalformed            Code = "malformed"
	CodeHTTPSUnknown         Code = "https_unknown"
	CodeNotFound             Code = "not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeHistoryIsKept        Code = "history_is_kept"
	CodeTimeout              Code = "timeout"
	CodeTooLarge             Code = "too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeUnknownHost          Code = "unknown_host"
	CodeInvalid              Code = "invalid"
	CodeUnknownField         Code = "unknown_field"
	CodeUnknownParameter     Code = "unknown_parameter"
	CodeIdempotencyKeyReused Code = "idempotency_key_reused"
	CodeInProgress           Code = "in_progress"
	CodeRevisionMismatch     Code = "revision_mismatch"
	CodeRateLimited          Code = "rate_limited"
	CodeInternal             Code = "internal"
	CodeUnavailable          Code = "unavailable"
	CodeBehind               Code = "behind"

	// Who asks, and what is allowed.
	CodeInvalidCredentials     Code = "invalid_credentials"
	CodeUnauthenticated        Code = "unauthenticated"
	CodeForbidden              Code = "forbidden"
	CodeCSRFFailed             Code = "csrf_failed"
	CodeTwoFactorSetupRequired Code = "two_factor_setup_required"
	CodeReadOnlyField          Code = "read_only_field"
	CodeOwnAccount             Code = "own_account"
	CodeOwnProposal            Code = "own_proposal"
	CodeDecided                Code = "decided"

	// Accounts and access.
	CodeEmailTaken           Code = "email_taken"
	CodeNameTaken            Code = "name_taken"
	CodeRetired              Code = "retired"
	CodeInUse                Code = "in_use"
	CodeGroupCompanyFixed    Code = "group_company_fixed"
	CodeGroupOfOtherCompany  Code = "group_of_other_company"
	CodeInvalidLink          Code = "invalid_link"
	CodeTwoFactorEnrolled    Code = "two_factor_enrolled"
	CodeTwoFactorNotPrepared Code = "two_factor_not_prepared"
	CodeTwoFactorNotEnrolled Code = "two_factor_not_enrolled"
	CodeTwoFactorRequired    Code = "two_factor_required"

	// Directories.
	CodeDirectoryAccount      Code = "directory_account"
	CodeLocalAccount          Code = "local_account"
	CodeOtherDirectoryEntry   Code = "other_directory_entry"
	CodeEntryOfAnotherAccount Code = "entry_of_another_account"
	CodeDirectoryNotVouched   Code = "directory_not_vouched"

	// Mail.
	CodeAlreadySent      Code = "already_sent"
	CodeBeingSent        Code = "being_sent"
	CodeLinkExpired      Code = "link_expired"
	CodeNoMailAccount    Code = "no_mail_account"
	CodeNotBySuperuser   Code = "not_by_superuser"
	CodePasswordWithheld Code = "password_withheld"

	// Operations.
	CodeRebuildRunning Code = "rebuild_running"
	CodeWrongKeyset    Code = "wrong_keyset"

	// Wrong fields.
	CodeRequired           Code = "required"
	CodeType               Code = "type"
	CodeTooShort           Code = "too_short"
	CodeTooLong            Code = "too_long"
	CodeTooMany            Code = "too_many"
	CodeMinimum            Code = "minimum"
	CodeMaximum            Code = "maximum"
	CodeRange              Code = "range"
	CodeEnum               Code = "enum"
	CodePattern            Code = "pattern"
	CodeControlCharacter   Code = "control_character"
	CodeNotUTF8            Code = "not_utf8"
	CodeConflict           Code = "conflict"
	CodeDuplicate          Code = "duplicate"
	CodeReserved           Code = "reserved"
	CodeNotTrue            Code = "not_true"
	CodeUUID               Code = "uuid"
	CodeDate               Code = "date"
	CodeBeforeStartDate    Code = "before_start_date"
	CodeEmail              Code = "email"
	CodeURL                Code = "url"
	CodeIP                 Code = "ip"
	CodeHost               Code = "host"
	CodeDomain             Code = "domain"
	CodeProtocol           Code = "protocol"
	CodeTimeZone           Code = "time_zone"
	CodeUnknownLanguage    Code = "unknown_language"
	CodeName               Code = "name"
	CodeCursor             Code = "cursor"
	CodeSort               Code = "sort"
	CodeUnknownCompany     Code = "unknown_company"
	CodeRetiredCompany     Code = "retired_company"
	CodeUnknownRole        Code = "unknown_role"
	CodeUnknownGroup       Code = "unknown_group"
	CodeUnknownModule      Code = "unknown_module"
	CodeUnknownMailServer  Code = "unknown_mail_server"
	CodeUnknownMailAccount Code = "unknown_mail_account"
	CodeWeakPassword       Code = "weak_password"
	CodeWrongPassword      Code = "wrong_password"
	CodePassword           Code = "password"
	CodeWrongCode          Code = "wrong_code"
	CodeLockedOut          Code = "locked_out"
	CodeFilter             Code = "filter"
	CodeAttribute          Code = "attribute"
	CodeSecretAttribute    Code = "secret_attribute"
	CodeDN                 Code = "dn"
	CodeScheme             Code = "scheme"
	CodeMixed              Code = "mixed"
	CodeNeedsTLS           Code = "needs_tls"
	CodePEM                Code = "pem"
	CodeFormat             Code = "format"
	CodeDamaged            Code = "damaged"
	CodeTooSmall           Code = "too_small"
	CodeTooManyPixels      Code = "too_many_pixels"

	// Import of accounts.
	CodeCSV             Code = "csv"
	CodeEmpty           Code = "empty"
	CodeNoEmailColumn   Code = "no_email_column"
	CodeUnknownColumn   Code = "unknown_column"
	CodeDuplicateColumn Code = "duplicate_column"
	CodeTooManyLines    Code = "too_many_lines"
	CodeCells           Code = "cells"
	CodeDuplicateLine   Code = "duplicate_line"
	CodeOneID           Code = "one_id"
	CodeBool            Code = "bool"
)

// CodeEntry says what a code means. Status is the HTTP status of the problem that has it, 0 for none. Field says that
// it may also be the code of one field, in the errors of a problem. OpenAPI and docs/codes.md are generated from these.
type CodeEntry struct {
	Code    Code
	Status  int
	Field   bool
	Meaning string
	Fix     string
}

// CodeSection is a section of docs/codes.md.
type CodeSection struct {
	Title   string
	Entries []CodeEntry
}

// Codes are all codes, in the order of the documentation.
var Codes = []CodeSection{
	{"The request itself", []CodeEntry{
		{CodeMalformed, 400, false,
			"The request can't be read: its JSON, its query or its form is broken, or its body ended early",
			"Correct the request; `detail` says where it is broken"},
		{CodeHTTPSUnknown, 400, false, "The request says that it came over https, but from a proxy that isn't trusted",
			"Ask the operator to add the proxy to the trusted ones"},
		{CodeNotFound, 404, false, "There is no such path or resource, or there was none at that time",
			"Check the address and the id; `/docs` lists all paths"},
		{CodeMethodNotAllowed, 405, false, "The path exists, but not with this method",
			"Use a method that the header `Allow` lists"},
		{CodeHistoryIsKept, 405, false, "Nothing can be deleted, because its history is kept",
			"Use what `detail` names instead: deactivate, retire or switch off"},
		{CodeTimeout, 408, false, "The body did not arrive in time",
			"Send it again over a faster connection, or send less"},
		{CodeTooLarge, 413, true, "The body, or the picture, is too large",
			"Send less; `detail` says how much is allowed"},
		{CodeUnsupportedMediaType, 415, false, "The call does not accept a body of this media type",
			"Send the type that `detail` names, and say so in `Content-Type`"},
		{CodeUnknownHost, 421, false, "SecBoard does not answer under this host name",
			"Use an allowed host name, or ask the operator to allow this one"},
		{CodeInvalid, 422, true, "Fields, parameters or headers are wrong",
			"Correct what `errors` lists, each with a code of its own"},
		{CodeUnknownField, 422, true, "The body has an unknown field",
			"Remove the field, or correct its name"},
		{CodeUnknownParameter, 422, true, "The query has an unknown parameter",
			"Remove the parameter, or correct its name"},
		{CodeIdempotencyKeyReused, 422, false, "The `Idempotency-Key` was used with another request",
			"Use a new key for each request that is not a retry"},
		{CodeInProgress, 409, false, "The first request with this `Idempotency-Key` is still being answered",
			"Wait for the seconds that `Retry-After` gives, then repeat the request"},
		{CodeRevisionMismatch, 412, false,
			"The resource has changed since it was read: its `ETag` is not that of `If-Match`",
			"Read it again, decide again, and send the new `ETag`"},
		{CodeRateLimited, 429, false, "There were too many attempts in a short time",
			"Wait for the seconds that `Retry-After` gives, then repeat the request"},
		{CodeInternal, 500, false, "An unexpected error occurred in the server",
			"Look for `instance` in the server's log, and report the error"},
		{CodeUnavailable, 503, true,
			"A part of the system does not answer, or there are too many requests at the moment",
			"Wait for the seconds that `Retry-After` gives, then repeat the request; `detail` says what does not " +
				"answer"},
		{CodeBehind, 503, false, "The read models have not reached the position in `Secboard-Min-Position`, or " +
			"stand still, so that nobody can say what you may see now",
			"Wait for the seconds that `Retry-After` gives, then repeat the request"},
	}},
	{"Who asks, and what is allowed", []CodeEntry{
		{CodeInvalidCredentials, 401, false,
			"The e-mail address, the password or the code is wrong, or the account can't be used",
			"Try again; `GET /users/{id}/sign-in-check` tells an administrator the reason"},
		{CodeUnauthenticated, 401, false, "Nobody is signed in, or the session has ended",
			"Sign in with `POST /sessions`"},
		{CodeForbidden, 403, false, "You are signed in, but not allowed to do this",
			"Ask for the permission that `detail` names, or ask somebody who has it to do this"},
		{CodeCSRFFailed, 403, false,
			"A request with the session cookie lacks `X-CSRF-Token`, or comes from another site",
			"Send the `csrf_token` of `GET /sessions/current`, or use `Authorization: Bearer`"},
		{CodeTwoFactorSetupRequired, 403, false, "The account has to set up two-factor authentication before " +
			"anything else",
			"Set it up with `POST /me/two-factor`, then confirm the device"},
		{CodeReadOnlyField, 403, false, "Only an administrator can change this field",
			"Leave the field out, or ask an administrator"},
		{CodeOwnAccount, 409, false, "You can't do this to your own account", "Ask another administrator"},
		{CodeOwnProposal, 409, false, "A proposal takes a decision by another person than who made it",
			"Ask somebody else who has the rights, or withdraw the proposal"},
		{CodeDecided, 409, false, "The proposal was decided already, or has expired",
			"Look at it with GET /approvals/{id}; propose the change again if it is still wanted"},
	}},
	{"Accounts and access", []CodeEntry{
		{CodeEmailTaken, 409, false, "Another account has this e-mail address",
			"Choose another address, or change the other account"},
		{CodeNameTaken, 409, false, "Another one of the same kind has this name", "Choose another name"},
		{CodeRetired, 409, false, "A retired item can't be changed or used", "Choose one that is in use"},
		{CodeInUse, 409, false, "An item that is still used can't be retired", "Replace it first where `detail` says"},
		{CodeGroupCompanyFixed, 409, false, "A group can't be moved to another company",
			"Create a group in that company"},
		{CodeGroupOfOtherCompany, 409, false, "The group is only for accounts of another company",
			"Choose another group, or remove the account from this one in the same request"},
		{CodeInvalidLink, 422, true, "The link is wrong, has already been used or has expired", "Ask for a new one"},
		{CodeTwoFactorEnrolled, 409, false, "A device has already been confirmed",
			"Switch two-factor authentication off first, or ask an administrator to reset it"},
		{CodeTwoFactorNotPrepared, 409, false, "There is no device to confirm", "Call `POST /me/two-factor` first"},
		{CodeTwoFactorNotEnrolled, 409, false, "Two-factor authentication is not set up",
			"Set it up first with `POST /me/two-factor`"},
		{CodeTwoFactorRequired, 409, false, "An administrator requires two-factor authentication for this account",
			"Ask an administrator to lift the requirement"},
	}},
	{"Directories", []CodeEntry{
		{CodeDirectoryAccount, 409, false, "The password of this account is kept in the directory",
			"Change the password in the directory"},
		{CodeLocalAccount, 409, false, "The account has a local password, so it can't sign in with that of a directory",
			"Sign in with the local password"},
		{CodeOtherDirectoryEntry, 409, false, "The account is bound to another entry of the directory",
			"If the entry is the same person's, unlink the account first"},
		{CodeEntryOfAnotherAccount, 409, false, "The entry of the directory is bound to another account",
			"If the entry is this person's, unlink the other account first"},
		{CodeDirectoryNotVouched, 409, false,
			"No superuser has approved the connection, so nobody with permissions can sign in through it",
			"Ask a superuser to approve it: `PATCH /directories/{id}` with `\"vouch\": true`"},
	}},
	{"Mail", []CodeEntry{
		{CodeAlreadySent, 409, false, "The mail has already been sent", "Nothing needs to be done"},
		{CodeBeingSent, 409, false, "The mail is being sent right now", "Wait a moment, then read it again"},
		{CodeLinkExpired, 409, false, "The link in the mail has expired", "Ask for a new link"},
		{CodeNoMailAccount, 409, false, "No mail account in use can send this",
			"Set up a mail account, or make one the default"},
		{CodeNotBySuperuser, 409, false,
			"The link in the mail opens an account that administers SecBoard, but somebody who is no superuser " +
				"set up the mail account or its server",
			"Ask a superuser to set up another mail account and server"},
		{CodePasswordWithheld, 409, false,
			"Somebody else changed or chose the mail server after the password was entered, so it is not sent there",
			"Enter the password again: `PATCH /mail/accounts/{id}`"},
	}},
	{"Operations", []CodeEntry{
		{CodeRebuildRunning, 409, false, "Another rebuild is running", "Wait until it has finished, or abort it"},
		{CodeWrongKeyset, 0, false, "The log was written with another keyset; `secboard` does not start",
			"Start it with the keyset that belongs to the log"},
	}},
	{"Wrong fields", []CodeEntry{
		{CodeRequired, 0, true, "A value is missing or empty", "Give a value"},
		{CodeType, 0, true, "The value is of the wrong type", "Send the type that `message` names"},
		{CodeTooShort, 0, true, "The text has too few characters", "Make it longer"},
		{CodeTooLong, 0, true, "The text has too many characters", "Shorten it"},
		{CodeTooMany, 0, true, "The list has too many entries", "Remove some of them"},
		{CodeMinimum, 0, true, "The number is too small", "Send a larger one"},
		{CodeMaximum, 0, true, "The number is too large", "Send a smaller one"},
		{CodeRange, 0, true, "The number is too small or too large", "Send one in the range that `message` names"},
		{CodeEnum, 0, true, "The value is not one of those allowed", "Choose one that `message` lists"},
		{CodePattern, 0, true, "The text does not have the required form", "Write it as `message` says"},
		{CodeControlCharacter, 0, true, "The text has control characters", "Remove them"},
		{CodeNotUTF8, 0, true, "The text is not UTF-8", "Send it, or save the file, as UTF-8"},
		{CodeConflict, 0, true, "Two fields contradict each other, or others were changing the same account at that " +
			"time",
			"Leave one of the two out; in an import, import the line again"},
		{CodeDuplicate, 0, true, "The entry is in the list twice", "Remove one of the two"},
		{CodeReserved, 0, true, "The key belongs to one of SecBoard's own modules", "Choose another key"},
		{CodeNotTrue, 0, true, "The field can only be set to true", "Send true, or leave it out"},
		{CodeUUID, 0, true, "The text is not an id", "Send an id as the API returned it"},
		{CodeDate, 0, true, "The text is not a date", "Write it as 2026-11-23"},
		{CodeBeforeStartDate, 0, true, "The last day is before the first",
			"Choose a later last day, or an earlier first one"},
		{CodeEmail, 0, true, "The text is not a usable e-mail address", "Correct it as `message` says"},
		{CodeURL, 0, true, "The text is not an address of the required form", "Write it as `message` says"},
		{CodeIP, 0, true, "The text is not an IP address", "Write it as 203.0.113.9 or 2001:db8::7"},
		{CodeHost, 0, true, "The text is neither a host name nor an IP address", "Write it without a port"},
		{CodeDomain, 0, true, "The text is not a host name",
			"Write it as accounts.example.com, with a port if needed"},
		{CodeProtocol, 0, true, "The protocol is neither https nor http", "Send https or http"},
		{CodeTimeZone, 0, true, "There is no such time zone", "Choose one such as Europe/Kyiv or UTC"},
		{CodeUnknownLanguage, 0, true, "SecBoard does not support this language", "Choose en, uk or ru"},
		{CodeName, 0, true, "The name does not have the required form", "Write it as `message` says"},
		{CodeCursor, 0, true, "The cursor does not belong to this list",
			"Send `next_cursor` of the previous page, with the same sort"},
		{CodeSort, 0, true, "The list can't be sorted by this", "Choose a field that `message` lists"},
		{CodeUnknownCompany, 0, true, "There is no such company", "Choose one of `GET /companies`"},
		{CodeRetiredCompany, 0, true, "The company is retired", "Choose one that is in use"},
		{CodeUnknownRole, 0, true, "There is no such role", "Choose one of `GET /roles`"},
		{CodeUnknownGroup, 0, true, "There is no such group", "Choose one of `GET /groups`"},
		{CodeUnknownModule, 0, true, "There is no such module", "Choose one of `GET /modules`, or register it"},
		{CodeUnknownMailServer, 0, true, "There is no such mail server in use", "Choose one of `GET /mail/servers`"},
		{CodeUnknownMailAccount, 0, true, "There is no such mail account in use", "Choose one of `GET /mail/accounts`"},
		{CodeWeakPassword, 0, true, "The password is too weak", "Choose a stronger one, as `message` says"},
		{CodeWrongPassword, 0, true, "The text is not the current password of the account",
			"Send the current password"},
		{CodePassword, 0, true, "The password can't be used for a mail server", "Correct it as `message` says"},
		{CodeWrongCode, 0, true, "The code is not the one that the device shows",
			"Send the current code; check the clock of the device"},
		{CodeLockedOut, 0, true, "There were too many wrong passwords from the network, or wrong codes for the " +
			"account, " +
			"so none is checked for some minutes, or up to an hour", "Try again later"},
		{CodeFilter, 0, true, "The text is not an LDAP filter", "Write it as (objectClass=user)"},
		{CodeAttribute, 0, true, "The text is not the name of an LDAP attribute", "Use letters, digits and hyphens"},
		{CodeSecretAttribute, 0, true, "The LDAP attribute holds a password or a key, or could be any attribute",
			"Name an attribute that everybody may see, by its name"},
		{CodeDN, 0, true, "The text is not a distinguished name", "Write it as DC=example,DC=com"},
		{CodeScheme, 0, true, "The address of the directory begins with neither ldaps:// nor ldap://",
			"Use ldaps://, or ldap:// with `start_tls`"},
		{CodeMixed, 0, true, "Some addresses begin with ldaps://, others with ldap://", "Use the same for all"},
		{CodeNeedsTLS, 0, true, "Passwords would be sent unencrypted", "Set `start_tls`, or use ldaps:// addresses"},
		{CodePEM, 0, true, "The text is not a list of certificates in PEM form",
			"Send certificates only, from BEGIN to END"},
		{CodeFormat, 0, true, "The picture is neither JPEG nor PNG", "Save it as JPEG or PNG"},
		{CodeDamaged, 0, true, "The picture is damaged", "Save it again"},
		{CodeTooSmall, 0, true, "The picture has too few pixels", "Choose a larger one"},
		{CodeTooManyPixels, 0, true, "The picture has too many pixels", "Make it smaller"},
	}},
	{"Import of accounts", []CodeEntry{
		{CodeCSV, 0, true, "The file, or the line, is not CSV", "Save the table as CSV UTF-8"},
		{CodeEmpty, 0, true, "The file is empty", "Put the names of the columns into the first line"},
		{CodeNoEmailColumn, 0, true, "The first line has no column named email", "Add the column"},
		{CodeUnknownColumn, 0, true, "The first line has an unknown column",
			"Remove it, or correct its name"},
		{CodeDuplicateColumn, 0, true, "The first line has the same column twice", "Remove one"},
		{CodeTooManyLines, 0, true, "The file has too many accounts", "Split the file"},
		{CodeCells, 0, true, "The line has more or fewer cells than the first line has columns", "Correct the line"},
		{CodeDuplicateLine, 0, true, "Another line has the same e-mail address", "Remove one of the two"},
		{CodeOneID, 0, true, "The cell has several ids", "Leave only one"},
		{CodeBool, 0, true, "The cell is neither true nor false", "Write true or false, yes or no"},
	}},
}
