package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Set by the build (-ldflags "-X main.version=v1.2.3 …", see the Makefile), which knows them where Go doesn't: in a
// container there is no .git. What is empty is taken from what Go recorded.
var (
	version = ""
	commit  = ""
	date    = "" // of the commit, as RFC 3339: the same source gives the same program on any day
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is the end of the command's --help.
func (versionCmd) Help() string {
	return `Examples:

    secboard version
    secboard version --json`
}

// buildVersion is what this program was built from.
type buildVersion struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"` // of the commit, RFC 3339
	Modified bool   `json:"modified"`       // with changes that are in no commit
	Go       string `json:"go"`
	Platform string `json:"platform"` // such as linux/amd64
}

func readVersion() buildVersion {
	v := buildVersion{
		Version: version, Commit: commit, Date: date, Modified: strings.HasSuffix(version, "-dirty"),
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = cmp.Or(v.Version, info.Main.Version)
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = cmp.Or(v.Commit, setting.Value)
		case "vcs.time":
			v.Date = cmp.Or(v.Date, setting.Value)
		case "vcs.modified":
			v.Modified = v.Modified || setting.Value == "true"
		}
	}
	return v
}

// String is one line for people.
func (v buildVersion) String() string {
	built := []string{v.Go, v.Platform}
	if v.Commit != "" {
		from := "commit " + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			from += " with changes"
		}
		if v.Date != "" {
			from += " of " + v.Date
		}
		built = append([]string{from}, built...)
	}
	return fmt.Sprintf("secboard %s (%s)", v.Version, strings.Join(built, ", "))
}

// Run carries the command out.
func (c *versionCmd) Run(p *program) error {
	v := readVersion()
	if c.JSON {
		return p.printJSON(v)
	}
	return p.printf("%s\n", v)
}
