//go:build ruleguard

// Package gorules holds what golangci-lint checks and no ready-made linter does.
package gorules

import "github.com/quasilyte/go-ruleguard/dsl"

// sessionsTable keeps app.sessions to httpapi/sessions. It looks at whatever a statement may stand in, since a pattern
// for every literal would be "too general". The first two are any constant or variable that is given a value, without
// and with a type, alone or in a group: what is in parentheses is read as the inside of var (…).
func sessionsTable(m dsl.Matcher) {
	m.Match(
		`($*_ = $*_)`, `($*_ $_ = $*_)`, `$*_ := $*_`, `$*_ = $*_`, `$_ += $_`, `$_ + $_`, `$_ <- $_`, `$_($*_)`,
		`$_{$*_}`, `return $*_`).
		Where(m["$$"].Text.Matches(`(?i)\bapp"?\."?sessions\b|`+
			`\b(from|join|into|update|truncate|table|only|copy)\s+"?sessions\b`) &&
			!m.File().PkgPath.Matches(`/httpapi/sessions$`) && !m.File().Name.Matches(`_test\.go$`)).
		Report(`only httpapi/sessions touches the table app.sessions`)
}
