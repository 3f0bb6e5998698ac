package httpapi

import (
	"bytes"
	"cmp"
	_ "embed" // the page and its style
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

var (
	//go:embed docs/page.html
	docsPage string
	//go:embed docs/page.css
	docsStyle []byte
)

// addDocs serves the OpenAPI document, and a page made from it that needs no script and nothing from elsewhere.
func (s *server) addDocs() error {
	document := s.api.OpenAPI()
	describeSchemas(document)
	encoded, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("write the OpenAPI document: %w", err)
	}
	page, err := renderDocs(document)
	if err != nil {
		return fmt.Errorf("write the documentation: %w", err)
	}
	s.root("/openapi.json", func(c *gin.Context) { c.Data(http.StatusOK, "application/json", encoded) })
	s.root("/docs", func(c *gin.Context) {
		c.Header("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		c.Data(http.StatusOK, "text/html; charset=utf-8", page)
	})
	s.root("/docs/page.css", func(c *gin.Context) { c.Data(http.StatusOK, "text/css; charset=utf-8", docsStyle) })
	return nil
}

// docsCall is an operation with its place.
type docsCall struct {
	Method, Path string
	*huma.Operation
}

func renderDocs(document *huma.OpenAPI) ([]byte, error) {
	calls := map[string][]docsCall{}
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		item := document.Paths[path]
		for _, call := range []docsCall{
			{http.MethodGet, path, item.Get}, {http.MethodPost, path, item.Post}, {http.MethodPut, path, item.Put},
			{http.MethodPatch, path, item.Patch}, {http.MethodDelete, path, item.Delete},
		} {
			if call.Operation != nil {
				calls[call.Tags[0]] = append(calls[call.Tags[0]], call)
			}
		}
	}
	page, err := template.New("page").Funcs(template.FuncMap{
		"calls":     func(tag string) []docsCall { return calls[tag] },
		"typeOf":    typeName,
		"schemaOf":  func(s *huma.Schema) string { return strings.TrimPrefix(s.Ref, schemaPrefix) },
		"hasPrefix": strings.HasPrefix,
		"json": func(v any) (string, error) {
			text, err := json.MarshalIndent(v, "", "  ")
			return string(text), err
		},
		"sorted":     func(m map[string]*huma.Response) []string { return slices.Sorted(maps.Keys(m)) },
		"schemas":    func() map[string]*huma.Schema { return document.Components.Schemas.Map() },
		"isRequired": func(s *huma.Schema, name string) bool { return slices.Contains(s.Required, name) },
		"paragraphs": paragraphs,
	}).Parse(docsPage)
	if err != nil {
		return nil, err
	}
	var rendered bytes.Buffer
	err = page.Execute(&rendered, document)
	return rendered.Bytes(), err
}

// typeName says in short what a schema holds.
func typeName(s *huma.Schema) string {
	switch {
	case s == nil:
		return "anything"
	case s.Ref != "":
		return strings.TrimPrefix(s.Ref, schemaPrefix)
	case s.Type == huma.TypeArray:
		return "list of " + typeName(s.Items)
	}
	name := cmp.Or(s.Format, s.Type, "anything")
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
		name = "object of " + typeName(values)
	}
	if len(s.Enum) > 0 {
		name = strings.Trim(strings.Join(strings.Fields(fmt.Sprint(s.Enum)), " | "), "[]")
	}
	if s.Nullable {
		name += " or null"
	}
	return name
}

// docsText is a piece of a description: plain, code or strong.
type docsText struct{ Kind, Text string }

// paragraphs parts a description by empty lines, `code` and **strong**.
func paragraphs(description string) [][]docsText {
	var list [][]docsText
	for paragraph := range strings.SplitSeq(strings.TrimSpace(description), "\n\n") {
		var pieces []docsText
		for i, part := range strings.Split(paragraph, "`") {
			if i%2 == 1 {
				pieces = append(pieces, docsText{"code", part})
				continue
			}
			for j, text := range strings.Split(part, "**") {
				pieces = append(pieces, docsText{[]string{"plain", "strong"}[j%2], text})
			}
		}
		list = append(list, pieces)
	}
	return list
}
