package console

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secboard/secboard/domain"
)

//go:embed templates
var templateFiles embed.FS

// view is what a template sees: the page's own data in D, and around it what every page shows.
type view struct {
	v         *visit
	D         any
	Site      site
	Lang      string
	Languages []string
	Theme     string
	Me        *session // nil: nobody is signed in
	Path      string   // of this page, with its query
	Notice    string
	Menu      []menuSection
	Errors    formErrors // what is wrong with what was sent
}

// Token is the hidden field of a form.
func (p view) Token() string { return p.v.formToken() }

// May says whether the person's permissions allow an action.
func (p view) May(module, action string) bool { return p.v.may(module, domain.Action(action)) }

// Superuser says whether the person is one.
func (p view) Superuser() bool { return p.Me != nil && p.Me.User.Superuser }

// Host is the name under which the person reaches the site.
func (p view) Host() string { return p.v.r.Host }

// Zone names the time zone of all times of the page.
func (p view) Zone() string {
	zone := p.v.zone.Load()
	return zone.String() + " (UTC" + p.v.Now().In(zone).Format("-07:00") + ")"
}

// IsSub says whether a heading of the menu is one below another.
func (p view) IsSub(title string) bool {
	for _, section := range p.Menu {
		if section.Title == title {
			return section.Sub
		}
	}
	return false
}

// GroupNames lists the person's groups.
func (p view) GroupNames() string {
	var names []string
	if p.Me != nil {
		for _, group := range p.Me.User.Groups {
			names = append(names, group.Name)
		}
	}
	return strings.Join(names, ", ")
}

// theme is the look that the person chose; "" for that of the device.
func (v *visit) theme() string {
	cookie, err := v.r.Cookie(themeCookie)
	if err != nil || !slices.Contains([]string{"dark", "light"}, cookie.Value) {
		return ""
	}
	return cookie.Value
}

// show answers with a page.
func (v *visit) show(name string, data any) error { return v.showWith(http.StatusOK, name, data, nil) }

// showWrong answers with the form that was sent and what is wrong with it.
func (v *visit) showWrong(name string, data any, wrong formErrors) error {
	return v.showWith(http.StatusUnprocessableEntity, name, data, wrong)
}

func (v *visit) showWith(status int, name string, data any, wrong formErrors) error {
	page := view{
		v: v, D: data, Site: v.site, Lang: v.lang, Languages: domain.Languages, Me: v.session,
		Path: v.r.URL.RequestURI(), Errors: wrong, Menu: v.menu(), Theme: v.theme(),
	}
	if page.Site.Name == "" {
		page.Site.Name = "SecBoard"
	}
	page.Notice, _ = url.QueryUnescape(v.takeCookie(noticeCookie)) //nolint:errcheck // then there is no notice
	var content bytes.Buffer
	if err := v.templates[v.texts.code].ExecuteTemplate(&content, name, page); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	header := v.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", v.texts.code)
	v.w.WriteHeader(status)
	return v.write(content.Bytes())
}

// write answers; a client that went away is no error.
func (v *visit) write(content []byte) error {
	if _, err := v.w.Write(content); err != nil {
		slog.DebugContext(v.context(), "the client went away", "error", err)
	}
	return nil
}

// parseTemplates reads all templates, with the texts of one language.
func (c *Console) parseTemplates(code string) (*template.Template, error) {
	t := c.texts[code]
	return template.New("").Funcs(template.FuncMap{
		"t": t.text, "h": t.html, "number": t.number, "asset": c.assets.path,
		"icon": c.icon, "flag": c.flag, "logo": func() template.HTML { return c.picture("mark", "logo", nil) },
		"moment": func(at time.Time) template.HTML { return c.moment(t, at) },
		"date":   func(at time.Time) string { return t.day(at.In(c.zone.Load())) },
		"day":    t.dayOf,
		"languageName": func(code string) string {
			return languageNames[code]
		},
		"initials": initials, "emailParts": emailParts, "client": func(agent string) string {
			return cmp.Or(clientName(agent), t.text("client.unknown"))
		},
		"dict": dict, "list": func(values ...any) []any { return values }, "join": strings.Join,
		"add": func(a, b int) int { return a + b },
	}).ParseFS(templateFiles, "templates/*.html")
}

// dict makes the data of a template that takes several values.
func dict(pairs ...any) map[string]any {
	values := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return values
}

// icon is a picture beside a word.
func (c *Console) icon(name string, classes ...string) template.HTML {
	return c.picture("icon", name, classes)
}

func (c *Console) flag(language string) template.HTML {
	return c.picture("flag", "flag-"+language, nil)
}

func (c *Console) picture(kind, name string, classes []string) template.HTML {
	sprite := c.assets.named["sprite.svg"]
	//nolint:gosec // names are ours
	return template.HTML(`<svg class="` + strings.Join(append([]string{kind}, classes...), " ") +
		`" aria-hidden="true"><use href="/console/` + sprite + `#` + template.HTMLEscapeString(name) + `"/></svg>`)
}

// moment is a time in the site's zone; UTC stands in its title.
func (c *Console) moment(t *texts, at time.Time) template.HTML {
	if at.IsZero() {
		return ""
	}
	utc := at.UTC().Format(time.RFC3339)
	local := at.In(c.zone.Load())
	//nolint:gosec // a time and the names of months
	return template.HTML(`<time datetime="` + utc + `" title="` + utc + `" class="nowrap">` +
		template.HTMLEscapeString(t.day(local)+", "+local.Format("15:04")) + `</time>`)
}

// day writes a day such as 27 Nov 2026.
func (t *texts) day(at time.Time) string {
	return fmt.Sprintf("%d %s %d", at.Day(), t.text("month."+strconv.Itoa(int(at.Month()))), at.Year())
}

// dayOf writes a day that is given as 2026-11-27; "" for none.
func (t *texts) dayOf(date string) string {
	at, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return t.day(at)
}

// initials stand in place of a photo.
func initials(name string) string {
	var letters []rune
	for word := range strings.FieldsSeq(name) {
		if len(letters) < 2 {
			letters = append(letters, []rune(strings.ToUpper(word))[0])
		}
	}
	return string(letters)
}

// emailParts are the parts of an address between which a line may break.
func emailParts(email string) []string {
	if at := strings.LastIndex(email, "@"); at > 0 {
		return []string{email[:at], email[at:]}
	}
	return []string{email}
}

// clientName names browser and system of a user agent, such as Chrome, Windows; else the program's own name.
func clientName(agent string) string {
	find := func(pairs ...string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if strings.Contains(agent, pairs[i]) {
				return pairs[i+1]
			}
		}
		return ""
	}
	browser := find("Edg/", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "Chrome/", "Chrome", "Safari/", "Safari")
	system := find("Windows", "Windows", "iPhone", "iPhone", "iPad", "iPad", "Android", "Android", "Mac OS X", "macOS",
		"Linux", "Linux")
	switch {
	case browser != "" && system != "":
		return browser + ", " + system
	case browser != "":
		return browser
	}
	name, _, _ := strings.Cut(agent, "/")
	return name
}
