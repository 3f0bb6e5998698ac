package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/secboard/secboard/domain"
)

// redirectToHTTPS sends a request that came over http to https. Where the proxy in front says https, but may not be
// believed, or says nothing, another round would end here again: it is told instead what to set.
func (s *server) redirectToHTTPS(c *gin.Context) {
	if !s.HTTPSRedirect || infoOf(c.Request.Context()).https || isProbe(c.Request) {
		return
	}
	forwarded := c.Request.Header.Values("X-Forwarded-Proto")
	proxy := addressOf(c.Request.RemoteAddr)
	switch {
	case strings.Contains(strings.ToLower(strings.Join(forwarded, ",")), "https"):
		writeProblem(c, &refusal{
			status: http.StatusBadRequest, code: domain.CodeHTTPSUnknown,
			detail: "X-Forwarded-Proto says https but isn't trusted: the proxy must be one of the trusted proxies" +
				settingNamed(s.ProxiesSetting) + " and send exactly one scheme, that of the client",
		})
	case len(forwarded) == 0 && s.isTrustedProxy(proxy):
		writeProblem(c, &refusal{
			status: http.StatusBadRequest, code: domain.CodeHTTPSUnknown,
			detail: "the proxy does not say whether the client came over https: it must send X-Forwarded-Proto",
		})
	default:
		host, err := s.redirectHost(c.Request)
		if err != nil {
			writeProblem(c, err)
			return
		}
		target := url.URL{Scheme: "https", Host: host, Path: c.Request.URL.Path, RawPath: c.Request.URL.RawPath,
			RawQuery: c.Request.URL.RawQuery}
		c.Redirect(http.StatusPermanentRedirect, target.String())
		c.Abort()
	}
}

// redirectHost is the host to which a request over http is sent on: one that somebody set up, never what the request
// says, or a link that looks like one of ours would lead to any host.
func (s *server) redirectHost(r *http.Request) (string, error) {
	asked := strings.TrimSuffix(hostName(r), ".")
	if host, known := hostOf(s.PublicURL, asked); known {
		return host, nil
	}
	for _, allowed := range s.AllowedHosts {
		if host, known := hostOf("https://"+inURL(allowed), asked); known {
			return host, nil
		}
	}
	site, err := s.ReadModels.Site(r.Context())
	if err != nil {
		return "", err
	}
	if host, known := hostOf(site.URL(), asked); known {
		return host, nil
	}
	return "", &refusal{
		status: http.StatusMisdirectedRequest, code: domain.CodeUnknownHost,
		detail: "this server does not redirect this host name to https: if it should, add it to the allowed hosts" +
			settingNamed(s.HostsSetting) + ", or set the domain in the settings of the site",
	}
}

// hostOf is the host of an address, with the port where that is one of https, if it is the one that was asked for.
func hostOf(address, asked string) (host string, known bool) {
	parsed, err := url.Parse(address)
	if err != nil || asked == "" || !strings.EqualFold(parsed.Hostname(), asked) {
		return "", false
	}
	if parsed.Scheme != "https" { // the port is that of http
		return inURL(parsed.Hostname()), true
	}
	return parsed.Host, true
}

// inURL writes a name or address as a URL has it.
func inURL(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
