package processes

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/mailing/mailtest"
)

var tokenOf = regexp.MustCompile(`https://accounts\.example\.com/password_reset/([A-Za-z0-9_-]+)\?lang=(\w+)`)

// A reset mail arrives once, with a link that works, in the language of whoever asked, and leaves no token behind.
var messageID = regexp.MustCompile(`^<[0-9a-f-]{36}@accounts\.example\.com>$`)

func TestAResetMailArrivesOnceWithALinkThatWorks(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	o.person("olena@example.com")
	stop := o.start()
	o.askForReset("olena@example.com", "uk")
	mail := sink.Wait(t, 1)[0]
	link := tokenOf.FindStringSubmatch(mail.Part(t, "text/plain"))
	if link == nil {
		t.Fatalf("%s: got %v, want something", mail.Raw, link)
	}
	if link[2] != "uk" {
		t.Errorf(`link[2] = %q, want "uk"`, link[2])
	}
	if got := mail.Part(t, "text/html"); !strings.Contains(got, link[1]) {
		t.Errorf("%q lacks %q", got, link[1])
	}
	usable, err := o.ResetLinkUsable(t.Context(), link[1])
	if err != nil {
		t.Fatal(err)
	}
	if !usable {
		t.Error("not usable")
	}
	if mail.To != "olena@example.com" {
		t.Errorf(`mail.To = %q, want "olena@example.com"`, mail.To)
	}
	if mail.From != "accounts@example.com" {
		t.Errorf(`mail.From = %q, want "accounts@example.com"`, mail.From)
	}
	if got := mail.Header(t, "Subject"); got != "SecBoard: встановлення нового пароля" {
		t.Errorf(`mail.Header(t, "Subject") = %q, want %q`, got, "SecBoard: встановлення нового пароля")
	}
	if got := mail.Header(t, "From"); got != `SecBoard of Нова <accounts@example.com>` {
		t.Errorf(`mail.Header(t, "From") = %q, want %q`, got, `SecBoard of Нова <accounts@example.com>`)
	}
	if got := mail.Header(t, "Auto-Submitted"); got != "auto-generated" {
		t.Errorf(`mail.Header(t, "Auto-Submitted") = %q, want "auto-generated"`, got)
	}
	if id := mail.Header(t, "Message-ID"); !messageID.MatchString(id) {
		t.Errorf("Message-ID is %q", id)
	}
	_, err = http.ParseTime(mail.Header(t, "Date"))
	_, errRFC := time.Parse(time.RFC1123Z, mail.Header(t, "Date"))
	if err != nil && errRFC != nil {
		t.Errorf("%s", mail.Header(t, "Date"))
	}

	sent := o.settled(mailmessage.StateSent)[0]
	if sent.Attempts != 1 {
		t.Errorf("sent.Attempts = %v, want 1", sent.Attempts)
	}
	if sent.To != "olena@example.com" {
		t.Errorf(`sent.To = %q, want "olena@example.com"`, sent.To)
	}
	if sent.FinishedAt == nil {
		t.Errorf("sent.FinishedAt = %v, want something", sent.FinishedAt)
	}
	stop()
	// A process that starts again, even one whose checkpoint a restored database has put back, sends nothing again.
	_, err = o.pool.Exec(t.Context(), "UPDATE app.process_checkpoints SET position = 0")
	if err != nil {
		t.Fatal(err)
	}
	o.mail = o.newMail()
	stop = o.start()
	o.askForReset("olena@example.com", "ru")
	sink.Wait(t, 2)
	o.settled(mailmessage.StateSent, mailmessage.StateSent)
	stop()
	if got := sink.Taken(); len(got) != 2 {
		t.Errorf("sink.Taken() has %d elements, want 2: %v", len(got), got)
	}
	if got := o.log.String(); strings.Contains(got, link[1]) {
		t.Errorf("%q contains %q", got, link[1])
	}
	for recorded, err := range o.Log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if got := string(recorded.Data); strings.Contains(got, link[1]) {
			t.Errorf("%q contains %q", got, link[1])
		}
	}
}

// What happened before the first start asks for nothing any more.
func TestTheFirstStartSendsNothingOfThePast(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	o.person("olena@example.com")
	o.askForReset("olena@example.com", "en")
	o.start()
	o.askForReset("olena@example.com", "ru")
	sink.Wait(t, 1)
	if got := o.settled(mailmessage.StateSent)[0].Subject; !strings.Contains(got, "установка") {
		t.Errorf(`%q lacks "установка"`, got)
	}
}

