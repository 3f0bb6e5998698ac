package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections"
)

// Every operation that there is refuses whoever is not signed in and whoever lacks just the permission that it needs,
// and lets the others through.
func TestEveryOperationRefusesTheWrongPerson(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	missing := uuid.NewString()
	path := strings.NewReplacer("{id}", missing, "{role_id}", missing, "{group_id}", missing, "{key}", "risks",
		"{token}", "made-up")
	_, everybody := a.person(t, "everything@example.com", everything())
	tokens := map[permission]string{}
	lacking := func(t *testing.T, p permission) string {
		t.Helper()
		if tokens[p] == "" {
			_, tokens[p] = a.person(t, p.String()+"@example.com", without(p.module, p.action))
		}
		return tokens[p]
	}
	_, nothing := a.person(t, "nothing@example.com", nil)

	if len(a.routes) == 0 {
		t.Fatalf("a.routes = %v, want something", a.routes)
	}
	for _, o := range a.routes {
		t.Run(o.id, func(t *testing.T) {
			call := func(token, suffix string) answered {
				return a.call(t, token, o.method, path.Replace(o.path)+suffix, nil)
			}
			if o.required.public {
				if got := []string{"unauthenticated", "forbidden"}; slices.Contains(got, call("", "").text("code")) {
					t.Errorf("%v contains %v", got, call("", "").text("code"))
				}
				return
			}
			stranger := call("", "")
			if stranger.status != http.StatusUnauthorized {
				t.Errorf("%s: got %v, want %v", stranger, stranger.status, http.StatusUnauthorized)
			}
			if got := stranger.header.Get("WWW-Authenticate"); got == "" {
				t.Errorf("WWW-Authenticate = %q, want something", got)
			}
			if got := call("made-up", "").status; got != http.StatusUnauthorized {
				t.Errorf("got %v, want %v", got, http.StatusUnauthorized)
			}
			for _, p := range o.required.permissions {
				for _, token := range []string{lacking(t, p), nothing} {
					refused := call(token, "")
					if refused.status != http.StatusForbidden {
						t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusForbidden)
					}
					if got := refused.text("code"); got != "forbidden" {
						t.Errorf(`code = %q, want "forbidden"`, got)
					}
				}
				if got := call(lacking(t, p), "").text("detail"); !strings.Contains(got, p.String()) {
					t.Errorf("%q lacks %q", got, p.String())
				}
			}
			if o.id == "sign-out" {
				return // it would end the session that the rest needs
			}
			if o.required.superuser {
				refused := call(everybody, "")
				if refused.status != http.StatusForbidden {
					t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusForbidden)
				}
				superuser := call(a.admin, "")
				if expected := []int{http.StatusUnauthorized, http.StatusForbidden}; slices.Contains(expected,
					superuser.status) {
					t.Errorf("%s: got %v", superuser, superuser.status)
				}
				return
			}
			right := call(everybody, "")
			if expected := []int{http.StatusUnauthorized, http.StatusForbidden}; slices.Contains(expected,
				right.status) {
				t.Errorf("%s: got %v", right, right.status)
			}
			if right.status >= http.StatusInternalServerError {
				t.Errorf("%s: got %v, want less than %v", right, right.status, http.StatusInternalServerError)
			}
		})
	}

	t.Log("the past needs audit.view too")
	withoutAudit := lacking(t, permission{"audit", domain.View})
	pasts := 0
	for _, o := range a.routes {
		past := path.Replace(o.path)
		for _, parameter := range a.documented(o.method, o.path).Parameters {
			if parameter.Name == "as_of" {
				past += "?as_of=2090-01-01"
			}
		}
		if o.method != http.MethodGet || past == path.Replace(o.path) && !strings.HasSuffix(past, "/history") {
			continue
		}
		pasts++
		t.Run(o.id+" in the past", func(t *testing.T) {
			refused := a.call(t, withoutAudit, o.method, past, nil)
			if refused.status != http.StatusForbidden {
				t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusForbidden)
			}
			if got := refused.text("detail"); !strings.Contains(got, "audit.view") {
				t.Errorf(`%q lacks "audit.view"`, got)
			}
		})
	}
	if pasts <= 10 {
		t.Errorf("pasts = %v, want more than 10", pasts)
	}
	if got := a.call(t, withoutAudit, http.MethodGet, "/companies/"+company, nil).status; got != http.StatusOK {
		t.Errorf("got %v, want %v", got, http.StatusOK)
	}
	for name, past := range map[string]string{
		"a company": "/companies/" + company + "?as_of=2090-01-01", "a module": "/modules/users?as_of=2090-01-01",
	} {
		t.Run("the past of "+name, func(t *testing.T) {
			refused := a.call(t, withoutAudit, http.MethodGet, past, nil)
			if refused.status != http.StatusForbidden {
				t.Errorf("refused.status = %v, want %v", refused.status, http.StatusForbidden)
			}
			if got := refused.text("detail"); !strings.Contains(got, "audit.view") {
				t.Errorf(`%q lacks "audit.view"`, got)
			}
			if got := a.call(t, everybody, http.MethodGet, past, nil).status; got != http.StatusOK {
				t.Errorf("with the permission: got %v, want %v", got, http.StatusOK)
			}
		})
	}
}

