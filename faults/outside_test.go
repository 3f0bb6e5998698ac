//go:build linux

package faults

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/pause"
)

// The promises to whoever is outside, and how much longer things may take beside other tests; see within.
const (
	toldWithin = 2 * time.Second // from the moment when a part fails, and for each answer from then on
	backWithin = 5 * time.Second // from the moment when the part is back
	slack      = 3
)

// outage is one way in which a part is away.
type outage struct {
	name     string
	part     *part
	readyz   string // its name at /readyz
	queries  int    // status of queries meanwhile
	begin    func() error
	end      func() error
	measured struct{ told, slowest, back time.Duration }
}

// TestAPartThatIsAwayIsToldAtOnce takes the event store and Postgres away in several ways and looks at what clients
// see: 503 with a reason in time, queries as long as Postgres is there, /readyz that names the part, and no restart
// needed.
func TestAPartThatIsAwayIsToldAtOnce(t *testing.T) {
	t.Parallel()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, binary, 1)
	n := w.nodes[0]
	process := n.process.Pid
	l := newLedger()
	c := newClient("http://"+n.front.address, l)
	c.patience = deadline
	c.mustSignIn(t)
	made, err := c.do(t.Context(), http.MethodPost, api+"/users", newAccount(), nil)
	// a machine too busy
	for err == nil && made.status == http.StatusServiceUnavailable && pause.For(t.Context(), time.Second) {
		made, err = c.do(t.Context(), http.MethodPost, api+"/users", newAccount(), nil)
	}
	if err != nil || made.status != http.StatusCreated {
		t.Fatal(err, made.status, string(made.raw))
	}
	var outages []*outage
	for _, away := range []struct {
		part    *part
		link    *link
		readyz  string
		queries int
	}{
		{w.store, n.toStore, "event_store", http.StatusOK},
		{w.database, n.toDatabase, "database", http.StatusServiceUnavailable},
	} {
		outages = append(outages,
			&outage{name: "killed", part: away.part, readyz: away.readyz, queries: away.queries,
				begin: succeeds(func() { away.part.kill(true) }), end: succeeds(away.part.start)},
			&outage{name: "frozen", part: away.part, readyz: away.readyz, queries: away.queries,
				begin: succeeds(away.part.freeze), end: succeeds(away.part.thaw)},
			&outage{name: "behind a black hole", part: away.part, readyz: away.readyz, queries: away.queries,
				begin: away.link.blackHole, end: away.link.heal},
		)
	}
	for _, o := range outages {
		o.check(t, n, c, made.text("id"))
		t.Logf("%s %s: told %s after it failed, slowest answer %s, normal %s after it was back", o.part.name, o.name,
			o.measured.told.Round(time.Millisecond), o.measured.slowest.Round(time.Millisecond),
			o.measured.back.Round(time.Millisecond))
	}
	if n.process.Pid != process {
		t.Errorf("%s was started again", n.name)
	}
	for _, violation := range l.violations {
		t.Error(violation)
	}
}

func newAccount() map[string]string {
	return map[string]string{"email": uuid.NewString() + "@example.com", "first_name": "Anna"}
}

func (o *outage) check(t *testing.T, n *instance, c *client, account string) {
	t.Helper()
	if err := o.begin(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*deadline)
	defer cancel()
	// What everybody may ask, one after the other, until all of it was asked after the outage was told.
	calls := []struct {
		what, method, path string
		body               func() any
		want               int
	}{
		{"command", http.MethodPost, api + "/users", func() any { return newAccount() }, http.StatusServiceUnavailable},
		{"change", http.MethodPatch, api + "/users/" + account, func() any {
			return map[string]string{"phone": uuid.NewString()}
		}, http.StatusServiceUnavailable},
		{"sign-in", http.MethodPost, api + "/sessions", func() any {
			return map[string]string{"email": rootEmail, "password": rootPassword}
		}, http.StatusServiceUnavailable},
		{"request for a link", http.MethodPost, api + "/password-resets", func() any {
			return map[string]string{"email": rootEmail}
		}, http.StatusServiceUnavailable},
		{"query", http.MethodGet, api + "/users/" + account, func() any { return nil }, o.queries},
		{"list", http.MethodGet, api + "/users", func() any { return nil }, o.queries},
	}
	for told := 0; told < 2; {
		for _, call := range calls {
			answer, err := c.do(ctx, call.method, call.path, call.body(), nil)
			if err != nil {
				t.Fatalf("%s %s: %s is not answered: %v", o.part.name, o.name, call.what, err)
			}
			o.measured.slowest = max(o.measured.slowest, answer.took)
			if !within(answer.took, toldWithin) {
				t.Errorf("%s %s: %s was answered after %s", o.part.name, o.name, call.what, answer.took)
			}
			switch since := time.Since(began); {
			case answer.status == call.want:
			case answer.status < http.StatusInternalServerError && within(since, toldWithin):
				// it may have been carried out just before
			case answer.status == http.StatusServiceUnavailable && slowness() > slack:
				// No limit of the server's own can be kept by anybody. What has to be answered is asked again.
				pause.For(ctx, time.Second)
			default:
				t.Errorf("%s %s: %s was answered %d %s after %s, want %d", o.part.name, o.name, call.what,
					answer.status, answer.raw, since, call.want)
			}
			if answer.status == http.StatusServiceUnavailable && o.measured.told == 0 {
				o.measured.told = time.Since(began)
			}
		}
		if o.measured.told != 0 {
			told++
		}
		if time.Since(began) > deadline/2 {
			t.Fatalf("%s %s: no command is answered 503", o.part.name, o.name)
		}
	}
	if !within(o.measured.told, toldWithin) {
		t.Errorf("%s %s: the first 503 came after %s", o.part.name, o.name, o.measured.told)
	}
	parts, err := status(ctx, "http://"+n.address+"/readyz")
	if err == nil {
		t.Errorf("%s %s: /readyz says ready", o.part.name, o.name)
	}
	named := false
	for _, p := range parts {
		named = named || (p.Name == o.readyz && !p.OK)
	}
	if !named {
		t.Errorf("%s %s: /readyz does not name %s: %v, %v", o.part.name, o.name, o.readyz, parts, err)
	}

	if err := o.end(); err != nil {
		t.Fatal(err)
	}
	if err := o.part.awaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	for {
		answer, err := c.do(ctx, http.MethodPost, api+"/users", newAccount(), nil)
		if err == nil && answer.status == http.StatusCreated {
			break
		}
		if !within(time.Since(back), backWithin) {
			t.Fatalf("%s %s: %s after it is back a command is answered %d %s, %v", o.part.name, o.name,
				time.Since(back), answer.status, answer.raw, err)
		}
		pause.For(ctx, 50*time.Millisecond)
	}
	if err := normal(ctx, n); err != nil {
		t.Error(err)
	}
	if o.measured.back = time.Since(back); !within(o.measured.back, backWithin) {
		t.Errorf("%s %s: it was normal only %s after it is back", o.part.name, o.name, o.measured.back)
	}
}
