package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/dustin/go-humanize"
	"gopkg.in/yaml.v3"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/targets"
)

// settingsGroup is the kong group of the flags that are settings: those that a SECBOARD_* variable and a line of the
// configuration file can give too.
const settingsGroup = "settings"

const (
	formatText = "text"
	formatJSON = "json"
)

// storeSettings say where the stores are.
type storeSettings struct {
	Data          string `group:"settings" default:"./data" placeholder:"DIR" help:"Directory of the embedded stores and of the keyset."`
	EventstoreURL string `group:"settings" placeholder:"URL" help:"Event store, such as esdb://admin:password@host:2113?tls=true. Empty: the embedded one."`
	DatabaseURL   string `group:"settings" placeholder:"URL" help:"Postgres, such as postgres://user:password@host:5432/secboard. Empty: a local one that secboard runs itself."`
	Keyset        string `group:"settings" placeholder:"FILE" help:"File with the keys that seal secrets, created at the first start. Default: keyset.json in the data directory."`
	LogFormat     string `group:"settings" default:"text" placeholder:"text|json" help:"Format of the log on standard error."`
}

func (s *storeSettings) check() error {
	if s.Data == "" {
		return usagef("SECBOARD_DATA is empty: it must name the directory of the embedded stores, such as ./data")
	}
	if s.LogFormat != formatText && s.LogFormat != formatJSON {
		return usagef("SECBOARD_LOG_FORMAT is %q: it must be text or json", s.LogFormat)
	}
	return nil
}

// instance gives the settings to what uses them.
func (s *storeSettings) instance() instance.Settings { return instance.Settings(*s) }

// httpSettings say how the HTTP API is reached.
type httpSettings struct {
	Listen         string   `group:"settings" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address of the HTTP API. Port 0: any free port."`
	MetricsListen  string   `group:"settings" placeholder:"HOST:PORT|off" help:"Address of /metrics and of Go's profiles (/debug/pprof/), which ask nobody who they are. off: none. Empty: 127.0.0.1:9464, unless another program has it."`
	PublicURL      string   `group:"settings" name:"public-url" placeholder:"URL" help:"Address under which people reach SecBoard, for links in mails, such as https://accounts.example.com. Empty: domain and protocol of the site settings."`
	AllowedHosts   []string `group:"settings" placeholder:"NAME" help:"Host names that requests may use. Empty: all."`
	TrustedProxies []string `group:"settings" placeholder:"CIDR" help:"Proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted, such as 10.0.0.7: whoever else has such an address can claim another one. Empty: none."`
	TrustedOrigins []string `group:"settings" placeholder:"URL" help:"Other sites whose pages may act with the session cookie, such as https://portal.example.com. Empty: none."`
	HTTPSRedirect  bool     `group:"settings" name:"https-redirect" help:"Redirect requests from http to https, for the host of SECBOARD_PUBLIC_URL, those of SECBOARD_ALLOWED_HOSTS and the domain of the site settings."`
	MaxBody        string   `group:"settings" default:"100MB" placeholder:"SIZE" help:"Largest request body, such as 100MB."`
}

// targetSettings say which addresses SecBoard connects to because people name them.
type targetSettings struct {
	AllowedTargets []string `group:"settings" placeholder:"CIDR" help:"Networks in which directories and mail servers may be although they are special (loopback, link-local, multicast, a cloud's own), such as 127.0.0.1 or 169.254.7.0/24. Empty: none; the Internet and private networks always may."`
}

func (s *targetSettings) policy() (targets.Policy, error) {
	allowed, err := parseNetworks(settingTargets, s.AllowedTargets)
	return targets.Policy{Allowed: allowed, Setting: settingTargets}, err
}

// The settings that texts of other packages name.
const (
	settingHosts   = "SECBOARD_ALLOWED_HOSTS"
	settingProxies = "SECBOARD_TRUSTED_PROXIES"
	settingOrigins = "SECBOARD_TRUSTED_ORIGINS"
	settingTargets = "SECBOARD_ALLOWED_TARGETS"
)

