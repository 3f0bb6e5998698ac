package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// shown is a page as a browser without JavaScript shows it.
type shown struct {
	v      *visitor
	status int
	header http.Header
	url    *url.URL // after redirects
	body   string
	root   *html.Node
}

func readPage(v *visitor, response *http.Response) (*shown, error) {
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	root, err := html.Parse(bytes.NewReader(body))
	return &shown{v: v, status: response.StatusCode, header: response.Header, url: response.Request.URL,
		body: string(body), root: root}, err
}

func (p *shown) String() string {
	return fmt.Sprintf("%d %s: %s", p.status, p.path(), textOf(p.find(func(n *html.Node) bool {
		return n.Data == "main"
	})))
}

// path is the address of the page, with its query.
func (p *shown) path() string { return p.url.RequestURI() }

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// textOf is what stands in a part of a page, with single spaces.
func textOf(n *html.Node) string {
	if n == nil {
		return ""
	}
	var text strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			text.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// all are the elements for which something holds.
func (p *shown) all(is func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			found = append(found, n)
		}
	}
	return found
}

func (p *shown) find(is func(*html.Node) bool) *html.Node {
	if found := p.all(is); len(found) > 0 {
		return found[0]
	}
	return nil
}

// heading is the title of the page's content.
func (p *shown) heading() string {
	return textOf(p.find(func(n *html.Node) bool { return n.Data == "h1" }))
}

// text is all that stands in the page's content.
func (p *shown) text() string {
	return textOf(p.find(func(n *html.Node) bool { return n.Data == "main" }))
}

// has reports what the content lacks.
func (p *shown) has(texts ...string) *shown {
	p.v.Helper()
	for _, text := range texts {
		if !strings.Contains(p.text(), text) {
			p.v.Errorf("%q is not on the page: %s", text, p)
		}
	}
	return p
}

// lacks reports what the whole page has, but must not have.
func (p *shown) lacks(texts ...string) *shown {
	p.v.Helper()
	for _, text := range texts {
		if strings.Contains(p.body, text) {
			p.v.Errorf("%q is on the page: %s", text, p)
		}
	}
	return p
}

// is reports another status or heading.
func (p *shown) is(status int, heading string) *shown {
	p.v.Helper()
	if p.status != status || p.heading() != heading {
		p.v.Errorf("got %d %q, want %d %q: %s", p.status, p.heading(), status, heading, p)
	}
	return p
}

// wrong is what stands below a field that is wrong.
func (p *shown) wrong(field string) string {
	return textOf(p.find(func(n *html.Node) bool { return attribute(n, "id") == field+"-e" }))
}

// value is what stands in a field.
func (p *shown) value(field string) string {
	found := p.find(func(n *html.Node) bool { return attribute(n, "name") == field })
	if found == nil {
		p.v.Fatalf("there is no field %s: %s", field, p)
	}
	switch found.Data {
	case "textarea":
		return textOf(found)
	case "select":
		for option := range found.Descendants() {
			if option.Data == "option" && hasAttribute(option, "selected") {
				return attribute(option, "value")
			}
		}
		return ""
	}
	return attribute(found, "value")
}

// follow clicks on a link by its words.
func (p *shown) follow(text string) *shown {
	p.v.Helper()
	link := p.find(func(n *html.Node) bool { return n.Data == "a" && textOf(n) == text })
	if link == nil {
		p.v.Fatalf("there is no link %q: %s", text, p)
	}
	target, err := p.url.Parse(attribute(link, "href"))
	if err != nil {
		p.v.Fatal(err)
	}
	return p.v.open(target.RequestURI())
}

