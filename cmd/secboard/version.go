package main

import (
	"runtime"
	"runtime/debug"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = ""

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
	Modified bool   `json:"modified"` // with changes that are in no commit
	Go       string `json:"go"`
}

func readVersion() buildVersion {
	v := buildVersion{Version: version, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = setting.Value
		case "vcs.modified":
			v.Modified = setting.Value == "true"
		}
	}
	return v
}

// Run carries the command out.
func (c *versionCmd) Run(p *program) error {
	v := readVersion()
	if c.JSON {
		return p.printJSON(v)
	}
	commit := ""
	if v.Commit != "" {
		commit = "commit " + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			commit += " with changes"
		}
		commit += ", "
	}
	return p.printf("secboard %s (%s%s)\n", v.Version, commit, v.Go)
}
