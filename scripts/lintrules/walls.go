//go:build ruleguard

// Package gorules holds what golangci-lint checks and no ready-made linter does.
package gorules

import "github.com/quasilyte/go-ruleguard/dsl"

// sessionsTable keeps app.sessions to httpapi/sessions. It looks at whatever a statement may stand in, since a pattern
// for every literal would be "too general".
func sessionsTable(m dsl.Matcher) {
	m.Match(
		`const ($_ = $_; $*_)`, `const ($_ $_ = $_; $*_)`, `var $_ = $_`, `var $_ $_ = $_`,
		`$_ := $_`, `$_ = $_`, `$_($*_)`, `$_{$*_}`, `return $*_`).
		Where(m["$$"].Text.Matches(`\bapp\.sessions\b|(?i:\b(from|join|into|update)\s+sessions\b)`) &&
			!m.File().PkgPath.Matches(`/httpapi/sessions$`) && !m.File().Name.Matches(`_test\.go$`)).
		Report(`only httpapi/sessions touches the table app.sessions`)
}
