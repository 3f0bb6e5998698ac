package console

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/secboard/secboard/domain"
)

const (
	profilePage  = "/me"
	settingsPage = "/me/settings"
	accessPage   = "/me/access"

	maxUpload = 12 << 20
)

// addPersonal adds the Personal Cabinet.
func (c *Console) addPersonal() {
	c.page("GET "+profilePage, func(v *visit) error { return v.show("personal-profile.html", v.session.User) })
	c.page("POST "+profilePage, (*visit).changeProfile)
	c.page("POST /me/photo", (*visit).changePhoto)
	c.page("POST /me/photo/remove", (*visit).removePhoto)
	c.page("GET /me/photo", (*visit).photo)
	c.page("GET "+settingsPage, (*visit).openSettings)
	c.page("POST /me/password", (*visit).changePassword)
	c.page("POST /me/backup-codes", (*visit).newBackupCodes)
	c.page("POST /me/two-factor/off", (*visit).switchTwoFactorOff)
	c.page("POST /me/sessions/end", (*visit).endOwnSessions)
	c.page("GET "+accessPage, (*visit).openAccess)
	c.mux.Handle("POST /preferences", c.handler(door, (*visit).prefer))
}

func (v *visit) changeProfile() error {
	changed := v.session.User
	changed.FirstName, changed.LastName, changed.Phone = v.field("first_name"), v.field("last_name"), v.field("phone")
	_, err := v.call(http.MethodPatch, "/me", map[string]any{
		"first_name": orNull(changed.FirstName), "last_name": orNull(changed.LastName), "phone": orNull(changed.Phone),
	})
	if wrong, ok := v.wrong(err); ok {
		return v.showWrong("personal-profile.html", changed, wrong)
	}
	if err != nil {
		return err
	}
	return v.goTo(profilePage, "done.saved")
}

// orNull is null for an empty text: it clears a field.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// uploaded is a file of the form that was sent; nil for none.
func (v *visit) uploaded(name string) ([]byte, error) {
	file, _, err := v.r.FormFile(name)
	if errors.Is(err, http.ErrMissingFile) {
		return nil, nil
	}
	if err != nil {
		return nil, &problem{Status: http.StatusBadRequest, Code: domain.CodeMalformed}
	}
	content, err := io.ReadAll(file)
	return content, errors.Join(err, file.Close())
}

func (v *visit) changePhoto() error {
	content, err := v.uploaded("photo")
	if err != nil {
		return err
	}
	if content == nil {
		return v.showWrong("personal-profile.html", v.session.User,
			formErrors{"photo": v.texts.text("wrong.photo.required")})
	}
	_, err = v.call(http.MethodPut, "/me/photo", &upload{http.DetectContentType(content), content})
	if statusOf(err) == http.StatusUnsupportedMediaType {
		return v.showWrong("personal-profile.html", v.session.User,
			formErrors{"photo": v.texts.text("wrong.photo.format")})
	}
	if wrong, ok := v.wrong(err); ok {
		if wrong["photo"] == "" {
			wrong["photo"] = wrong[""]
			delete(wrong, "")
		}
		return v.showWrong("personal-profile.html", v.session.User, wrong)
	}
	if err != nil {
		return err
	}
	return v.goTo(profilePage, "done.photo")
}

func (v *visit) removePhoto() error {
	if _, err := v.call(http.MethodDelete, "/me/photo", nil); err != nil {
		return err
	}
	return v.goTo(profilePage, "done.photo_removed")
}

// photo hands the person's own picture on.
func (v *visit) photo() error {
	answered, err := v.call(http.MethodGet, "/me/photo", nil)
	if err != nil {
		return err
	}
	for _, name := range []string{"Content-Type", "Cache-Control", "ETag"} {
		if value := answered.header.Get(name); value != "" {
			v.w.Header().Set(name, value)
		}
	}
	return v.write(answered.body.Bytes())
}

// personalSettings is the page Account Settings.
type personalSettings struct {
	User     account
	Sessions []accountSession
	Theme    string
	Language string
}

