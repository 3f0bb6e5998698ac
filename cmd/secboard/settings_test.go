package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWrongSettingsStopTheStartWithASentence(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env  settings
		args []string
		said []string
	}{
		"listen without port": {
			settings{"SECBOARD_LISTEN": "localhost"}, nil, []string{"SECBOARD_LISTEN", `"localhost"`, "host:port"},
		},
		"listen with scheme": {
			settings{"SECBOARD_LISTEN": "http://127.0.0.1:80"}, nil, []string{"SECBOARD_LISTEN", "http://127.0.0.1:80"},
		},
		"listen on high port": {
			settings{"SECBOARD_LISTEN": "127.0.0.1:70000"}, nil, []string{"SECBOARD_LISTEN", "65535"},
		},
		"target that is a name": {settings{settingTargets: "127.0.0.1,localhost"}, nil, []string{
			settingTargets, `"localhost"`, "10.0.0.0/8",
		}},
		"target with a zone": {settings{settingTargets: "fe80::1%eth0"}, nil, []string{settingTargets}},
		"metrics without port": {settings{settingMetrics: "127.0.0.1"}, nil, []string{
			settingMetrics, `"127.0.0.1"`, "127.0.0.1:9464",
		}},
		"metrics with a scheme": {settings{settingMetrics: "http://127.0.0.1:9464"}, nil, []string{settingMetrics}},
		"host with port": {settings{"SECBOARD_ALLOWED_HOSTS": "a.example,b.example:80"}, nil, []string{
			"SECBOARD_ALLOWED_HOSTS", `"b.example:80"`,
		}},
		"host with a wildcard": {settings{"SECBOARD_ALLOWED_HOSTS": "*.example.com"}, nil, []string{
			"SECBOARD_ALLOWED_HOSTS", `"*.example.com"`, "whole host names",
		}},
		"public URL's port": {settings{"SECBOARD_PUBLIC_URL": "https://x:99999"}, nil, []string{
			"SECBOARD_PUBLIC_URL", `"https://x:99999"`, "65535",
		}},
		"public URL's path": {
			settings{"SECBOARD_PUBLIC_URL": "https://x:443/app"}, nil,
			[]string{"SECBOARD_PUBLIC_URL", "without a path"},
		},
		"size below the least": {
			settings{"SECBOARD_MAX_BODY": "999"}, nil, []string{"SECBOARD_MAX_BODY", "from 1KB to 4GiB"},
		},
		"size above the most": {
			settings{"SECBOARD_MAX_BODY": "4294967297"}, nil, []string{"SECBOARD_MAX_BODY", "from 1KB to 4GiB"},
		},
		"proxy that is a name": {settings{"SECBOARD_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, nil, []string{
			"SECBOARD_TRUSTED_PROXIES", `"proxy"`, "10.0.0.0/8",
		}},
		"origin with a path": {settings{"SECBOARD_TRUSTED_ORIGINS": "https://a.example,https://b.example/page"},
			nil, []string{"SECBOARD_TRUSTED_ORIGINS", `"https://b.example/page"`}},
		"redirect maybe": {
			settings{"SECBOARD_HTTPS_REDIRECT": "maybe"}, nil, []string{"--https-redirect", "must be true"},
		},
		"size without number": {
			settings{"SECBOARD_MAX_BODY": "much"}, nil, []string{"SECBOARD_MAX_BODY", `"much"`, "100MB"},
		},
		"unknown log format": {
			settings{"SECBOARD_LOG_FORMAT": "xml"}, nil, []string{"SECBOARD_LOG_FORMAT", `"xml"`, "text or json"},
		},
		"data is a file": {settings{"SECBOARD_DATA": file}, nil, []string{"SECBOARD_DATA", file, "directory"}},
		"bootstrap password": {
			settings{"SECBOARD_BOOTSTRAP_PASSWORD": "secret-hunter"}, nil, []string{"SECBOARD_BOOTSTRAP_EMAIL", "both"},
		},
		"bootstrap email": {
			settings{"SECBOARD_BOOTSTRAP_EMAIL": "a@example.com"}, nil, []string{"SECBOARD_BOOTSTRAP_PASSWORD", "both"},
		},
		"event store no URL": {settings{"SECBOARD_EVENTSTORE_URL": "esdb://u:pass-hunter@[::",
			"SECBOARD_DATABASE_URL": "postgres://x/x"}, nil, []string{"SECBOARD_EVENTSTORE_URL"}},
		"unknown flag": {nil, []string{"--lisen", "127.0.0.1:0"}, []string{"--lisen"}},
		"missing file": {nil, []string{"--config", file + ".yaml"}, []string{"--config", file + ".yaml"}},
		"file with a wrong key": {
			nil, []string{"--config", write(t, "lisen: 127.0.0.1:0\n")}, []string{`"lisen"`, "listen, log-format"},
		},
		"file with two documents": {nil, []string{"--config", write(t, "log-format: text\n---\nlisten: 127.0.0.1:0\n")},
			[]string{"--config", "more than one YAML document"}},
		"file: number as listen": {
			nil, []string{"--config", write(t, "listen: 8080\n")}, []string{"SECBOARD_LISTEN", `"8080"`, "host:port"},
		},
		"file: number as size": {
			nil, []string{"--config", write(t, "max-body: 10\n")}, []string{"SECBOARD_MAX_BODY", `"10"`},
		},
		"file: number as proxy": {
			nil, []string{"--config", write(t, "trusted-proxies: 5\n")}, []string{"SECBOARD_TRUSTED_PROXIES", `"5"`},
		},
		"file: list of numbers": {
			nil, []string{"--config", write(t, "trusted-proxies: [5, 6]\n")},
			[]string{"SECBOARD_TRUSTED_PROXIES", `"5"`},
		},
		"file: list as switch": {nil, []string{"--config", write(t, "https-redirect: [1, 2]\n")}, []string{
			"https-redirect", "must be a single value",
		}},
		"file: lines below one": {nil, []string{"--config", write(t, "allowed-hosts: [{a: b}]\n")}, []string{
			"allowed-hosts", "must be a single value",
		}},
		"file that is a list": {
			nil, []string{"--config", write(t, "- listen\n")},
			[]string{"--config", "not YAML with one setting per line"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := test.env
			if env["SECBOARD_DATA"] == "" {
				env = env.with("SECBOARD_DATA", filepath.Join(t.TempDir(), "data"))
			}
			if env["SECBOARD_LISTEN"] == "" && !strings.HasPrefix(name, "file: ") {
				env = env.with("SECBOARD_LISTEN", "127.0.0.1:0")
			}
			got := command(t, env, "", append([]string{"serve"}, test.args...)...)
			got.expect(t, exitUsage, test.said...)
			if strings.Contains(got.stderr, "hunter") {
				t.Errorf("it says a password: %s", got.stderr)
			}
			if strings.Contains(got.stderr, "\n\n") || strings.Contains(got.stderr, "goroutine") {
				t.Errorf("not a sentence: %s", got.stderr)
			}
		})
	}
}

