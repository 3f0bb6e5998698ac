package main

import "testing"

func TestTheVersionNamesCommitAndDate(t *testing.T) {
	t.Parallel()
	const hash, day = "04b6057d2a71ad8a", "2026-12-01T03:31:20Z"
	for name, tc := range map[string]struct {
		built buildVersion
		want  string
	}{
		"released": {
			buildVersion{Version: "v0.1.0", Commit: hash, Date: day, Go: "go1.26.8", Platform: "linux/arm64"},
			"secboard v0.1.0 (commit 04b6057d2a71 of 2026-12-01T03:31:20Z, go1.26.8, linux/arm64)",
		},
		"with changes": {
			buildVersion{
				Version: "v0.1.0-dirty", Commit: hash, Modified: true, Go: "go1.26.8", Platform: "linux/amd64",
			},
			"secboard v0.1.0-dirty (commit 04b6057d2a71 with changes, go1.26.8, linux/amd64)",
		},
		"from a source archive": {
			buildVersion{Version: "(devel)", Go: "go1.26.8", Platform: "darwin/arm64"},
			"secboard (devel) (go1.26.8, darwin/arm64)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tc.built.String(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
