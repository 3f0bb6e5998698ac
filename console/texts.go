package console

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed texts
var textFiles embed.FS

// languageNames are how languages call themselves.
var languageNames = map[string]string{"en": "English", "uk": "Українська", "ru": "Русский"}

// texts is the catalogue of one language: whole sentences with places such as {name}. A text that depends on the number
// in {n} has a form for each plural of the language.
type texts struct {
	code    string
	tag     language.Tag
	printer *message.Printer
	entries map[string]entry
}

// entry is one text: Other alone, or the forms of its plurals.
type entry struct{ One, Few, Many, Other string }

// UnmarshalJSON reads a text, or an object of plural forms.
func (e *entry) UnmarshalJSON(content []byte) error {
	if content[0] == '"' {
		return json.Unmarshal(content, &e.Other)
	}
	type forms entry
	return json.Unmarshal(content, (*forms)(e))
}

func loadTexts(code string) (*texts, error) {
	content, err := textFiles.ReadFile("texts/" + code + ".json")
	if err != nil {
		return nil, err
	}
	tag := language.Make(code)
	t := &texts{code: code, tag: tag, printer: message.NewPrinter(tag)}
	if err := json.Unmarshal(content, &t.entries); err != nil {
		return nil, fmt.Errorf("texts/%s.json: %w", code, err)
	}
	return t, nil
}

// has says whether there is a text for a key.
func (t *texts) has(key string) bool {
	_, ok := t.entries[key]
	return ok
}

// form is the text for a key in the form that its number asks for. A key without a text is its own text: a test makes
// sure that this does not happen.
func (t *texts) form(key string, values []any) string {
	found, ok := t.entries[key]
	if !ok {
		return key
	}
	for i := 0; i+1 < len(values); i += 2 {
		n, isInt := values[i+1].(int)
		if values[i] != "n" || !isInt {
			continue
		}
		forms := map[plural.Form]string{plural.One: found.One, plural.Few: found.Few, plural.Many: found.Many}
		if chosen := forms[plural.Cardinal.MatchPlural(t.tag, n, 0, 0, 0, 0)]; chosen != "" {
			return chosen
		}
	}
	return found.Other
}

// text gives the text for a key; values are pairs of a place's name and what stands there.
func (t *texts) text(key string, values ...any) string {
	return t.fill(t.form(key, values), values, t.plain)
}

// html is text whose places are bold, or what HTML they hold.
func (t *texts) html(key string, values ...any) template.HTML {
	//nolint:gosec // the text and what is filled in are escaped
	return template.HTML(t.fill(template.HTMLEscapeString(t.form(key, values)), values, func(value any) string {
		if made, ok := value.(template.HTML); ok {
			return string(made)
		}
		return "<b>" + template.HTMLEscapeString(t.plain(value)) + "</b>"
	}))
}

func (t *texts) fill(text string, values []any, show func(any) string) string {
	if len(values) == 0 {
		return text
	}
	pairs := make([]string, 0, len(values))
	for i := 0; i+1 < len(values); i += 2 {
		pairs = append(pairs, fmt.Sprintf("{%v}", values[i]), show(values[i+1]))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (t *texts) plain(value any) string {
	if n, ok := value.(int); ok {
		return t.number(n)
	}
	return fmt.Sprint(value)
}

// number is written as the language does: 3,156 or 3 156.
func (t *texts) number(n int) string { return t.printer.Sprintf("%d", n) }
