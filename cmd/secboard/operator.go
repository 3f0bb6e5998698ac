package main

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"unicode"
)

// operatorName is who runs this process, as user@host, for the history of what it does. It comes from the system and
// not from the environment, which everybody sets for themselves.
func operatorName() string {
	uid := strconv.Itoa(os.Getuid())
	name := "user " + uid
	if account, err := user.LookupId(uid); err == nil && account.Username != "" {
		name = account.Username
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown host"
	}
	return oneWord(name) + "@" + oneWord(host)
}

// oneWord keeps what would garble a history out of a name of the system.
func oneWord(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if runes := []rune(text); len(runes) > 100 {
		return string(runes[:100])
	}
	return text
}