// What the commands decide about people reaches the client as a 403 that says why.
func TestNobodyGivesMoreThanHeHas(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	own, token := a.person(t, "clerk@example.com",
		domain.Permissions{"users": {View: true, Add: true, Edit: true}, "groups": {View: true, Edit: true, Add: true}})
	strong := a.create(t, "/groups",
		map[string]any{"name": "Strong", "permissions": map[string]any{"settings": map[string]any{"edit": true}}})
	weak := a.create(t, "/groups",
		map[string]any{"name": "Weak", "permissions": map[string]any{"users": map[string]any{"view": true}}})

	for name, forbidden := range map[string]struct {
		method, path string
		body         any
	}{
		"creating a superuser": {
			http.MethodPost, "/users", map[string]any{"email": "a@example.com", "superuser": true},
		},
		"creating a member of a stronger group": {
			http.MethodPost, "/users", map[string]any{"email": "a@example.com", "group_ids": []string{strong}},
		},
		"joining a stronger group": {http.MethodPut, "/users/" + own.String() + "/groups/" + strong, nil},
		"becoming a superuser": {
			http.MethodPatch, "/users/" + own.String(), map[string]any{"superuser": true},
		},
		"the address of a superuser": {
			http.MethodPatch, "/users/" + a.adminID.String(), map[string]any{"email": "mine@example.com"},
		},
		"making a group stronger": {http.MethodPatch, "/groups/" + weak,
			map[string]any{"permissions": map[string]any{"settings": map[string]any{"edit": true}}}},
	} {
		t.Run(name, func(t *testing.T) {
			refused := a.call(t, token, forbidden.method, forbidden.path, forbidden.body)
			if refused.status != http.StatusForbidden {
				t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusForbidden)
			}
		})
	}
	allowed := a.call(t, token, http.MethodPut, "/users/"+own.String()+"/groups/"+weak, nil)
	if allowed.status != http.StatusOK {
		t.Errorf("%v: got %v, want %v", allowed, allowed.status, http.StatusOK)
	}
}

func TestAnOperationWithoutARequirementNeverServes(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	defer func() {
		if said := recover(); said != "no requirement declared for GET /secrets" {
			t.Errorf("it said %v", said)
		}
	}()
	register(a.server, operation{method: http.MethodGet, path: "/secrets"},
		func(context.Context, *getRequest) (*one[projections.User], error) { return nil, nil })
}

// Routes that were added behind register's back would not be checked by the test above.
func TestNoRouteBypassesRegister(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	registered := map[string]bool{}
	for _, o := range a.routes {
		registered[o.method+" "+basePath+strings.NewReplacer("{", ":", "}", "").Replace(o.path)] = true
	}
	var open []string
	for _, route := range a.engine.Routes() {
		if !registered[route.Method+" "+route.Path] {
			open = append(open, route.Method+" "+route.Path)
		}
	}
	var known []string
	for _, path := range []string{
		"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/page.css",
	} {
		known = append(known, "GET "+path, "HEAD "+path)
	}
	if diff := cmp.Diff(known, open, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
}

func TestClientAddressAndSchemeBehindProxies(t *testing.T) {
	t.Parallel()
	a := startAPI(t, trusting("10.0.0.0/8", "127.0.0.0/8"))
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		ip        string
	}{
		"not a proxy of ours":           {"198.51.100.1:1234", []string{"203.0.113.1"}, "198.51.100.1"},
		"a proxy":                       {"10.1.2.3:1234", []string{"203.0.113.1"}, "203.0.113.1"},
		"two proxies and a lie":         {"10.1.2.3:1234", []string{"6.6.6.6, 203.0.113.1, 10.9.9.9"}, "203.0.113.1"},
		"a proxy that adds a line":      {"10.1.2.3:1234", []string{"6.6.6.6", "203.0.113.1"}, "203.0.113.1"},
		"a client in a trusted network": {"10.1.2.3:1234", []string{"10.7.7.7"}, "10.7.7.7"},
		"one that lies":                 {"10.1.2.3:1234", []string{"10.6.6.6, 10.7.7.7"}, "10.7.7.7"},
		"one that lies in two lines":    {"10.1.2.3:1234", []string{"10.6.6.6", "10.5.5.5", "10.7.7.7"}, "10.7.7.7"},
		"garbage before a proxy":        {"10.1.2.3:1234", []string{"garbage, 10.9.9.9"}, "10.9.9.9"},
		"an empty hop":                  {"10.1.2.3:1234", []string{"203.0.113.1, "}, "10.1.2.3"},
		"no address":                    {"10.1.2.3:1234", []string{"garbage"}, "10.1.2.3"},
		"IPv6 with a port":              {"10.1.2.3:1234", []string{"[2001:db8::7]:99"}, "2001:db8::7"},
		"a proxy as IPv4 in IPv6":       {"[::ffff:10.1.2.3]:1234", []string{"203.0.113.1"}, "203.0.113.1"},
		"a Unix socket":                 {"@", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			request.RemoteAddr, request.Header["X-Forwarded-For"] = c.remote, c.forwarded
			request.Header.Set("X-Forwarded-Proto", "https")
			ip, https := a.clientOf(request)
			if ip != c.ip {
				t.Errorf("got %q, want %q", ip, c.ip)
			}
			if https != strings.Contains(c.remote, "10.") {
				t.Errorf("got %v, want %v", https, strings.Contains(c.remote, "10."))
			}
		})
	}
}
