//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

const api = "/api/v1"

// shared is what all workers may use: ids of what was acknowledged.
type shared struct {
	mu     sync.Mutex
	groups []string // without a company, never retired
	roles  []string // never retired
}

func (s *shared) add(list *[]string, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, id)
}

func (s *shared) pick(list *[]string, random *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(*list) == 0 {
		return ""
	}
	return (*list)[random.IntN(len(*list))]
}

// worker sends one command after the other. What it creates it alone changes, so it knows what it must find.
type worker struct {
	name    string
	random  *rand.Rand
	clients []*client
	ledger  *ledger
	shared  *shared
	pace    time.Duration
	guesses bool // it does nothing but sign in, with addresses that nobody has

	serial    int
	users     []string // its own, acknowledged
	companies []string
	roles     []string
	groups    []string
	emails    map[string]string // that an account was created with, by its id
}

// about makes an effect out of a function of one kind of state.
func about[S any](holds func(S) bool) func(any) bool {
	return func(state any) bool {
		typed, ok := state.(*S)
		return ok && holds(*typed)
	}
}

// run sends commands until ctx ends.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.step(ctx)
		pause.For(ctx, w.pace/2+time.Duration(w.random.Int64N(int64(w.pace))))
	}
}

// unique is a text that no other command uses.
func (w *worker) unique(prefix string) string {
	w.serial++
	return fmt.Sprintf("%s %s-%d", prefix, w.name, w.serial)
}

// email is mostly new, sometimes one that others want too, in any case of its letters.
func (w *worker) email() string {
	if w.random.IntN(6) == 0 {
		address := fmt.Sprintf("shared-%d@example.com", w.random.IntN(15))
		if w.random.IntN(2) == 0 {
			address = strings.ToUpper(address)
		}
		return address
	}
	return strings.ReplaceAll(w.unique("person"), " ", "-") + "@example.com"
}

func (w *worker) step(ctx context.Context) {
	n := w.random.IntN(100)
	if w.guesses {
		w.signIn(ctx, "")
		return
	}
	var own string
	if len(w.users) > 0 {
		own = w.users[w.random.IntN(len(w.users))]
	}
	switch {
	case n < 25 || own == "":
		w.createUser(ctx)
	case n < 42:
		w.changeUser(ctx, own)
	case n < 47:
		reason := w.unique("reason")
		w.act(ctx, "deactivate user", user.Kind, own, http.MethodPost, api+"/users/"+own+"/deactivate",
			map[string]string{"reason": reason},
			about(func(s user.State) bool { return !s.Active }))
	case n < 52:
		w.act(ctx, "activate user", user.Kind, own, http.MethodPost, api+"/users/"+own+"/activate", nil,
			about(func(s user.State) bool { return s.Active }))
	case n < 62:
		w.membership(ctx, own)
	case n < 66:
		w.organisation(ctx)
	case n < 71:
		w.rename(ctx)
	case n < 80:
		w.signIn(ctx, own)
	case n < 86:
		w.askForReset(ctx)
	case n < 92:
		w.importUsers(ctx)
	default:
		w.read(ctx, own)
	}
}

func (w *worker) createUser(ctx context.Context) {
	email, first, last := w.email(), w.unique("First"), w.unique("Last")
	body := map[string]any{"email": email, "first_name": first, "last_name": last, "active": w.random.IntN(5) > 0}
	groupID, roleID := w.shared.pick(&w.shared.groups, w.random), w.shared.pick(&w.shared.roles, w.random)
	if groupID != "" && roleID != "" && w.random.IntN(2) == 0 {
		body["group_ids"], body["role_ids"] = []string{groupID}, []string{roleID}
	} else {
		groupID, roleID = "", ""
	}
	active := body["active"] == true
	id := w.create(ctx, "create user", user.Kind, api+"/users", body, &w.users, about(func(s user.State) bool {
		return strings.EqualFold(s.Details.Email, email) && s.Details.FirstName == first &&
			s.Details.LastName == last && s.Active == active &&
			inState(s.Groups, groupID) && inState(s.Roles, roleID)
	}))
	w.emails[id] = email
}

