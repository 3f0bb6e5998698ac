package processes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/mailing"
)

// mailRequest is a mail that an event asks for.
type mailRequest struct {
	id uuid.UUID
	mailmessage.Queued
}

// requestsOf gives the mails that an event asks for; none that are of no use to anybody any more.
func (m *Mail) requestsOf(ctx context.Context, e *eventstore.Envelope) ([]mailRequest, error) {
	if m.Commands.Now().Sub(e.Meta.At) >= mailmessage.Patience {
		return nil, nil
	}
	switch event := e.Event.(type) {
	case signin.ResetLinkRequested:
		return m.link(ctx, e, mailmessage.PasswordReset, event.Language, event.Link, event.ExpiresAt)
	case signin.FirstLoginRequested:
		return m.link(ctx, e, mailmessage.FirstLogin, event.Language, event.Link, event.ExpiresAt)
	case user.EmailChanged:
		return m.notices(ctx, e, mailmessage.NoticeEmailChanged, event.Email.From, event.Email.To)
	case user.PasswordSet:
		return m.noticeIf(ctx, e, mailmessage.NoticePasswordChanged, func(before user.State) bool {
			return before.Password.Set()
		})
	case user.TwoFactorEnrolled:
		return m.notices(ctx, e, mailmessage.NoticeTwoFactorOn)
	case user.TwoFactorDisabled, user.TwoFactorRequirementLifted:
		return m.noticeIf(ctx, e, mailmessage.NoticeTwoFactorOff, func(before user.State) bool {
			return before.TwoFactor.Challenges()
		})
	case user.TwoFactorReset:
		return m.noticeIf(ctx, e, mailmessage.NoticeTwoFactorReset, func(before user.State) bool {
			return before.TwoFactor.Enrolled
		})
	case user.BackupCodesReplaced:
		return m.notices(ctx, e, mailmessage.NoticeBackupCodes)
	case user.BackupCodeUsed:
		return m.notices(ctx, e, mailmessage.NoticeBackupCodeUsed)
	case approval.Proposed:
		return m.tellSuperusers(ctx, e, mailmessage.NoticeProposed, event.By)
	case approval.Confirmed, approval.Refused, approval.Expired:
		proposal, err := m.Commands.Proposal(ctx, e.Stream)
		if err != nil {
			return nil, err
		}
		return m.noticeTo(ctx, e, mailmessage.NoticeDecided, proposal.By)
	case user.SuperuserGranted:
		return m.superuserMade(ctx, e)
	case signin.LockoutBegan:
		return m.lockedOut(ctx, e)
	case contact.Received:
		return m.contact(ctx, e, event)
	}
	return nil, nil // also what can't be decoded: it is none of these, which every version knows
}

// subjectOf is the id of the account that an event is about.
func subjectOf(e *eventstore.Envelope) (uuid.UUID, error) {
	_, subject := domain.SplitStream(e.Stream)
	id, err := uuid.Parse(subject)
	if err != nil {
		return id, fmt.Errorf("the stream %q is not named after an account: %w", e.Stream, err)
	}
	return id, nil
}

// link is the mail with a link that somebody asked for.
func (m *Mail) link(ctx context.Context, e *eventstore.Envelope, feature, language string, link uuid.UUID,
	expires time.Time) ([]mailRequest, error) {
	id, err := subjectOf(e)
	if err != nil || link == uuid.Nil || !m.Commands.Now().Before(expires) {
		return nil, err
	}
	account, err := m.Commands.Account(ctx, id)
	if err != nil || !account.Exists {
		return nil, err
	}
	r := m.about(e, feature, "", id, account, account.Details.Email)
	r.Language, r.Link, r.ExpiresAt = cmp.Or(account.Language, language), link, expires
	return m.completed(ctx, r)
}

// lockedOut tells the owner of an account that can be guessed at, which one without a password can't.
func (m *Mail) lockedOut(ctx context.Context, e *eventstore.Envelope) ([]mailRequest, error) {
	id, err := subjectOf(e)
	if err != nil {
		return nil, err
	}
	account, err := m.Commands.Account(ctx, id)
	if err != nil || !account.Password.Set() && !account.Directory.Linked() {
		return nil, err
	}
	return m.notices(ctx, e, mailmessage.NoticeLockedOut)
}

// noticeIf is a security notice that depends on how the account was before.
func (m *Mail) noticeIf(ctx context.Context, e *eventstore.Envelope, notice string,
	matters func(before user.State) bool) ([]mailRequest, error) {
	before, err := m.Commands.AccountBefore(ctx, e)
	if err != nil || !matters(before) {
		return nil, err
	}
	return m.notices(ctx, e, notice)
}

