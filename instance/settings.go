// Package instance is what a running SecBoard is made of: the data directory, which one process holds at a time; the
// event log and the database, embedded or named by settings; what works in the background; and the process that a
// rebuild of read models runs in. Package cmd/secboard puts them together and talks to people.
//
// The folders below say what is wrong; this one and cmd/secboard say which setting corrects it.
package instance

import (
	"fmt"
	"path/filepath"

	"github.com/secboard/secboard/secrets"
)

// The settings that this package names in errors, as environment variables.
const (
	settingData       = "SECBOARD_DATA"
	settingEventstore = "SECBOARD_EVENTSTORE_URL"
	settingDatabase   = "SECBOARD_DATABASE_URL"
	settingKeyset     = "SECBOARD_KEYSET"
	settingLogFormat  = "SECBOARD_LOG_FORMAT"
)

// Settings say where the stores are.
type Settings struct {
	Data          string // directory of the embedded stores and of the keyset
	EventstoreURL string // "" for the embedded event store
	DatabaseURL   string // "" for a local Postgres that SecBoard runs itself
	Keyset        string // file of the keyset; "" for keyset.json in Data
	LogFormat     string // text or json
}

// KeysetFile is the path of the file with the keys that seal secrets.
func (s Settings) KeysetFile() string {
	if s.Keyset != "" {
		return s.Keyset
	}
	return filepath.Join(s.Data, "keyset.json")
}

// LoadKeyset reads the keyset. Error: fs.ErrNotExist where there is no such file.
func (s Settings) LoadKeyset() (*secrets.Keyset, error) {
	keys, err := secrets.LoadKeyset(s.KeysetFile())
	return keys, aboutSetting(settingKeyset, err)
}

// createKeyset makes the keyset of a new log.
func (s Settings) createKeyset() (*secrets.Keyset, error) {
	keys, err := secrets.LoadOrCreateKeyset(s.KeysetFile())
	return keys, aboutSetting(settingKeyset, err)
}

// SettingError says that the value of a setting can't be right, whatever the machine is like.
type SettingError struct {
	Setting string // the environment variable
	Err     error
}

func (e *SettingError) Error() string { return e.Setting + ": " + e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

// aboutSetting puts the name of the setting that corrects it before an error.
func aboutSetting(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
