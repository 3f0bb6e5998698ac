// Package console is the web console: pages for administrators, auditors and everybody with an account, made on the
// server from templates. It is a client of the HTTP API, whose handler it calls in process with the person's session:
// permissions, validation and history have one gate. Every task works without JavaScript.
package console

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/secboard/secboard/domain"
)

// Options of the console. API must be given.
type Options struct {
	API http.Handler     // the HTTP API, which answers below /api/v1
	Now func() time.Time // nil: time.Now
}

// Console answers with pages. It keeps nothing between requests but what is made once from its files.
type Console struct {
	Options
	mux       *http.ServeMux
	texts     map[string]*texts             // by language
	templates map[string]*template.Template // by language
	assets    assets
	zone      atomic.Pointer[time.Location] // of the site, as the last answer of the API had it
}

// New makes the console's handler. It fails on options that are missing.
func New(options Options) (http.Handler, error) {
	if options.API == nil {
		return nil, errors.New("console: API must be given")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	c := &Console{Options: options, mux: http.NewServeMux(), texts: map[string]*texts{},
		templates: map[string]*template.Template{}}
	c.zone.Store(time.UTC)
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	for _, language := range domain.Languages {
		if c.texts[language], err = loadTexts(language); err != nil {
			return nil, err
		}
		if c.templates[language], err = c.parseTemplates(language); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
	}
	c.routes()
	compress, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	return compress(c.mux), nil
}

// routes has every address of the console. Who may see what is said by the API alone.
func (c *Console) routes() {
	c.mux.Handle("GET /console/", http.StripPrefix("/console/", c.assets))
	c.addSignIn()
	c.addLinks()
	c.addPersonal()
	c.page("GET /{$}", (*visit).home)
	c.mux.Handle("/", c.handler(door, (*visit).nothing))
}

// home is where people begin.
func (v *visit) home() error { return v.show("home.html", nil) }

// nothing is the page of an address that there is not.
func (v *visit) nothing() error {
	return &problem{Status: http.StatusNotFound, Code: domain.CodeNotFound}
}