func TestARefusalForNowIsTriedAgainAndOneForGoodIsNot(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	for _, name := range []string{"patient", "refused"} {
		o.person(name + "@example.com")
	}
	var asked atomic.Int64
	sink.Answer(func(m mailtest.Message) error {
		switch {
		case m.To == "refused@example.com":
			return mailtest.Refusal(550, "no such mailbox")
		case asked.Add(1) < 3:
			return mailtest.Refusal(451, "greylisted, come back later")
		}
		return nil
	})
	o.start()
	o.askForReset("patient@example.com", "en")
	o.eventually("the first attempt is put off", func() bool {
		list := o.messages()
		return len(list) == 1 && list[0].State == mailmessage.StateQueued && list[0].Attempts == 1
	})
	first := o.messages()[0]
	if first.LastError == nil {
		t.Fatalf("first.LastError = %v, want something", first.LastError)
	}
	if !strings.Contains(*first.LastError, "greylisted") {
		t.Errorf(`%q lacks "greylisted"`, *first.LastError)
	}
	if first.NextAttemptAt == nil {
		t.Fatalf("first.NextAttemptAt = %v, want something", first.NextAttemptAt)
	}
	o.pass(20 * time.Second)
	o.eventually("the second attempt is put off", func() bool { return o.messages()[0].Attempts == 2 })
	o.pass(40 * time.Second)
	if got := o.settled(mailmessage.StateSent)[0].Attempts; got != 3 {
		t.Errorf("o.settled(mailmessage.StateSent)[0].Attempts = %v, want 3", got)
	}
	if got := sink.Taken(); len(got) != 1 {
		t.Errorf("sink.Taken() has %d elements, want 1: %v", len(got), got)
	}

	o.askForReset("refused@example.com", "en")
	failed := o.settled(mailmessage.StateSent, mailmessage.StateFailed)[1]
	if failed.Attempts != 1 {
		t.Errorf("failed.Attempts = %v, want 1", failed.Attempts)
	}
	if !strings.Contains(*failed.LastError, "no such mailbox") {
		t.Errorf(`%q lacks "no such mailbox"`, *failed.LastError)
	}
	if failed.NextAttemptAt != nil {
		t.Errorf("failed.NextAttemptAt = %v, want nil", failed.NextAttemptAt)
	}
	sink.Answer(nil)
	retried, err := o.RetryMail(t.Context(), commands.Operator(), failed.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !retried.Changed {
		t.Error("not retried.Changed")
	}
	o.settled(mailmessage.StateSent, mailmessage.StateSent)
}

// A server that dies before it answers leaves the message in doubt: it is sent again, recognisable as a copy.
func TestADoubtfulMailIsSentAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	o.person("olena@example.com")
	var asked atomic.Int64
	sink.Answer(func(mailtest.Message) error {
		if asked.Add(1) == 1 {
			return mailtest.ErrDie
		}
		return nil
	})
	o.start()
	o.askForReset("olena@example.com", "en")
	o.eventually("it is in doubt", func() bool { list := o.messages(); return len(list) == 1 && list[0].Doubts == 1 })
	o.pass(20 * time.Second)
	sent := o.settled(mailmessage.StateSent)[0]
	if sent.Attempts != 2 {
		t.Errorf("sent.Attempts = %v, want 2", sent.Attempts)
	}
	taken := sink.Taken()
	if len(taken) != 2 {
		t.Fatalf("taken has %d elements, want 2: %v", len(taken), taken)
	}
	if got := taken[1].Header(t, "Message-ID"); got != taken[0].Header(t, "Message-ID") {
		t.Errorf(`taken[1].Header(t, "Message-ID") = %q, want %q`, got, taken[0].Header(t, "Message-ID"))
	}
	if got := taken[1].Header(t, "Date"); got != taken[0].Header(t, "Date") {
		t.Errorf(`taken[1].Header(t, "Date") = %q, want %q`, got, taken[0].Header(t, "Date"))
	}
}

