package console

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/secboard/secboard/domain"
)

const (
	maxForm   = 256 << 10
	tokenName = "form_token"
)

// formToken is what a form must repeat: of a session its CSRF token, of others the value of a cookie. It looks other
// each time, so that the length of a compressed page tells nothing about it.
func (v *visit) formToken() string {
	secret := v.formSecret()
	if secret == "" {
		secret = rand.Text()
		http.SetCookie(v.w, v.cookie(formCookie, secret, "/", 0))
		v.newSecret = secret // for the next form of the same page
	}
	pad := make([]byte, len(secret))
	rand.Read(pad)
	masked := make([]byte, 0, 2*len(secret))
	masked = append(masked, pad...)
	for i := range secret {
		masked = append(masked, secret[i]^pad[i])
	}
	return base64.RawURLEncoding.EncodeToString(masked)
}

func (v *visit) formSecret() string {
	if v.session != nil {
		return v.session.CSRFToken
	}
	if cookie, err := v.r.Cookie(formCookie); err == nil && len(cookie.Value) == len(rand.Text()) {
		return cookie.Value
	}
	return v.newSecret
}

func (v *visit) isFormToken(given string) bool {
	masked, err := base64.RawURLEncoding.DecodeString(given)
	secret := v.formSecret()
	if err != nil || secret == "" || len(masked) != 2*len(secret) {
		return false
	}
	pad, rest := masked[:len(secret)], masked[len(secret):]
	for i := range rest {
		rest[i] ^= pad[i]
	}
	return hmac.Equal(rest, []byte(secret))
}

// errForeignForm refuses a form that is none of this page's, or whose session has ended.
var errForeignForm = &problem{Status: http.StatusForbidden, Code: domain.CodeCSRFFailed}

// readForm reads what was sent and makes sure that it comes from a form of ours. Where a browser says from which site a
// form comes, it must be this one; the API checks that too, of what is handed on to it.
func (v *visit) readForm() error {
	limit := int64(maxForm)
	isUpload := strings.HasPrefix(v.r.Header.Get("Content-Type"), "multipart/form-data")
	if isUpload {
		limit = maxUpload
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, limit)
	read := v.r.ParseForm
	if isUpload {
		read = func() error { return v.r.ParseMultipartForm(maxUpload) } // in memory: no file of it is left anywhere
	}
	if err := read(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return &problem{Status: http.StatusRequestEntityTooLarge, Code: domain.CodeTooLarge}
		}
		return &problem{Status: http.StatusBadRequest, Code: domain.CodeMalformed}
	}
	if site := v.r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return errForeignForm
	}
	if !v.isFormToken(v.r.PostForm.Get(tokenName)) {
		if v.ended {
			return &problem{Status: http.StatusUnauthorized, Code: domain.CodeUnauthenticated}
		}
		return errForeignForm
	}
	return nil
}
