package processes

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/mailing/mailtest"
)

var tokenOf = regexp.MustCompile(`https://accounts\.example\.com/password_reset/([A-Za-z0-9_-]+)\?lang=(\w+)`)

// A reset mail arrives once, with a link that works, in the language of whoever asked, and leaves no token behind.
func TestAResetMailArrivesOnceWithALinkThatWorks(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	o.person("olena@example.com")
	stop := o.start()
	o.askForReset("olena@example.com", "uk")
	mail := sink.Wait(t, 1)[0]
	link := tokenOf.FindStringSubmatch(mail.Part(t, "text/plain"))
	require.NotNil(t, link, mail.Raw)
	assert.Equal(t, "uk", link[2])
	assert.Contains(t, mail.Part(t, "text/html"), link[1])
	usable, err := o.ResetLinkUsable(t.Context(), link[1])
	require.NoError(t, err)
	assert.True(t, usable)
	assert.Equal(t, "olena@example.com", mail.To)
	assert.Equal(t, "accounts@example.com", mail.From)
	assert.Equal(t, "SecBoard: встановлення нового пароля", mail.Header(t, "Subject"))
	assert.Equal(t, `SecBoard of Нова <accounts@example.com>`, mail.Header(t, "From"))
	assert.Equal(t, "auto-generated", mail.Header(t, "Auto-Submitted"))
	assert.Regexp(t, `^<[0-9a-f-]{36}@accounts\.example\.com>$`, mail.Header(t, "Message-ID"))
	_, err = http.ParseTime(mail.Header(t, "Date"))
	_, errRFC := time.Parse(time.RFC1123Z, mail.Header(t, "Date"))
	assert.True(t, err == nil || errRFC == nil, mail.Header(t, "Date"))

	sent := o.settled(mailmessage.StateSent)[0]
	assert.Equal(t, 1, sent.Attempts)
	assert.Equal(t, "olena@example.com", sent.To)
	assert.NotNil(t, sent.FinishedAt)
	stop()
	// A process that starts again, even one whose checkpoint a restored database has put back, sends nothing again.
	_, err = o.pool.Exec(t.Context(), "UPDATE app.process_checkpoints SET position = 0")
	require.NoError(t, err)
	o.mail = o.newMail()
	stop = o.start()
	o.askForReset("olena@example.com", "ru")
	sink.Wait(t, 2)
	o.settled(mailmessage.StateSent, mailmessage.StateSent)
	stop()
	assert.Len(t, sink.Taken(), 2)
	assert.NotContains(t, o.log.String(), link[1])
	for recorded, err := range o.Log.ReadAll(t.Context(), 0) {
		require.NoError(t, err)
		assert.NotContains(t, string(recorded.Data), link[1])
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
	assert.Contains(t, o.settled(mailmessage.StateSent)[0].Subject, "установка")
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
	require.NotNil(t, first.LastError)
	assert.Contains(t, *first.LastError, "greylisted")
	require.NotNil(t, first.NextAttemptAt)
	o.pass(20 * time.Second)
	o.eventually("the second attempt is put off", func() bool { return o.messages()[0].Attempts == 2 })
	o.pass(40 * time.Second)
	assert.Equal(t, 3, o.settled(mailmessage.StateSent)[0].Attempts)
	assert.Len(t, sink.Taken(), 1)

	o.askForReset("refused@example.com", "en")
	failed := o.settled(mailmessage.StateSent, mailmessage.StateFailed)[1]
	assert.Equal(t, 1, failed.Attempts)
	assert.Contains(t, *failed.LastError, "no such mailbox")
	assert.Nil(t, failed.NextAttemptAt)
	sink.Answer(nil)
	retried, err := o.RetryMail(t.Context(), commands.Operator(), failed.ID)
	require.NoError(t, err)
	assert.True(t, retried.Changed)
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
	assert.Equal(t, 2, sent.Attempts)
	taken := sink.Taken()
	require.Len(t, taken, 2)
	assert.Equal(t, taken[0].Header(t, "Message-ID"), taken[1].Header(t, "Message-ID"))
	assert.Equal(t, taken[0].Header(t, "Date"), taken[1].Header(t, "Date"))
}

func TestALinkThatHasExpiredIsNotSent(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.person("olena@example.com")
	stop := o.start()
	o.askForReset("olena@example.com", "en")
	o.eventually("without an account it waits", func() bool {
		list := o.messages()
		return len(list) == 1 && list[0].LastError != nil && strings.Contains(*list[0].LastError, "no mail account is chosen for password_reset")
	})
	stop()
	o.siteAccount(sink)
	o.pass(user.ResetLinkLife)
	o.mail = o.newMail()
	o.start()
	abandoned := o.settled(mailmessage.StateAbandoned)[0]
	assert.Contains(t, *abandoned.LastError, "the link in it has expired")
	_, err := o.RetryMail(t.Context(), commands.Operator(), abandoned.ID)
	assert.ErrorContains(t, err, "link_expired")
	assert.Empty(t, sink.Taken())
}

// A password set meanwhile makes the link useless, and another address must not get it.
func TestALinkOfNoUseIsNotSent(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.person("olena@example.com")
	o.start()
	o.askForReset("olena@example.com", "en")
	o.eventually("without an account it waits", func() bool { list := o.messages(); return len(list) == 1 && list[0].Attempts == 1 })
	id := o.messages()[0].UserID
	other := "hanna@example.com"
	_, err := o.ChangeUser(t.Context(), commands.Operator(), *id, commands.ChangeUser{Patch: user.Patch{Email: &other}})
	require.NoError(t, err)
	o.siteAccount(sink)
	o.pass(time.Minute)
	messages := o.settled(mailmessage.StateAbandoned, mailmessage.StateSent, mailmessage.StateSent)
	assert.Contains(t, *messages[0].LastError, "another e-mail address")
	assert.ElementsMatch(t, []string{"olena@example.com", "hanna@example.com"}, []string{sink.Taken()[0].To, sink.Taken()[1].To},
		"both addresses get a notice of the change")
}

// withSlowNotices is an office whose security notices go to a server that takes none until release is closed.
func withSlowNotices(t *testing.T) (o *office, slow, fast *mailtest.Sink, release chan struct{}) {
	t.Helper()
	o, slow, fast, release = newOffice(t), mailtest.NewSink(t), mailtest.NewSink(t), make(chan struct{})
	o.siteAccount(fast)
	notices := o.account(slow, "slow@example.com")
	_, err := o.SetMailRoute(t.Context(), commands.Operator(), settings.MailRoute{Feature: mailmessage.SecurityNotice}, notices)
	require.NoError(t, err)
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
		_, err := o.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{Patch: user.Patch{Email: &address}})
		require.NoError(t, err)
	}
	o.eventually("all connections to the slow server are busy", func() bool { return slow.Most() == perServer })
	o.askForReset("olena5@example.com", "en")
	fast.Wait(t, 1)
	assert.Empty(t, slow.Taken())
	close(release)
	slow.Wait(t, 12)
	assert.LessOrEqual(t, slow.Most(), perServer)
}