func TestALinkThatHasExpiredIsNotSent(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.person("olena@example.com")
	stop := o.start()
	o.askForReset("olena@example.com", "en")
	o.eventually("without an account it waits", func() bool {
		list := o.messages()
		return len(list) == 1 && list[0].LastError != nil &&
			strings.Contains(*list[0].LastError, "no mail account is chosen for password_reset")
	})
	stop()
	o.siteAccount(sink)
	o.pass(signin.LinkLife)
	o.mail = o.newMail()
	o.start()
	abandoned := o.settled(mailmessage.StateAbandoned)[0]
	if !strings.Contains(*abandoned.LastError, "the link in it has expired") {
		t.Errorf(`%q lacks "the link in it has expired"`, *abandoned.LastError)
	}
	_, err := o.RetryMail(t.Context(), commands.Operator(), abandoned.ID)
	if err == nil || !strings.Contains(err.Error(), "link_expired") {
		t.Errorf(`%v does not say "link_expired"`, err)
	}
	if got := sink.Taken(); len(got) != 0 {
		t.Errorf("sink.Taken() = %v, want nothing", got)
	}
}

// A password set meanwhile makes the link useless, and another address must not get it.
func TestALinkOfNoUseIsNotSent(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.person("olena@example.com")
	o.start()
	o.askForReset("olena@example.com", "en")
	o.eventually("without an account it waits", func() bool {
		list := o.messages()
		return len(list) == 1 && list[0].Attempts == 1
	})
	id := o.messages()[0].UserID
	other := "hanna@example.com"
	_, err := o.ChangeUser(t.Context(), commands.Operator(), *id, commands.ChangeUser{Patch: user.Patch{Email: &other}})
	if err != nil {
		t.Fatal(err)
	}
	o.siteAccount(sink)
	o.pass(time.Minute)
	messages := o.settled(mailmessage.StateAbandoned, mailmessage.StateSent, mailmessage.StateSent)
	if !strings.Contains(*messages[0].LastError, "another e-mail address") {
		t.Errorf(`%q lacks "another e-mail address"`, *messages[0].LastError)
	}
	if diff := cmp.Diff([]string{"olena@example.com", "hanna@example.com"},
		[]string{sink.Taken()[0].To, sink.Taken()[1].To}, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("both addresses get a notice of the change (-want +got):\n%s", diff)
	}
}

// withSlowNotices is an office whose security notices go to a server that takes none until release is closed.
func withSlowNotices(t *testing.T) (o *office, slow, fast *mailtest.Sink, release chan struct{}) {
	t.Helper()
	o, slow, fast, release = newOffice(t), mailtest.NewSink(t), mailtest.NewSink(t), make(chan struct{})
	o.siteAccount(fast)
	notices := o.account(slow, "slow@example.com")
	_, err := o.SetMailRoute(t.Context(), commands.Operator(), settings.MailRoute{Feature: mailmessage.SecurityNotice},
		notices)
	if err != nil {
		t.Fatal(err)
	}
	slow.Answer(func(mailtest.Message) error { <-release; return nil })
	return o, slow, fast, release
}

// A slow server delays its own mail only, and gets no more than a few connections.
func TestASlowServerDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	o, slow, fast, release := withSlowNotices(t)
	id := o.person("olena@example.com")
	o.start()
	for i := range 6 { // a change each, of which both addresses get a notice
		address := fmt.Sprintf("olena%d@example.com", i)
		_, err := o.ChangeUser(t.Context(), commands.Operator(), id,
			commands.ChangeUser{Patch: user.Patch{Email: &address}})
		if err != nil {
			t.Fatal(err)
		}
	}
	o.eventually("all connections to the slow server are busy", func() bool { return slow.Most() == perServer })
	o.askForReset("olena5@example.com", "en")
	fast.Wait(t, 1)
	if got := slow.Taken(); len(got) != 0 {
		t.Errorf("slow.Taken() = %v, want nothing", got)
	}
	close(release)
	slow.Wait(t, 12)
	if got := slow.Most(); got > perServer {
		t.Errorf("slow.Most() = %v, want at most %v", got, perServer)
	}
}

// A long queue for one server is not held in memory, and what goes to another is found behind it.
func TestALongQueueKeepsNothingElseBack(t *testing.T) {
	t.Parallel()
	o, slow, fast, release := withSlowNotices(t)
	id := o.person("olena@example.com")
	o.mail.batch = 2
	const most = perServer + laneBatches*2
	var inHand atomic.Int64
	o.mail.Due = func(ctx context.Context, at time.Time, except []uuid.UUID, closed []mailmessage.Route,
		limit int) ([]mailmessage.Due, error) {
		inHand.Store(max(inHand.Load(), int64(len(except))))
		return o.readModels.DueMail(ctx, at, except, closed, limit)
	}
	o.start()
	for i := range most {
		address := fmt.Sprintf("olena%d@example.com", i)
		_, err := o.ChangeUser(t.Context(), commands.Operator(), id,
			commands.ChangeUser{Patch: user.Patch{Email: &address}})
		if err != nil {
			t.Fatal(err)
		}
	}
	o.eventually("all are queued", func() bool { return len(o.messages()) == 2*most })
	o.askForReset(fmt.Sprintf("olena%d@example.com", most-1), "en")
	fast.Wait(t, 1)
	if got := slow.Taken(); len(got) != 0 {
		t.Errorf("slow.Taken() = %v, want nothing", got)
	}
	if got := inHand.Load(); got > int64(most+1) {
		t.Errorf("and the one for the other server: got %v, want at most %v", got, int64(most+1))
	}
	close(release)
	slow.Wait(t, 2*most)
}