// httpOptions are the settings as the server takes them.
type httpOptions struct {
	trustedProxies []netip.Prefix
	maxBody        int64
	targets        targets.Policy
}

func (s *httpSettings) parse() (httpOptions, error) {
	var options httpOptions
	if err := checkListen("SECBOARD_LISTEN", s.Listen, "127.0.0.1:8080"); err != nil {
		return options, err
	}
	if s.MetricsListen != "" && s.MetricsListen != noMetrics {
		if err := checkListen(settingMetrics, s.MetricsListen, defaultMetrics); err != nil {
			return options, err
		}
	}
	if s.PublicURL != "" {
		public, err := url.Parse(s.PublicURL)
		if err == nil && public.Port() != "" {
			_, err = strconv.ParseUint(public.Port(), 10, 16)
		}
		if err != nil || (public.Scheme != "https" && public.Scheme != "http") || public.Hostname() == "" ||
			strings.Trim(public.Path, "/") != "" ||
			public.User != nil || public.RawQuery != "" || public.Fragment != "" {
			return options, usagef("SECBOARD_PUBLIC_URL is %q: it must be scheme and host, with a port up to 65535 "+
				"or none, and without a path, such as https://accounts.example.com", s.PublicURL)
		}
	}
	for _, name := range s.AllowedHosts {
		if name == "" || strings.ContainsAny(name, "/@ *") ||
			(strings.Contains(name, ":") && net.ParseIP(name) == nil) {
			return options, usagef("SECBOARD_ALLOWED_HOSTS contains %q: it must be whole host names without scheme, "+
				"port, path or *, such as secboard.example.com", name)
		}
	}
	var err error
	if options.trustedProxies, err = parseNetworks(settingProxies, s.TrustedProxies); err != nil {
		return options, err
	}
	for _, origin := range s.TrustedOrigins {
		if err := http.NewCrossOriginProtection().AddTrustedOrigin(origin); err != nil {
			return options, usagef("%s contains %q: it must be scheme and host without a path, such as "+
				"https://portal.example.com", settingOrigins, origin)
		}
	}
	size, err := humanize.ParseBytes(s.MaxBody)
	if err != nil || size < humanize.KByte || size > 4*humanize.GiByte {
		return options, usagef("SECBOARD_MAX_BODY is %q: it must be a size from 1KB to 4GiB, such as 100MB", s.MaxBody)
	}
	options.maxBody = int64(size)
	return options, nil
}

// wideProxies are trusted proxies that are whole private networks, in which there are clients too.
func (o httpOptions) wideProxies() (wide []string) {
	for _, network := range o.trustedProxies {
		least := 24
		if network.Addr().Is6() {
			least = 120
		}
		if network.Addr().IsPrivate() && network.Bits() < least {
			wide = append(wide, network.String())
		}
	}
	return wide
}

// parseNetworks reads networks, and addresses as networks of one.
func parseNetworks(setting string, texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			address, err := netip.ParseAddr(text)
			if err != nil || address.Zone() != "" {
				return nil, usagef("%s contains %q: it must be addresses or networks, such as 10.0.0.7 or 10.0.0.0/8",
					setting, text)
			}
			address = address.Unmap()
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		networks = append(networks, prefix.Masked())
	}
	return networks, nil
}

// checkListen checks the address of a listener.
func checkListen(setting, address, example string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("%s is %q: it must be host:port, such as %s", setting, address, example)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(number, 10) != port {
		return usagef("%s is %q: the port must be a number up to 65535", setting, address)
	}
	if strings.ContainsAny(host, "/@ ") {
		return usagef("%s is %q: it must be host:port without a scheme, such as %s", setting, address, example)
	}
	return nil
}

// bootstrap is the first superuser, from the environment only: a password on the command line can be read by everybody
// on the machine.
type bootstrap struct{ email, password string }

const (
	bootstrapEmail    = "SECBOARD_BOOTSTRAP_EMAIL"
	bootstrapPassword = "SECBOARD_BOOTSTRAP_PASSWORD"
)