func TestSettingsAtTheirBoundsAreTaken(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"1KB", "1000", "4GB", "4GiB"} {
		t.Run(size, func(t *testing.T) {
			s := httpSettings{
				Listen: "127.0.0.1:0", PublicURL: "https://x:65535", AllowedHosts: []string{"a.example", "::1"},
				MaxBody: size,
			}
			if _, err := s.parse(); err != nil {
				t.Error(err)
			}
		})
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secboard.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsWinOverEnvironmentAndThatOverTheFile(t *testing.T) {
	t.Parallel()
	file := write(t, "listen: from-file\nmax-body: 104857600\ntrusted-proxies: [10.1.0.0/16]\nallowed-hosts: "+
		"a.example,b.example\nhttps-redirect: yes\nkeyset:\n")
	env := settings{"SECBOARD_LISTEN": "from-environment"}
	data := "--data=" + filepath.Join(t.TempDir(), "data")
	command(t, nil, "", "serve", data, "--config", file).expect(t, exitUsage, `"from-file"`)
	command(t, env, "", "serve", data, "--config", file).expect(t, exitUsage, `"from-environment"`)
	command(t, env, "", "serve", data, "--config", file, "--listen", "from-flag").expect(t, exitUsage, `"from-flag"`)
	command(t, settings{"SECBOARD_LISTEN": ""}, "", "serve", data, "--config", file).expect(t, exitUsage, `"from-file"`)
}

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"serve", "superuser create", "migrate up", "migrate status", "projections status", "eventstore serve", "doctor",
		"version",
	} {
		t.Run(args, func(t *testing.T) {
			got := command(t, nil, "", append(strings.Fields(args), "--help")...)
			got.expect(t, exitDone, "Usage: secboard "+args, "Examples:")
		})
	}
	command(t, nil, "", "serve", "--help").expect(t, exitDone,
		"SECBOARD_LISTEN, default 127.0.0.1:8080", "SECBOARD_DATA, default ./data", "SECBOARD_EVENTSTORE_URL",
		"SECBOARD_DATABASE_URL",
		"SECBOARD_KEYSET", "SECBOARD_ALLOWED_HOSTS", "SECBOARD_TRUSTED_PROXIES", "SECBOARD_TRUSTED_ORIGINS",
		"SECBOARD_HTTPS_REDIRECT", "SECBOARD_MAX_BODY, default 100MB", "SECBOARD_LOG_FORMAT, default text",
		"SECBOARD_BOOTSTRAP_EMAIL", "SECBOARD_BOOTSTRAP_PASSWORD")
	command(t, nil, "").expect(t, exitUsage, "--help")
	command(t, nil, "", "serv").expect(t, exitUsage, `did you mean "serve"`)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	command(t, nil, "", "version").expect(t, exitDone, "secboard ", "go1.")
	var v buildVersion
	if err := json.Unmarshal([]byte(command(t, nil, "", "version", "--json").stdout), &v); err != nil ||
		!strings.HasPrefix(v.Go, "go1.") {
		t.Errorf("got %+v, %v", v, err)
	}
}

func TestTrustedNetworksWithClientsAreWarnedOf(t *testing.T) {
	t.Parallel()
	s := httpSettings{Listen: "127.0.0.1:0", MaxBody: "1MB", TrustedProxies: []string{
		"10.0.0.0/8", "10.1.0.0/24", "10.0.0.7", "172.16.0.0/12", "127.0.0.0/8", "173.245.48.0/20", "fd00::/8",
		"fd00::7", "2400:cb00::/32",
	}}
	options, err := s.parse()
	if err != nil {
		t.Fatal(err)
	}
	if got := options.wideProxies(); !slices.Equal(got, []string{"10.0.0.0/8", "172.16.0.0/12", "fd00::/8"}) {
		t.Errorf("warns of %q", got)
	}
}