// Several instances share the work: each message is sent by one of them.
func TestTwoInstancesSendOnce(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	const people = 20
	for i := range people {
		o.person(fmt.Sprintf("person%d@example.com", i))
	}
	o.start()
	o.mail = o.newMail()
	o.start()
	states := make([]string, people)
	for i := range people {
		o.askForReset(fmt.Sprintf("person%d@example.com", i), "en")
		states[i] = mailmessage.StateSent
	}
	o.settled(states...)
	if got := sink.Taken(); len(got) != people {
		t.Errorf("sink.Taken() has %d elements, want %d: %v", len(got), people, got)
	}
}

// A stop finishes the message in hand; what waits is sent after the next start.
func TestAStopFinishesTheMessageInHand(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	o.person("olena@example.com")
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	sink.Answer(func(mailtest.Message) error {
		arrived <- struct{}{}
		<-release
		return nil
	})
	stop := o.start()
	o.askForReset("olena@example.com", "en")
	<-arrived
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	o.askForReset("olena@example.com", "en")
	close(release)
	<-stopped
	if got := sink.Taken(); len(got) != 1 {
		t.Fatalf("sink.Taken() has %d elements, want 1: %v", len(got), got)
	}
	o.settled(mailmessage.StateSent)
	o.mail = o.newMail()
	o.start()
	sink.Wait(t, 2)
	for _, m := range o.settled(mailmessage.StateSent, mailmessage.StateSent) {
		if m.Doubts != 0 {
			t.Errorf("m.Doubts = %v, want nothing", m.Doubts)
		}
	}
}

