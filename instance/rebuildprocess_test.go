package instance

import (
	"slices"
	"testing"
)

// What a process that does a rebuild gets to know of ours.
func TestARebuildsProcessGetsNoOtherSettings(t *testing.T) {
	t.Parallel()
	p := RebuildProcess{
		Settings: Settings{Data: "here", DatabaseURL: "postgres://db", LogFormat: "json"},
		Env: map[string]string{
			"PATH": "/bin", "SECBOARD_BOOTSTRAP_PASSWORD": "correct horse battery", "SECBOARD_DATA": "elsewhere",
		},
	}
	want := []string{
		"PATH=/bin", "SECBOARD_DATA=here", "SECBOARD_DATABASE_URL=postgres://db", "SECBOARD_EVENTSTORE_URL=",
		"SECBOARD_KEYSET=",
		"SECBOARD_LOG_FORMAT=json",
	}
	if got := p.environment(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
