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
		host := hostName(c.Request) // without the port, which is that of http
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		target := url.URL{Scheme: "https", Host: host, Path: c.Request.URL.Path, RawPath: c.Request.URL.RawPath,
			RawQuery: c.Request.URL.RawQuery}
		c.Redirect(http.StatusPermanentRedirect, target.String())
		c.Abort()
	}
}