func (p *program) bootstrap() (bootstrap, error) {
	b := bootstrap{p.env[bootstrapEmail], p.env[bootstrapPassword]}
	switch {
	case b.email != "" && b.password == "":
		return b, usagef("%s is set but %s is not: set both, or neither", bootstrapEmail, bootstrapPassword)
	case b.email == "" && b.password != "":
		return b, usagef("%s is set but %s is not: set both, or neither", bootstrapPassword, bootstrapEmail)
	}
	return b, nil
}

func isSetting(flag *kong.Flag) bool { return flag.Group != nil && flag.Group.Key == settingsGroup }

// variable is the environment variable of a setting.
func variable(flag *kong.Flag) string {
	return "SECBOARD_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

// describeSetting adds the variable and the default to a setting's help.
func describeSetting(value *kong.Value) string {
	if value.Flag == nil || !isSetting(value.Flag) {
		return value.Help
	}
	suffix := " (" + variable(value.Flag)
	if value.HasDefault && value.Default != "" {
		suffix += ", default " + value.Default
	}
	return value.Help + suffix + ")"
}

// resolveSettings gives the flags that were not on the command line their values: from the environment, else from the
// configuration file. Of several resolvers kong lets the last one win.
func (p *program) resolveSettings(c *kong.Context) error {
	for _, flag := range c.Flags() {
		if flag.Name != "config" {
			continue
		}
		if path, ok := c.FlagValue(flag).(string); ok && path != "" {
			file, err := readSettings(path, c.Model)
			if err != nil {
				return err
			}
			c.AddResolver(file)
		}
	}
	c.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if value := p.env[variable(flag)]; value != "" && isSetting(flag) {
			return value, nil
		}
		return nil, nil
	}))
	return nil
}

// readSettings reads a configuration file. A line that is no setting stops the start: it is probably a misspelt one.
func readSettings(path string, app *kong.Application) (kong.Resolver, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	var lines map[string]yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(content))
	if err := documents.Decode(&lines); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--config: %s is not YAML with one setting per line: %w", path, err)
	}
	if err := documents.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--config: %s has more than one YAML document: put all settings into one, without a "+
			"line ---", path)
	}
	known := map[string]bool{}
	for _, node := range app.Leaves(false) {
		for _, flag := range node.Flags {
			known[flag.Name] = known[flag.Name] || isSetting(flag)
		}
	}
	maps.DeleteFunc(known, func(_ string, setting bool) bool { return !setting })
	for name := range lines {
		if !known[name] {
			return nil, fmt.Errorf("--config: %s sets %q, which is not a setting; the settings are %s", path, name,
				strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		line, set := lines[flag.Name]
		if !set || !isSetting(flag) {
			return nil, nil
		}
		value, err := settingValue(line, flag.IsSlice())
		if err != nil {
			return nil, fmt.Errorf("--config: %s: %s: %w", path, flag.Name, err)
		}
		return value, nil
	}), nil
}

// settingValue is a value of the configuration file as it is written there, so that each setting reads it as it reads
// its variable; nil where there is none.
func settingValue(line yaml.Node, many bool) (any, error) {
	switch {
	case line.Kind == yaml.AliasNode:
		return settingValue(*line.Alias, many)
	case line.Kind == yaml.ScalarNode && line.Tag == "!!null":
		return nil, nil
	case line.Kind == yaml.ScalarNode:
		return line.Value, nil
	case line.Kind != yaml.SequenceNode || !many:
		return nil, errors.New("it must be a single value")
	}
	values := []any{}
	for _, item := range line.Content {
		value, err := settingValue(*item, false)
		if err != nil {
			return nil, fmt.Errorf("an item of its list: %w", err)
		}
		if value != nil {
			values = append(values, value)
		}
	}
	return values, nil
}

// unknownVariables lists the SECBOARD_* variables that are no setting.
func (p *program) unknownVariables(app *kong.Application) []string {
	known := []string{bootstrapEmail, bootstrapPassword}
	for _, node := range app.Leaves(false) {
		for _, flag := range node.Flags {
			if isSetting(flag) {
				known = append(known, variable(flag))
			}
		}
	}
	var unknown []string
	for name := range p.env {
		if strings.HasPrefix(name, "SECBOARD_") && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