// inState says whether an id is among those of a state; "" is nothing to look for.
func inState(held map[uuid.UUID]string, id string) bool {
	if id == "" {
		return true
	}
	_, found := held[uuid.MustParse(id)]
	return found
}

func (w *worker) changeUser(ctx context.Context, id string) {
	first, phone, position := w.unique("First"), w.unique("+380"), w.unique("Position")
	body := map[string]any{"first_name": first, "phone": phone, "position": position}
	email := ""
	if w.random.IntN(3) == 0 {
		email = w.email()
		body["email"] = email
	}
	w.act(ctx, "change user", user.Kind, id, http.MethodPatch, api+"/users/"+id, body, about(func(s user.State) bool {
		return s.Details.FirstName == first && s.Details.Phone == phone && s.Details.Position == position &&
			(email == "" || strings.EqualFold(s.Details.Email, email))
	}))
}

func (w *worker) membership(ctx context.Context, id string) {
	kind, other := "groups", w.shared.pick(&w.shared.groups, w.random)
	if w.random.IntN(2) == 0 {
		kind, other = "roles", w.shared.pick(&w.shared.roles, w.random)
	}
	if other == "" {
		return
	}
	method, joins := http.MethodPut, w.random.IntN(3) > 0
	if !joins {
		method = http.MethodDelete
	}
	w.act(ctx, method+" "+kind+" of user", user.Kind, id, method, api+"/users/"+id+"/"+kind+"/"+other, nil,
		about(func(s user.State) bool {
			held := s.Groups
			if kind == "roles" {
				held = s.Roles
			}
			return inState(held, other) == joins
		}))
}

func (w *worker) organisation(ctx context.Context) {
	switch w.random.IntN(3) {
	case 0:
		name := w.unique("Company")
		w.create(ctx, "create company", company.Kind, api+"/companies", map[string]any{"name": name}, &w.companies,
			about(func(s company.State) bool { return s.Name == name }))
	case 1:
		name := w.unique("Role")
		id := w.create(ctx, "create role", role.Kind, api+"/roles",
			map[string]any{"name": name, "widgets": []string{"map"}}, &w.roles,
			about(func(s role.State) bool { return s.Name == name }))
		if id != "" {
			w.shared.add(&w.shared.roles, id)
		}
	case 2:
		name := w.unique("Group")
		id := w.create(ctx, "create group", group.Kind, api+"/groups",
			map[string]any{"name": name, "permissions": map[string]any{"users": map[string]bool{"view": true}}},
			&w.groups,
			about(func(s group.State) bool { return s.Name == name && s.Permissions["users"].View }))
		if id != "" {
			w.shared.add(&w.shared.groups, id)
		}
	}
}

func (w *worker) rename(ctx context.Context) {
	switch kind := w.random.IntN(4); {
	case kind == 0 && len(w.companies) > 1:
		id := w.companies[w.random.IntN(len(w.companies))]
		if w.random.IntN(4) == 0 {
			w.companies = slices.DeleteFunc(w.companies, func(other string) bool { return other == id })
			w.act(ctx, "retire company", company.Kind, id, http.MethodPost, api+"/companies/"+id+"/retire", nil,
				about(func(s company.State) bool { return s.Retired }))
			return
		}
		name := w.unique("Company")
		w.act(ctx, "rename company", company.Kind, id, http.MethodPatch, api+"/companies/"+id,
			map[string]any{"name": name},
			about(func(s company.State) bool { return s.Name == name }))
	case kind <= 1 && len(w.roles) > 0:
		id, name := w.roles[w.random.IntN(len(w.roles))], w.unique("Role")
		w.act(ctx, "rename role", role.Kind, id, http.MethodPatch, api+"/roles/"+id, map[string]any{"name": name},
			about(func(s role.State) bool { return s.Name == name }))
	case len(w.groups) > 0:
		id, name, text := w.groups[w.random.IntN(len(w.groups))], w.unique("Group"), w.unique("Description")
		w.act(ctx, "change group", group.Kind, id, http.MethodPatch, api+"/groups/"+id,
			map[string]any{"name": name, "description": text},
			about(func(s group.State) bool { return s.Name == name && s.Description == text }))
	}
}