// notices tell people of a change to their own account: at the given addresses, or at that of the account.
func (m *Mail) notices(ctx context.Context, e *eventstore.Envelope, notice string,
	addresses ...string) ([]mailRequest, error) {
	id, err := subjectOf(e)
	if err != nil {
		return nil, err
	}
	account, err := m.Commands.Account(ctx, id)
	if err != nil || !account.Exists {
		return nil, err // there are attempts to sign in to accounts that don't exist
	}
	if len(addresses) == 0 {
		addresses = []string{account.Details.Email}
	}
	requests := make([]mailRequest, len(addresses))
	for i, address := range addresses {
		r := m.about(e, mailmessage.SecurityNotice, notice+"/"+user.NormalizeEmail(address), id, account, address)
		r.Notice, r.Language = notice, account.Language
		if notice == mailmessage.NoticeLockedOut {
			// One an hour: whoever guesses passwords must not fill the mailbox.
			r.id = uuid.NewSHA1(id, []byte(notice+e.Meta.At.UTC().Format("2006-01-02 15")))
		}
		requests[i] = r
	}
	return m.completed(ctx, requests...)
}

// superuserMade tells the superusers that somebody with a shell on the server made another one: nobody else sees it.
func (m *Mail) superuserMade(ctx context.Context, e *eventstore.Envelope) ([]mailRequest, error) {
	if e.Meta.Actor.Kind != eventstore.ActorOperator {
		return nil, nil
	}
	made, err := subjectOf(e)
	if err != nil {
		return nil, err
	}
	return m.tellSuperusers(ctx, e, mailmessage.NoticeSuperuserMade, made)
}

// toldSuperusers is how many superusers are told what concerns them all.
const toldSuperusers = 20

// tellSuperusers tells superusers of something, but for one account.
func (m *Mail) tellSuperusers(ctx context.Context, e *eventstore.Envelope, notice string,
	but uuid.UUID) ([]mailRequest, error) {
	ids, err := m.Superusers(ctx, toldSuperusers)
	if err != nil {
		return nil, err
	}
	var requests []mailRequest
	for _, id := range ids {
		account, err := m.Commands.Account(ctx, id)
		if err != nil {
			return nil, err
		}
		if id == but || !account.Superuser {
			continue
		}
		more, err := m.noticeTo(ctx, e, notice, id)
		if err != nil {
			return nil, err
		}
		requests = append(requests, more...)
	}
	return requests, nil
}

// noticeTo tells an account of something that is about another one.
func (m *Mail) noticeTo(ctx context.Context, e *eventstore.Envelope, notice string,
	id uuid.UUID) ([]mailRequest, error) {
	account, err := m.Commands.Account(ctx, id)
	if err != nil || account.CanSignIn(m.Commands.Now()) != "" {
		return nil, err
	}
	address := account.Details.Email
	r := m.about(e, mailmessage.SecurityNotice, notice+"/"+user.NormalizeEmail(address), id, account, address)
	r.Notice, r.Language = notice, account.Language
	return m.completed(ctx, r)
}

// contact is the news of a message for those who answer it, and the automatic answer.
func (m *Mail) contact(ctx context.Context, e *eventstore.Envelope, received contact.Received) ([]mailRequest, error) {
	contacts, err := m.Commands.ContactSettings(ctx)
	if err != nil {
		return nil, err
	}
	id, err := subjectOf(e)
	if err != nil {
		return nil, err
	}
	var requests []mailRequest
	for _, recipient := range contacts.Recipients {
		r := m.about(e, mailmessage.ContactNotification, user.NormalizeEmail(recipient), uuid.Nil, user.State{},
			recipient)
		r.ContactID = id
		requests = append(requests, r)
	}
	reply, err := m.autoReply(ctx, e, received, contacts)
	if err != nil {
		return nil, err
	}
	for _, r := range reply {
		r.ContactID = id
		requests = append(requests, r)
	}
	return m.completed(ctx, requests...)
}

// autoReply answers a person, at most once a day, and never a robot or ourselves.
func (m *Mail) autoReply(ctx context.Context, e *eventstore.Envelope, received contact.Received,
	contacts settings.Contact) ([]mailRequest, error) {
	if contacts.AutoReply == nil {
		return nil, nil
	}
	site, err := m.Commands.SiteSettings(ctx)
	if err != nil {
		return nil, err
	}
	own := append([]string{contacts.ReplyEmail, site.DefaultEmail}, contacts.Recipients...)
	sender, err := m.Commands.MailSenderFor(ctx,
		commands.MailPurpose{Feature: mailmessage.ContactAutoReply, Preferred: contacts.AutoReply.MailAccountID})
	if err != nil && !errors.Is(err, commands.ErrNoMailAccount) {
		return nil, err
	}
	if !contact.Answerable(received.Email, append(own, sender.Account.Address)) {
		return nil, nil
	}
	// The name hides the address, and is the same for all messages of an address on one day.
	name, err := m.Commands.Keys.Name("contact auto-reply",
		user.NormalizeEmail(received.Email)+e.Meta.At.UTC().Format(time.DateOnly))
	if err != nil {
		return nil, err
	}
	r := m.about(e, mailmessage.ContactAutoReply, "", uuid.Nil, user.State{}, received.Email)
	r.id, r.Language = uuid.NewSHA1(uuid.Nil, []byte(name)), received.Language
	return []mailRequest{r}, nil
}

