package console

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/secboard/secboard/domain"
)

// failure is what the page about a refusal shows.
type failure struct {
	*problem
	Icon, Title, Text string
	Module, Action    string // the permission that is missing
	At                time.Time
	Retry             string // where to try again
}

// fail answers with what went wrong, and what to do about it.
func (v *visit) fail(err error) {
	refused, ok := errors.AsType[*problem](err)
	if !ok {
		slog.ErrorContext(v.context(), "a page of the console failed", "path", v.r.Pattern, "error", err)
		refused = &problem{Status: http.StatusInternalServerError, Code: domain.CodeInternal}
	}
	if err := v.showProblem(refused); err != nil {
		slog.ErrorContext(v.context(), "the page about a problem failed", "path", v.r.Pattern, "error", err)
		http.Error(v.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

func (v *visit) showProblem(refused *problem) error {
	v.w.Header().Set("Cache-Control", "no-store")
	switch {
	case refused.Status >= 300 && refused.Status < 400: // the API sends everybody to https
		target, err := url.Parse(refused.Detail)
		if err != nil {
			return err
		}
		target.Path, target.RawPath, target.RawQuery = v.r.URL.Path, v.r.URL.RawPath, v.r.URL.RawQuery
		http.Redirect(v.w, v.r, target.String(), http.StatusPermanentRedirect)
		return nil
	case refused.Status == http.StatusUnauthorized:
		return v.showEnded()
	case refused.Code == domain.CodeTwoFactorSetupRequired:
		return v.goTo(setupPage, "")
	}
	shown := failure{problem: refused, At: v.Now(), Icon: "alert", Retry: v.r.URL.RequestURI()}
	switch {
	case refused.Code == domain.CodeForbidden:
		shown.Icon = "lock"
		if found := missingPermission.FindStringSubmatch(refused.Detail); found != nil {
			shown.Module, shown.Action = found[1], found[2]
		}
	case refused.Status == http.StatusNotFound:
		shown.Icon = "search"
	}
	if !isSafe(v.r.Method) {
		shown.Retry = "/"
	}
	if shown.Status == http.StatusServiceUnavailable {
		v.w.Header().Set("Retry-After", "10")
		if isSafe(v.r.Method) {
			v.w.Header().Set("Refresh", "10")
		}
	}
	shown.Title, shown.Text = v.texts.text("problem.title."+kindOf(refused)), v.problemText(refused)
	return v.showWith(refused.Status, "problem.html", shown, nil)
}

// missingPermission finds the permission in the API's sentence about it.
var missingPermission = regexp.MustCompile(`permission ([a-z_]+)\.([a-z_]+)`)

// kindOf names the heading of the page about a problem.
func kindOf(refused *problem) string {
	switch {
	case refused.Code == domain.CodeForbidden, refused.Code == domain.CodeNotFound, refused.Code == domain.CodeBehind,
		refused.Code == domain.CodeCSRFFailed, refused.Code == domain.CodeTooLarge:
		return string(refused.Code)
	case refused.Status == http.StatusServiceUnavailable:
		return string(domain.CodeUnavailable)
	case refused.Status >= http.StatusInternalServerError:
		return string(domain.CodeInternal)
	}
	return "refused"
}

// problemText says what is wrong in the person's language; what has no text there, as the API says it.
func (v *visit) problemText(refused *problem) string {
	if key := "problem." + string(refused.Code); v.texts.has(key) {
		return v.texts.text(key)
	}
	return refused.Detail
}

// formErrors are what is wrong with a form, by field; "" is about the whole.
type formErrors map[string]string

// wrong turns a refusal into what to show beside the fields. ok is false for a refusal that no field can mend.
func (v *visit) wrong(err error) (wrong formErrors, ok bool) {
	refused, isProblem := errors.AsType[*problem](err)
	if !isProblem || refused.Status == http.StatusUnauthorized || refused.Status >= http.StatusInternalServerError ||
		refused.Code == domain.CodeTwoFactorSetupRequired || refused.Code == domain.CodeCSRFFailed {
		return nil, false
	}
	wrong = formErrors{}
	for _, field := range refused.Errors {
		text := field.Message
		for _, key := range []string{
			"wrong." + fieldName(field.Field) + "." + string(field.Code), "wrong." + string(field.Code),
		} {
			if v.texts.has(key) {
				text = v.texts.text(key)
				break
			}
		}
		if wrong[fieldName(field.Field)] == "" {
			wrong[fieldName(field.Field)] = text
		}
	}
	if field := fieldOfCode[refused.Code]; field != "" {
		wrong[field] = v.problemText(refused)
	}
	if len(wrong) == 0 {
		wrong[""] = v.problemText(refused)
	}
	return wrong, true
}

// fieldOfCode is the field that a refusal is about which names none.
var fieldOfCode = map[domain.Code]string{
	domain.CodeEmailTaken: "email", domain.CodeNameTaken: "name", domain.CodeGroupOfOtherCompany: "group_ids",
}

// fieldName is the field's own name, without the place in a list.
func fieldName(field string) string {
	name, _, _ := strings.Cut(field, ".")
	return name
}