// An attempt of which nothing more was heard may have arrived: it is taken up when its time is over, and the doubt is
// kept.
func TestAnAttemptCutShortIsTakenUp(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.person("olena@example.com")
	stop := o.start()
	o.askForReset("olena@example.com", "en")
	o.settled(mailmessage.StateQueued)
	stop()
	account := o.siteAccount(sink)
	o.pass(time.Minute)
	m, err := o.MailOf(t.Context(), o.messages()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	attempt, started, err := o.BeginMail(t.Context(), m, account, o.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if !started {
		t.Fatal("not started")
	}
	_, started, err = o.BeginMail(t.Context(), m, account, o.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if started {
		t.Error("one at a time")
	}
	o.settled(mailmessage.StateSending)
	o.mail = o.newMail()
	o.start()
	o.askForReset("olena@example.com", "en")
	sink.Wait(t, 1)
	o.settled(mailmessage.StateSending, mailmessage.StateSent)
	o.pass(time.Minute)
	messages := o.settled(mailmessage.StateSent, mailmessage.StateSent)
	if diff := cmp.Diff([]int{1, attempt + 1}, []int{messages[0].Doubts, messages[0].Attempts}); diff != "" {
		t.Errorf("[]int{messages[0].Doubts, messages[0].Attempts} (-want +got):\n%s", diff)
	}
	// Whoever had begun it before can't end it any more.
	if err := o.EndMail(t.Context(), m, attempt, &mailmessage.Outcome{Reason: "late", Permanent: true}); err != nil {
		t.Fatal(err)
	}
	o.settled(mailmessage.StateSent, mailmessage.StateSent)
}

// While read models are built again, they show messages as they once were. None is sent again.
func TestARebuildSendsNothing(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	o.person("olena@example.com")
	o.start()
	states := make([]string, 4)
	for i := range states {
		o.askForReset("olena@example.com", "en")
		states[i] = mailmessage.StateSent
	}
	o.settled(states...)
	ids := map[uuid.UUID]bool{}
	for _, m := range o.messages() {
		ids[m.ID] = true
	}
	o.stopReadModels()
	_, err := o.pool.Exec(t.Context(), "UPDATE mail_messages SET state = 'queued', due_at = now() - interval '1 hour'")
	if err != nil {
		t.Fatal(err)
	}
	o.eventually("they are looked at", func() bool {
		due, err := o.readModels.DueMail(t.Context(), o.Now(), []uuid.UUID{}, nil, 10)
		return err == nil && len(due) == 4
	})
	_, err = o.pool.Exec(t.Context(), "TRUNCATE mail_messages, mail_accounts, mail_servers, history, history_hours; "+
		"UPDATE checkpoints SET position = 0, events = 0")
	if err != nil {
		t.Fatal(err)
	}
	o.runReadModels()
	o.settled(states...)
	for _, m := range o.messages() {
		if !ids[m.ID] {
			t.Error("not ids[m.ID]")
		}
	}
	o.askForReset("olena@example.com", "ru")
	sink.Wait(t, 5)
	o.settled(append(states, mailmessage.StateSent)...)
	if got := sink.Taken(); len(got) != 5 {
		t.Errorf("sink.Taken() has %d elements, want 5: %v", len(got), got)
	}
}

// In the demo, links are shown where no mail account can send them, and nothing is queued.
func TestLinksAreShownInTheDemo(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	id := o.person("olena@example.com")
	shown := make(chan string, 10)
	o.mail.ShowLink = func(_ context.Context, feature, to, url string) { shown <- feature + " " + to + " " + url }
	o.start()
	address := "hanna@example.com"
	_, err := o.ChangeUser(t.Context(), commands.Operator(), id,
		commands.ChangeUser{Patch: user.Patch{Email: &address}})
	if err != nil {
		t.Fatal(err)
	}
	o.askForReset(address, "en")
	select {
	case link := <-shown:
		if !strings.HasPrefix(link, "password_reset hanna@example.com https://accounts.example.com/password_reset/") {
			t.Errorf("%s", link)
		}
	case <-time.After(patience):
		t.Fatal("no link is shown")
	}
	if got := o.messages(); len(got) != 0 {
		t.Errorf("o.messages() = %v, want nothing", got)
	}
	o.siteAccount(sink)
	o.askForReset(address, "en")
	sink.Wait(t, 1)
	if len(shown) != 0 {
		t.Errorf("shown = %v, want nothing", shown)
	}
}

// A mail account that can't be used for a reason of its own holds up only its own mail.
func TestABrokenAccountHoldsUpOnlyItsOwnMail(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	broken := o.siteAccount(sink)
	o.person("olena@example.com")
	company, err := o.CreateCompany(t.Context(), commands.Operator(), company.Details{Name: "Nova"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := o.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{
		Details: user.Details{Email: "hanna@example.com", CompanyID: uuid.MustParse(company.ID)},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.SetDefaultMailAccount(t.Context(), commands.Operator(), uuid.MustParse(company.ID),
		o.account(sink, "nova@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	// Its password was sealed for something else, as a keyset that was swapped would leave it.
	sealed, err := o.Keys.Seal([]byte("secret"), "another stream")
	if err != nil {
		t.Fatal(err)
	}
	stream := domain.StreamName(mailaccount.Kind, broken)
	meta := eventstore.Metadata{
		At: time.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorOperator}, CommandID: uuid.New(),
	}
	proposed, err := eventstore.Encode(stream, 0, []domain.Event{mailaccount.PasswordSet{Password: sealed}}, meta)
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.Log.Append(t.Context(), stream, 0, proposed)
	if err != nil {
		t.Fatal(err)
	}
	o.start()
	o.askForReset("olena@example.com", "en")
	o.askForReset("hanna@example.com", "en")
	messages := o.settled(mailmessage.StateQueued, mailmessage.StateSent)
	if got := messages[1].UserID.String(); got != other.ID {
		t.Errorf("messages[1].UserID.String() = %q, want %q", got, other.ID)
	}
	o.eventually("it says why", func() bool {
		m := o.messages()[0]
		return m.LastError != nil && strings.Contains(*m.LastError, "encrypted with another keyset")
	})
}

// Each change to how somebody signs in is announced once, and what changes nothing for the person is not.
func TestWhatPeopleAreToldOf(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	result, err := o.RegisterUser(t.Context(), commands.Operator(),
		commands.RegisterUser{Details: user.Details{Email: "olena@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	o.start()
	stream, revision := domain.StreamName(user.Kind, uuid.MustParse(result.ID)), result.Revision
	var notices []string
	for _, step := range []struct {
		event  domain.Event
		notice string
	}{
		{user.PasswordSet{Hash: domain.Sealed("first")}, ""}, // there was none before
		{user.PasswordRehashed{Hash: domain.Sealed("first, again")}, ""},
		{user.PasswordSet{Hash: domain.Sealed("second")}, mailmessage.NoticePasswordChanged},
		{user.TwoFactorDisabled{}, ""}, // a device that was never confirmed
		{user.TwoFactorPrepared{Secret: domain.Sealed("secret")}, ""},
		{user.TwoFactorEnrolled{}, mailmessage.NoticeTwoFactorOn},
		{user.TwoFactorRequired{}, ""},
		{user.TwoFactorRequirementLifted{}, mailmessage.NoticeTwoFactorOff},
		{user.TwoFactorReset{Reason: "lost"}, mailmessage.NoticeTwoFactorReset},
		{user.TwoFactorReset{Reason: "again"}, ""},
		{user.TwoFactorEnrolled{}, mailmessage.NoticeTwoFactorOn},
		{user.TwoFactorDisabled{}, mailmessage.NoticeTwoFactorOff},
		{user.NameChanged{FirstName: domain.Changed[string]{To: "Olena"}}, ""},
	} {
		meta := eventstore.Metadata{At: time.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorOperator},
			IP: "192.0.2.7", CommandID: uuid.New(), CorrelationID: uuid.New()}
		proposed, err := eventstore.Encode(stream, revision, []domain.Event{step.event}, meta)
		if err != nil {
			t.Fatal(err)
		}
		appended, err := o.Log.Append(t.Context(), stream, revision, proposed)
		if err != nil {
			t.Fatal(err)
		}
		revision = appended.Revision
		if step.notice != "" {
			notices = append(notices, step.notice)
		}
	}
	o.askForReset("olena@example.com", "en") // the last mail
	states := make([]string, len(notices)+1)
	for i := range states {
		states[i] = mailmessage.StateSent
	}
	var announced []string
	for _, m := range o.settled(states...) {
		if m.Notice != nil {
			announced = append(announced, *m.Notice)
		}
	}
	if diff := cmp.Diff(notices, announced); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	for _, m := range sink.Taken() {
		if !strings.Contains(m.Header(t, "Subject"), "new password") {
			if got := m.Part(t, "text/plain"); !strings.Contains(got, "192.0.2.7") {
				t.Errorf(`%q lacks "192.0.2.7"`, got)
			}
		}
	}
}

// Whoever has a shell on the server can become anybody: the superusers hear of it.
func TestSuperusersHearOfOneThatWasMadeOnTheServer(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	superuser := func(email string) uuid.UUID {
		t.Helper()
		result, err := o.RegisterUser(t.Context(), commands.System(),
			commands.RegisterUser{Details: user.Details{Email: email}, Superuser: true})
		if err != nil {
			t.Fatal(err)
		}
		return uuid.MustParse(result.ID)
	}
	first := superuser("first@example.com")
	superuser("second@example.com")
	if _, err := o.DeactivateUser(t.Context(), commands.System(), superuser("gone@example.com"), "left"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.RegisterUser(t.Context(), commands.System(),
		commands.RegisterUser{Details: user.Details{Email: "clerk@example.com"}}); err != nil {
		t.Fatal(err)
	}
	o.eventually("the read models know them", func() bool {
		known, err := o.readModels.Superusers(t.Context(), 100)
		return err == nil && len(known) == 2 // not the closed one
	})
	o.start()
	byPerson := commands.Caller{
		Actor:     eventstore.Actor{Kind: eventstore.ActorUser, ID: first.String()},
		CommandID: uuid.Must(uuid.NewV7()),
	}
	made, err := o.RegisterUser(t.Context(), byPerson, commands.RegisterUser{
		Details: user.Details{Email: "by-a-person@example.com"}, Superuser: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	byPerson.CommandID = uuid.Must(uuid.NewV7())
	if _, err := o.DeactivateUser(t.Context(), byPerson, uuid.MustParse(made.ID), "only for a moment"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.CreateSuperuser(t.Context(), commands.OperatorNamed("root@host"), "new@example.com",
		"a long enough pass phrase"); err != nil {
		t.Fatal(err)
	}
	o.askForReset("clerk@example.com", "en") // the last mail
	told := []string{}
	for _, m := range sink.Wait(t, 3) {
		if strings.Contains(m.Part(t, "text/plain"), "superuser create") {
			told = append(told, m.Header(t, "To"))
		}
	}
	slices.Sort(told)
	want := []string{`"first@example.com" <first@example.com>`, `"second@example.com" <second@example.com>`}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