// about is what the mails of all features have. One event that asks for several mails of a feature tells them apart by
// which.
func (m *Mail) about(e *eventstore.Envelope, feature, which string, id uuid.UUID, account user.State,
	to string) mailRequest {
	return mailRequest{id: uuid.NewSHA1(e.ID, []byte(feature+"/"+which)), Queued: mailmessage.Queued{
		Feature: feature, To: to, UserID: id, CompanyID: account.Details.CompanyID,
		At: e.Meta.At, IP: e.Meta.IP, ExpiresAt: e.Meta.At.Add(mailmessage.Patience),
	}}
}

// completed fills in what depends on the site.
func (m *Mail) completed(ctx context.Context, requests ...mailRequest) ([]mailRequest, error) {
	site, err := m.Commands.SiteSettings(ctx)
	if err != nil {
		return nil, err
	}
	base, err := m.BaseURL(ctx)
	if err != nil {
		return nil, err
	}
	for i := range requests {
		r := &requests[i]
		r.Language = cmp.Or(r.Language, site.DefaultLanguage)
		r.MessageID = r.id.String() + "@" + hostOf(base)
		content, err := m.content(ctx, r.Queued, site)
		if err != nil {
			return nil, err
		}
		r.Subject = content.Subject()
	}
	return requests, nil
}

// hostOf is the part of a Message-ID behind the @. A bare address is no name (RFC 5322, 3.6.4).
func hostOf(base string) string {
	parsed, err := url.Parse(base)
	if err != nil {
		return "secboard.invalid"
	}
	if _, err := netip.ParseAddr(parsed.Hostname()); err == nil || parsed.Hostname() == "" {
		return "secboard.invalid"
	}
	return parsed.Hostname()
}

// errObsolete says that nobody needs a mail any more.
var errObsolete = errors.New("the mail is no longer needed")

// content gathers what a mail says, but for its link.
func (m *Mail) content(ctx context.Context, q mailmessage.Queued, site settings.Site) (mailing.Message, error) {
	content := mailing.Message{
		Feature: q.Feature, Notice: q.Notice, Language: q.Language, To: q.To, Site: site, MessageID: q.MessageID,
		At: q.At, IP: q.IP, ExpiresAt: q.ExpiresAt,
	}
	contacts, err := m.Commands.ContactSettings(ctx)
	if err != nil {
		return content, err
	}
	content.ReplyTo = contacts.ReplyEmail
	switch q.Feature {
	case mailmessage.ContactNotification:
		content.Contact, err = m.Commands.ContactMessage(ctx, q.ContactID)
		content.ReplyTo = content.Contact.Email
	case mailmessage.ContactAutoReply:
		if contacts.AutoReply == nil {
			return content, fmt.Errorf("%w: the auto-reply was switched off", errObsolete)
		}
		content.AutoReply = *contacts.AutoReply
	}
	return content, err
}

// addLink computes the link of a mail again, and adds the name of its reader.
func (m *Mail) addLink(ctx context.Context, content *mailing.Message, q mailmessage.Queued) error {
	if q.UserID == uuid.Nil {
		return nil
	}
	account, err := m.Commands.Account(ctx, q.UserID)
	if err != nil {
		return err
	}
	content.Name = account.Details.Name()
	if q.Link == uuid.Nil {
		return nil
	}
	token, path := m.Commands.ResetToken, "/password_reset/"
	if q.Feature == mailmessage.FirstLogin {
		token, path = m.Commands.FirstLoginToken, "/first_login/"
	}
	usable, err := m.Commands.LinkUsable(ctx, q.UserID, q.Link, q.Feature == mailmessage.FirstLogin)
	switch {
	case err != nil:
		return err
	case user.NormalizeEmail(account.Details.Email) != user.NormalizeEmail(q.To):
		return fmt.Errorf("%w: the account now has another e-mail address", errObsolete)
	case !usable:
		return fmt.Errorf("%w: its link can no longer be used", errObsolete)
	}
	base, err := m.BaseURL(ctx)
	if err != nil {
		return err
	}
	signed, err := token(q.UserID, q.Link)
	content.URL = strings.TrimSuffix(base, "/") + path + signed + "?lang=" + url.QueryEscape(q.Language)
	return err
}

// show gives a link away that no mail account can send.
func (m *Mail) show(ctx context.Context, r mailRequest) error {
	if r.Link == uuid.Nil {
		return nil
	}
	content := mailing.Message{}
	err := m.addLink(ctx, &content, r.Queued)
	if err == nil {
		m.ShowLink(ctx, r.Feature, r.To, content.URL)
	} else if errors.Is(err, errObsolete) {
		return nil
	}
	return err
}