// signIn tries the superuser's password, a wrong one, an account without one, or none. The log of an account's sign-ins
// is the one where nothing but the ids of events keeps a repeated append from being recorded twice.
func (w *worker) signIn(ctx context.Context, account string) {
	email, password, right := rootEmail, rootPassword, w.random.IntN(2) == 0
	if !right {
		password = "wrong-" + w.unique("password")
	}
	switch {
	case w.guesses:
		email, right = w.unique("nobody")+"@example.com", false
		email = strings.ReplaceAll(email, " ", "-")
	case account != "" && w.random.IntN(10) > 0: // few are the superuser, who has a limit of attempts
		email, right = w.emails[account], false
	}
	r := w.begin("sign in", signin.Kind, "")
	r.writes = func(written []eventstore.Envelope) bool {
		succeeded, failed := 0, 0
		for _, e := range written {
			switch e.Event.(type) {
			case signin.Succeeded:
				succeeded++
			case signin.Failed:
				failed++
			}
		}
		if right {
			return succeeded == 1 && failed == 0
		}
		return succeeded == 0 && failed <= 1 // none while the account is locked out
	}
	c := *w.client()
	c.session, c.ip = nil, fmt.Sprintf("198.51.%d.%d", w.random.IntN(256), w.random.IntN(256))
	answer, err := c.do(ctx, http.MethodPost, api+"/sessions", map[string]string{"email": email, "password": password},
		map[string]string{"X-Request-ID": r.id.String()})
	w.judge(r, answer, err)
	if answer.code() == "invalid_credentials" && !right {
		r.outcome = done // the failure is recorded
	}
	w.ledger.add(r)
}

func (w *worker) askForReset(ctx context.Context) {
	r := w.begin("ask for reset", user.Kind, "")
	r.writes = func(written []eventstore.Envelope) bool { return len(written) <= 1 }
	r.mayChangeNothing = true
	c := *w.client()
	c.session, c.ip = nil, fmt.Sprintf("203.0.%d.%d", w.random.IntN(256), w.random.IntN(256))
	address := fmt.Sprintf("shared-%d@example.com", w.random.IntN(15))
	answer, err := c.do(ctx, http.MethodPost, api+"/password-resets", map[string]string{"email": address},
		map[string]string{"X-Request-ID": r.id.String()})
	w.judge(r, answer, err)
	w.ledger.add(r)
}

func (w *worker) importUsers(ctx context.Context) {
	r := w.begin("import users", user.Kind, "")
	r.mayChangeNothing = true
	var file strings.Builder
	file.WriteString("email,first_name\n")
	for range 3 + w.random.IntN(8) {
		email := w.email()
		r.emails = append(r.emails, strings.ToLower(email))
		fmt.Fprintf(&file, "%s,%s\n", email, w.unique("Imported"))
	}
	answer, sent := w.send(ctx, r, http.MethodPost, api+"/users/import", file.String())
	if sent && r.outcome == done {
		r.created = map[string]string{}
		lines, _ := answer.body["lines"].([]any)
		for _, line := range lines {
			line, _ := line.(map[string]any)
			id, _ := line["id"].(string)
			email, _ := line["email"].(string)
			switch line["status"] {
			case "created":
				r.created[id] = strings.ToLower(email)
			case "unchanged":
			case "failed":
				if !strings.Contains(fmt.Sprint(line["errors"]), "unavailable") &&
					!strings.Contains(fmt.Sprint(line["errors"]), "duplicate_line") {
					w.ledger.violate(fmt.Sprintf("a line of an import failed: %v", line))
				}
			default:
				w.ledger.violate(fmt.Sprintf("a line of an import is %v", line))
			}
		}
	}
	w.ledger.add(r)
}

