package httpapi

import (
	"context"
	"net/http"
)

// PublicSite is what pages for people who are not signed in need to know.
type PublicSite struct {
	Name            string `json:"name"`
	DefaultLanguage string `json:"default_language" doc:"Language of pages for people who chose none"`
	TimeZone        string `json:"time_zone" doc:"Zone in which pages show times, such as Europe/Kyiv"`
}

// siteOfSession adds what is for people of the house only.
type siteOfSession struct {
	PublicSite
	DefaultEmail *string `json:"default_email" doc:"Whom to ask for help; null: nobody is named"`
}

type publicSiteAnswer struct{ Body PublicSite }

// addSite adds what a page needs before somebody is signed in.
func (s *server) addSite() {
	register(s, operation{
		method: http.MethodGet, path: "/site", id: "site", tag: "Signing in", required: anybody,
		summary: "Name, language and time zone of the installation",
	}, func(ctx context.Context, _ *struct{}) (*publicSiteAnswer, error) {
		site, err := s.siteOf(ctx)
		return &publicSiteAnswer{Body: site.PublicSite}, err
	})
}

func (s *server) siteOf(ctx context.Context) (siteOfSession, error) {
	site, err := s.ReadModels.Site(ctx)
	return siteOfSession{
		PublicSite:   PublicSite{Name: site.Name, DefaultLanguage: site.DefaultLanguage, TimeZone: site.TimeZone},
		DefaultEmail: site.DefaultEmail,
	}, err
}
