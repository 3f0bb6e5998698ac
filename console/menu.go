package console

import (
	"strings"

	"github.com/secboard/secboard/domain"
)

// menuSection is a heading of the menu with its pages. Sub is for a heading below another one.
type menuSection struct {
	Title string // key of the text; "" for none
	Sub   bool
	Items []menuItem
}

type menuItem struct {
	Path, Icon, Title string // Title is the key of the text
	Current           bool
}

// place is a page of the menu and the permission that shows it.
type place struct {
	path, icon, title string
	module            string // "": everybody
}

// places is the menu in its order.
var places = []struct {
	title string
	sub   bool
	items []place
}{
	{"", false, []place{{"/", "home", "menu.home", ""}}},
}

var personalPlaces = []place{
	{profilePage, "user", "personal.profile", ""},
	{settingsPage, "sliders", "personal.settings", ""},
	{accessPage, "key", "personal.access", ""},
}

// menu is what the person may see. Who administers nothing sees their own cabinet.
func (v *visit) menu() []menuSection {
	if v.session == nil || v.session.Limited {
		return nil
	}
	var sections []menuSection
	administers := false
	for _, section := range places {
		items := v.items(section.items)
		if len(items) == 0 {
			continue
		}
		administers = administers || section.title != ""
		sections = append(sections, menuSection{Title: section.title, Sub: section.sub, Items: items})
	}
	if !administers {
		sections = append(sections, menuSection{Title: "menu.personal", Items: v.items(personalPlaces)})
	}
	return sections
}

func (v *visit) items(all []place) []menuItem {
	var items []menuItem
	for _, p := range all {
		if p.module != "" && !v.may(p.module, domain.View) {
			continue
		}
		items = append(items, menuItem{Path: p.path, Icon: p.icon, Title: p.title, Current: v.isBelow(p.path)})
	}
	return items
}

// isBelow says whether this page is one of a place of the menu.
func (v *visit) isBelow(path string) bool {
	own := v.r.URL.Path
	return own == path || path != "/" && path != profilePage && strings.HasPrefix(own, path+"/")
}