// send fills fields and clicks on a button by its words, in whatever form has it. fields are pairs of name and value;
// "-name" unticks a box, or the one with that value.
func (p *shown) send(button string, fields ...string) *shown {
	p.v.Helper()
	clicked := p.find(func(n *html.Node) bool { return n.Data == "button" && textOf(n) == button })
	if clicked == nil {
		p.v.Fatalf("there is no button %q: %s", button, p)
	}
	form := clicked
	for form != nil && form.Data != "form" {
		form = form.Parent
	}
	if id := attribute(clicked, "form"); id != "" {
		form = p.find(func(n *html.Node) bool { return n.Data == "form" && attribute(n, "id") == id })
	}
	if form == nil {
		p.v.Fatalf("the button %q is in no form: %s", button, p)
	}
	return p.sendForm(form, clicked, fields)
}

func (p *shown) sendForm(form, clicked *html.Node, fields []string) *shown {
	p.v.Helper()
	values := valuesOf(form)
	if name := attribute(clicked, "name"); name != "" {
		values.Add(name, attribute(clicked, "value"))
	}
	for pair := range slices.Chunk(fields, 2) {
		if name, untick := strings.CutPrefix(pair[0], "-"); untick {
			values[name] = slices.DeleteFunc(values[name], func(v string) bool { return pair[1] == "" || v == pair[1] })
			continue
		}
		if strings.HasPrefix(pair[0], "+") {
			values.Add(pair[0][1:], pair[1])
			continue
		}
		values.Set(pair[0], pair[1])
	}
	action := attribute(form, "action")
	if hasAttribute(clicked, "formaction") {
		action = attribute(clicked, "formaction")
	}
	target, err := p.url.Parse(action)
	if err != nil {
		p.v.Fatal(err)
	}
	if strings.ToLower(attribute(form, "method")) != "post" {
		target.RawQuery = values.Encode()
		return p.v.open(target.RequestURI())
	}
	var body bytes.Buffer
	contentType := "application/x-www-form-urlencoded"
	if attribute(form, "enctype") == "multipart/form-data" {
		contentType = p.multipart(&body, form, values)
	} else {
		body.WriteString(values.Encode())
	}
	request, err := http.NewRequestWithContext(p.v.Context(), http.MethodPost, target.String(), &body)
	if err != nil {
		p.v.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	return p.v.do(request)
}

func (p *shown) multipart(body *bytes.Buffer, form *html.Node, values url.Values) string {
	p.v.Helper()
	writer := multipart.NewWriter(body)
	for name, list := range values {
		for _, value := range list {
			var part io.Writer
			var err error
			if isFile(form, name) {
				part, err = writer.CreateFormFile(name, "file")
			} else {
				part, err = writer.CreateFormField(name)
			}
			if err == nil {
				_, err = io.WriteString(part, value)
			}
			if err != nil {
				p.v.Fatal(err)
			}
		}
	}
	if err := writer.Close(); err != nil {
		p.v.Fatal(err)
	}
	return writer.FormDataContentType()
}

func isFile(form *html.Node, name string) bool {
	for n := range form.Descendants() {
		if n.Data == "input" && attribute(n, "type") == "file" && attribute(n, "name") == name {
			return true
		}
	}
	return false
}

// valuesOf is what a browser would send of a form as it stands.
func valuesOf(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		name := attribute(n, "name")
		if n.Type != html.ElementNode || name == "" || hasAttribute(n, "disabled") {
			continue
		}
		switch kind := attribute(n, "type"); {
		case n.Data == "textarea":
			values.Add(name, textOf(n))
		case n.Data == "select":
			values.Add(name, chosen(n))
		case n.Data != "input" || kind == "file" || kind == "submit":
		case (kind == "checkbox" || kind == "radio") && !hasAttribute(n, "checked"):
		default:
			values.Add(name, attribute(n, "value"))
		}
	}
	return values
}

func chosen(choice *html.Node) string {
	first := ""
	for option := range choice.Descendants() {
		if option.Data != "option" {
			continue
		}
		if hasAttribute(option, "selected") {
			return attribute(option, "value")
		}
		if first == "" {
			first = attribute(option, "value")
		}
	}
	return first
}