// A long queue for one server is not held in memory, and what goes to another is found behind it.
func TestALongQueueKeepsNothingElseBack(t *testing.T) {
	t.Parallel()
	o, slow, fast, release := withSlowNotices(t)
	id := o.person("olena@example.com")
	o.mail.batch = 2
	const most = perServer + laneBatches*2
	var inHand atomic.Int64
	o.mail.Due = func(ctx context.Context, at time.Time, except []uuid.UUID, closed []mailmessage.Route, limit int) ([]mailmessage.Due, error) {
		inHand.Store(max(inHand.Load(), int64(len(except))))
		return o.readModels.DueMail(ctx, at, except, closed, limit)
	}
	o.start()
	for i := range most {
		address := fmt.Sprintf("olena%d@example.com", i)
		_, err := o.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{Patch: user.Patch{Email: &address}})
		require.NoError(t, err)
	}
	o.eventually("all are queued", func() bool { return len(o.messages()) == 2*most })
	o.askForReset(fmt.Sprintf("olena%d@example.com", most-1), "en")
	fast.Wait(t, 1)
	assert.Empty(t, slow.Taken())
	assert.LessOrEqual(t, inHand.Load(), int64(most+1), "and the one for the other server")
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
	assert.Len(t, sink.Taken(), people)
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
	require.Len(t, sink.Taken(), 1)
	o.settled(mailmessage.StateSent)
	o.mail = o.newMail()
	o.start()
	sink.Wait(t, 2)
	for _, m := range o.settled(mailmessage.StateSent, mailmessage.StateSent) {
		assert.Zero(t, m.Doubts)
	}
}

// An attempt of which nothing more was heard may have arrived: it is taken up when its time is over, and the doubt is kept.
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
	require.NoError(t, err)
	attempt, started, err := o.BeginMail(t.Context(), m, account, o.Now().Add(time.Minute))
	require.NoError(t, err)
	require.True(t, started)
	_, started, err = o.BeginMail(t.Context(), m, account, o.Now().Add(time.Minute))
	require.NoError(t, err)
	assert.False(t, started, "one at a time")
	o.settled(mailmessage.StateSending)
	o.mail = o.newMail()
	o.start()
	o.askForReset("olena@example.com", "en")
	sink.Wait(t, 1)
	o.settled(mailmessage.StateSending, mailmessage.StateSent)
	o.pass(time.Minute)
	messages := o.settled(mailmessage.StateSent, mailmessage.StateSent)
	assert.Equal(t, []int{1, attempt + 1}, []int{messages[0].Doubts, messages[0].Attempts})
	// Whoever had begun it before can't end it any more.
	require.NoError(t, o.EndMail(t.Context(), m, attempt, &mailmessage.Outcome{Reason: "late", Permanent: true}))
	o.settled(mailmessage.StateSent, mailmessage.StateSent)
}