// accountSession is one of an account.
type accountSession struct {
	ID         string    `json:"id"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	IP         string    `json:"ip"`
	UserAgent  string    `json:"user_agent"`
	Limited    bool      `json:"limited"`
	Current    bool      `json:"current"`
}

// list is a page of one of the API.
type list[T any] struct {
	Items    []T    `json:"items"`
	Next     string `json:"next_cursor"`
	Previous string `json:"previous_cursor"`
}

func (v *visit) openSettings() error { return v.showSettings(nil) }

func (v *visit) showSettings(wrong formErrors) error {
	sessions, err := get[list[accountSession]](v, "/me/sessions")
	if err != nil {
		return err
	}
	shown := personalSettings{User: v.session.User, Sessions: sessions.Items, Language: v.lang}
	slices.SortStableFunc(shown.Sessions, func(a, b accountSession) int {
		switch {
		case a.Current:
			return -1
		case b.Current:
			return 1
		}
		return 0
	})
	shown.Theme = cmp.Or(v.theme(), "device")
	if wrong != nil {
		return v.showWrong("personal-settings.html", shown, wrong)
	}
	return v.show("personal-settings.html", shown)
}

func (v *visit) changePassword() error {
	password, wrong := v.newPassword()
	if wrong != nil {
		return v.showSettings(wrong)
	}
	_, err := v.call(http.MethodPut, "/me/password", map[string]string{
		"current_password": v.r.PostForm.Get("current_password"), "new_password": password,
	})
	if wrong, ok := v.wrong(err); ok {
		return v.showSettings(wrong)
	}
	if err != nil {
		return err
	}
	return v.goTo(settingsPage, "done.password_changed")
}

func (v *visit) newBackupCodes() error {
	answered, err := v.call(http.MethodPost, "/me/two-factor/backup-codes", nil)
	if err != nil {
		return err
	}
	codes, err := decode[newCodes](answered)
	if err != nil {
		return err
	}
	return v.show("backup-codes.html", codes)
}

func (v *visit) switchTwoFactorOff() error {
	_, err := v.call(http.MethodDelete, "/me/two-factor", map[string]string{"password": v.r.PostForm.Get("password")})
	if wrong, ok := v.wrong(err); ok {
		return v.showSettings(wrong)
	}
	if err != nil {
		return err
	}
	return v.goTo(settingsPage, "done.two_factor_off")
}

// endOwnSessions ends one session, or all but this one.
func (v *visit) endOwnSessions() error {
	path := "/me/sessions"
	if id := v.field("id"); id != "" {
		path += "/" + id
	}
	_, err := v.call(http.MethodDelete, path, nil)
	if err != nil && statusOf(err) != http.StatusNotFound {
		return err
	}
	return v.goTo(settingsPage, "done.sessions_ended")
}

// prefer keeps language and look: in the browser, and the language of somebody who is signed in with the account.
func (v *visit) prefer() error {
	if theme := v.field("theme"); slices.Contains([]string{"dark", "light", "device"}, theme) {
		age := 365 * 24 * time.Hour
		if theme == "device" {
			age = -time.Second
		}
		v.setCookie(themeCookie, theme, age)
	}
	if chosen := v.field("language"); slices.Contains(domain.Languages, chosen) {
		v.setCookie(languageCookie, chosen, 365*24*time.Hour)
		if v.session != nil && !v.session.Limited && v.session.User.Language != chosen {
			if _, err := v.call(http.MethodPatch, "/me", map[string]string{"language": chosen}); err != nil {
				return err
			}
		}
	}
	return v.goTo(localPath(v.field("next")), "")
}

// ownAccess is the page My access.
type ownAccess struct {
	User    account
	Modules []ownModule
	Roles   []ownRole
}

type ownRole struct {
	Name    string
	Widgets []string
}

// ownModule is what the person may do in one module.
type ownModule struct {
	Key, Name string
	Actions   []string
	Through   []string
}

// grant is one permission and where it comes from.
type grant struct {
	Module string `json:"module"`
	Action string `json:"action"`
	Via    []via  `json:"via"`
}

// via is one way in which an account has a permission.
type via struct {
	Kind           string    `json:"kind"`
	GroupID        string    `json:"group_id"`
	Name           string    `json:"name"`
	JoinedAt       time.Time `json:"joined_at"`
	JoinedBy       actor     `json:"joined_by"`
	EventID        string    `json:"event_id"`
	AllowedAt      time.Time `json:"allowed_at"`
	AllowedBy      actor     `json:"allowed_by"`
	AllowedEventID string    `json:"allowed_event_id"`
}

// actor is who did something.
type actor struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (v *visit) openAccess() error {
	own, err := get[struct {
		Items []grant `json:"items"`
	}](v, "/me/access")
	if err != nil {
		return err
	}
	modules, err := v.moduleNames()
	if err != nil {
		return err
	}
	widgets, err := get[list[struct {
		Name  string  `json:"name"`
		Roles []named `json:"roles"`
	}]](v, "/me/dashboard")
	if err != nil {
		return err
	}
	shown := ownAccess{User: v.session.User, Modules: v.byModule(own.Items, modules)}
	for _, role := range v.session.User.Roles {
		with := ownRole{Name: role.Name}
		for _, widget := range widgets.Items {
			if slices.Contains(widget.Roles, role) {
				with.Widgets = append(with.Widgets, widget.Name)
			}
		}
		shown.Roles = append(shown.Roles, with)
	}
	return v.show("personal-access.html", shown)
}

// byModule puts grants together that are for one module.
func (v *visit) byModule(grants []grant, names map[string]string) []ownModule {
	var modules []ownModule
	for _, g := range grants {
		if len(modules) == 0 || modules[len(modules)-1].Key != g.Module {
			modules = append(modules, ownModule{Key: g.Module, Name: names[g.Module]})
		}
		module := &modules[len(modules)-1]
		module.Actions = append(module.Actions, v.texts.text("action."+g.Action))
		for _, way := range g.Via {
			if way.Name != "" && !slices.Contains(module.Through, way.Name) {
				module.Through = append(module.Through, way.Name)
			}
		}
	}
	return modules
}

// module is one of the platform, or one of SecBoard's own.
type module struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	Own  bool   `json:"own"`
}

// modules lists them, SecBoard's own with their names in the person's language.
func (v *visit) modules() ([]module, error) {
	found, err := get[list[module]](v, "/modules")
	for i, m := range found.Items {
		if key := "module." + m.Key; m.Own && v.texts.has(key) {
			found.Items[i].Name = v.texts.text(key)
		}
	}
	return found.Items, err
}

func (v *visit) moduleNames() (map[string]string, error) {
	modules, err := v.modules()
	names := map[string]string{}
	for _, m := range modules {
		names[m.Key] = m.Name
	}
	return names, err
}
