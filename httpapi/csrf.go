package httpapi

import (
	"crypto/hmac"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// sessionCookie is the cookie that holds a session's token.
const sessionCookie = "secboard_session"

// cookieFor gives the Set-Cookie header for a session's token.
func (s *server) cookieFor(info *requestInfo, token string, expires time.Time) string {
	cookie := http.Cookie{
		Name: sessionCookie, Value: token, Path: "/", MaxAge: max(1, int(expires.Sub(s.Now()).Seconds())),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: info.https,
	}
	return cookie.String()
}

// noCookie gives the Set-Cookie header that removes the cookie.
func noCookie(info *requestInfo) string {
	cookie := http.Cookie{
		Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: info.https,
	}
	return cookie.String()
}

// trustedOrigins allows pages of other sites to act with the session cookie.
func trustedOrigins(origins []string) (*http.CrossOriginProtection, error) {
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("httpapi: trusted origin %q: %w", origin, err)
		}
	}
	return protection, nil
}

// checkOrigin refuses what a page of another site makes a browser send. Sec-Fetch-Site tells, else Origin, else
// Referer; what is no browser sends none of them and has no cookie that it did not take itself.
func (s *server) checkOrigin(r *http.Request) error {
	asked := r
	if referer := r.Header.Get("Referer"); referer != "" && r.Header.Get("Origin") == "" &&
		r.Header.Get("Sec-Fetch-Site") == "" {
		from, err := url.Parse(referer)
		if err != nil || from.Host == "" {
			return csrfFailed("the Referer can't be read")
		}
		asked = r.Clone(r.Context())
		asked.Header.Set("Origin", from.Scheme+"://"+from.Host)
	}
	if err := s.origins.Check(asked); err != nil {
		return csrfFailed("the request comes from a page of another site, which is none of the trusted origins" +
			settingNamed(s.OriginsSetting))
	}
	return nil
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// csrfToken is what an unsafe request with the session cookie must repeat in X-CSRF-Token: only who can read answers of
// this site knows it.
func (s *server) csrfToken(session uuid.UUID) (string, error) {
	mac, err := s.Commands.Keys.MAC("csrf", session[:])
	return base64.RawURLEncoding.EncodeToString(mac), err
}

func (s *server) checkCSRFToken(session uuid.UUID, given string) error {
	want, err := s.csrfToken(session)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(want), []byte(given)) {
		return csrfFailed("with the session cookie, X-CSRF-Token must be the csrf_token of GET " + basePath +
			"/sessions/current")
	}
	return nil
}

func csrfFailed(detail string) error {
	return &refusal{status: http.StatusForbidden, code: domain.CodeCSRFFailed, detail: detail}
}