// While read models are built again, they show messages as they once were. None is sent again.
func TestARebuildSendsNothing(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	o.person("olena@example.com")
	o.start()
	states := make([]string, 5)
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
	require.NoError(t, err)
	o.eventually("they are looked at", func() bool {
		due, err := o.readModels.DueMail(t.Context(), o.Now(), []uuid.UUID{}, nil, 10)
		return err == nil && len(due) == 5
	})
	_, err = o.pool.Exec(t.Context(), "TRUNCATE mail_messages, mail_accounts, mail_servers, history, history_hours; UPDATE checkpoints SET position = 0, events = 0")
	require.NoError(t, err)
	o.runReadModels()
	o.settled(states...)
	for _, m := range o.messages() {
		assert.True(t, ids[m.ID])
	}
	o.askForReset("olena@example.com", "ru")
	sink.Wait(t, 6)
	o.settled(append(states, mailmessage.StateSent)...)
	assert.Len(t, sink.Taken(), 6)
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
	_, err := o.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{Patch: user.Patch{Email: &address}})
	require.NoError(t, err)
	o.askForReset(address, "en")
	select {
	case link := <-shown:
		assert.True(t, strings.HasPrefix(link, "password_reset hanna@example.com https://accounts.example.com/password_reset/"), link)
	case <-time.After(patience):
		require.Fail(t, "no link is shown")
	}
	assert.Empty(t, o.messages())
	o.siteAccount(sink)
	o.askForReset(address, "en")
	sink.Wait(t, 1)
	assert.Empty(t, shown)
}

// A mail account that can't be used for a reason of its own holds up only its own mail.
func TestABrokenAccountHoldsUpOnlyItsOwnMail(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	broken := o.siteAccount(sink)
	o.person("olena@example.com")
	company, err := o.CreateCompany(t.Context(), commands.Operator(), company.Details{Name: "Nova"})
	require.NoError(t, err)
	other, err := o.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{
		Details: user.Details{Email: "hanna@example.com", CompanyID: uuid.MustParse(company.ID)},
	})
	require.NoError(t, err)
	_, err = o.SetDefaultMailAccount(t.Context(), commands.Operator(), uuid.MustParse(company.ID), o.account(sink, "nova@example.com"))
	require.NoError(t, err)
	// Its password was sealed for something else, as a keyset that was swapped would leave it.
	sealed, err := o.Keys.Seal([]byte("secret"), "another stream")
	require.NoError(t, err)
	stream := domain.StreamName(mailaccount.Kind, broken)
	meta := eventstore.Metadata{At: time.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorOperator}, CommandID: uuid.New()}
	proposed, err := eventstore.Encode(stream, 0, []domain.Event{mailaccount.PasswordSet{Password: sealed}}, meta)
	require.NoError(t, err)
	_, err = o.Log.Append(t.Context(), stream, 0, proposed)
	require.NoError(t, err)
	o.start()
	o.askForReset("olena@example.com", "en")
	o.askForReset("hanna@example.com", "en")
	messages := o.settled(mailmessage.StateQueued, mailmessage.StateSent)
	assert.Equal(t, other.ID, messages[1].UserID.String())
	o.eventually("it says why", func() bool {
		m := o.messages()[0]
		return m.LastError != nil && strings.Contains(*m.LastError, "sealed with another keyset")
	})
}

// Each change to how somebody signs in is announced once, and what changes nothing for the person is not.
func TestWhatPeopleAreToldOf(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	result, err := o.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{Details: user.Details{Email: "olena@example.com"}})
	require.NoError(t, err)
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
		meta := eventstore.Metadata{At: time.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorOperator}, IP: "192.0.2.7", CommandID: uuid.New(), CorrelationID: uuid.New()}
		proposed, err := eventstore.Encode(stream, revision, []domain.Event{step.event}, meta)
		require.NoError(t, err)
		appended, err := o.Log.Append(t.Context(), stream, revision, proposed)
		require.NoError(t, err)
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
	assert.Equal(t, notices, announced)
	for _, m := range sink.Taken() {
		if !strings.Contains(m.Header(t, "Subject"), "new password") {
			assert.Contains(t, m.Part(t, "text/plain"), "192.0.2.7")
		}
	}
}