// read asks for an account and its history; what is answered must be of it.
func (w *worker) read(ctx context.Context, id string) {
	c := w.client()
	paths := []string{"/users/" + id, "/users/" + id + "/history", "/users?limit=20", "/users/" + id + "?as_of=" +
		time.Now().UTC().Format(time.RFC3339)}
	// outages are expected; do looks at what is answered
	_, _ = c.do(ctx, http.MethodGet, api+paths[w.random.IntN(len(paths))], nil, nil)
}

func (w *worker) client() *client { return w.clients[w.random.IntN(len(w.clients))] }

func (w *worker) begin(what, kind, subject string) *record {
	return &record{id: uuid.Must(uuid.NewV7()), what: what, kind: kind, subject: subject, started: time.Now()}
}

// create carries out a command that starts an aggregate, and notes the new id among one's own.
func (w *worker) create(ctx context.Context, what, kind, path string, body any, own *[]string,
	holds func(any) bool) string {
	r := w.begin(what, kind, "")
	r.creates, r.holds = true, holds
	answer, sent := w.send(ctx, r, http.MethodPost, path, body)
	if sent && r.outcome == done {
		r.subject = answer.text("id")
		*own = append(*own, r.subject)
	}
	w.ledger.add(r)
	return r.subject
}

// act carries out a command on one's own aggregate.
func (w *worker) act(ctx context.Context, what, kind, id, method, path string, body any, holds func(any) bool) {
	r := w.begin(what, kind, id)
	r.holds, r.mayChangeNothing = holds, true
	w.send(ctx, r, method, path, body)
	w.ledger.add(r)
}

// send sends a command. Half of them have an Idempotency-Key, and are sent again, to any instance, until the outcome is
// known; and some of them once more after that, which must give the same answer.
func (w *worker) send(ctx context.Context, r *record, method, path string, body any) (reply, bool) {
	header := map[string]string{"X-Request-ID": r.id.String()}
	if w.random.IntN(5) == 0 {
		header["Prefer"] = "respond-async"
	}
	if w.random.IntN(2) == 0 {
		answer, err := w.client().do(ctx, method, path, body, header)
		w.judge(r, answer, err)
		return answer, err == nil
	}
	header["Idempotency-Key"] = r.id.String()
	open := false // whether an earlier try may have done it
	for tries := 0; ; tries++ {
		answer, err := w.client().do(ctx, method, path, body, header)
		w.judge(r, answer, err)
		switch {
		case r.code == "unauthenticated" && err == nil:
			r.outcome = unknown // the session has ended: the answer says nothing about the command, and is not kept
		case r.outcome == refused && open:
			r.outcome = unknown // what it needs has changed since
		}
		if r.outcome != unknown {
			if w.random.IntN(4) == 0 {
				w.repeat(ctx, r, answer, method, path, body, header)
			}
			return answer, true
		}
		open = true
		if tries == 40 || !pause.For(ctx, time.Duration(50+w.random.IntN(400))*time.Millisecond) {
			return answer, false
		}
	}
}

// repeat sends a command again whose outcome is known.
func (w *worker) repeat(ctx context.Context, r *record, first reply, method, path string, body any,
	header map[string]string) {
	again, err := w.client().do(ctx, method, path, body, header)
	if err != nil || again.status >= http.StatusInternalServerError || again.code() == "in_progress" ||
		again.status == http.StatusUnauthorized {
		return
	}
	if again.header.Get("Idempotency-Replayed") == "" {
		return // the first answer could not be kept; that the command is not carried out twice is seen in the log
	}
	if again.status != first.status || string(again.raw) != string(first.raw) {
		w.ledger.violate(fmt.Sprintf("%s %s: sent again with the same Idempotency-Key it was answered %d %s, and "+
			"first %d %s",
			r.what, r.id, again.status, again.raw, first.status, first.raw))
	}
}

// judge says what an answer tells about a command.
func (w *worker) judge(r *record, answer reply, err error) {
	r.status, r.code = answer.status, answer.code()
	switch {
	case err != nil || answer.status >= http.StatusInternalServerError || r.code == "in_progress":
		r.outcome = unknown
	case answer.status < http.StatusMultipleChoices:
		r.outcome, r.position = done, answer.position()
	default:
		r.outcome = refused
	}
}
