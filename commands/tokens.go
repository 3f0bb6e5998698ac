package commands

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/signin"
)

// Purposes of signed tokens. A token of one purpose is worth nothing for another.
const (
	purposeReset      = "password_reset"
	purposeFirstLogin = "first_login"
	purposeChallenge  = "two_factor_challenge"
)

// linkToken is the token of a link that an event asked for. It is computed again whenever it is needed.
func (h *Handler) linkToken(purpose string, account, link uuid.UUID) (string, error) {
	return h.sign(purpose, slices.Concat(account[:], link[:]))
}

// ResetToken is the token of a password reset link.
func (h *Handler) ResetToken(account, link uuid.UUID) (string, error) {
	return h.linkToken(purposeReset, account, link)
}

// FirstLoginToken is the token of a first-login link.
func (h *Handler) FirstLoginToken(account, link uuid.UUID) (string, error) {
	return h.linkToken(purposeFirstLogin, account, link)
}

func (h *Handler) openLinkToken(purpose, token string) (account, link uuid.UUID, ok bool) {
	payload, ok := h.verify(purpose, token)
	if !ok || len(payload) != 32 {
		return uuid.Nil, uuid.Nil, false
	}
	return uuid.UUID(payload[:16]), uuid.UUID(payload[16:]), true
}

// challenge names the account whose first factor was right, the event that says so, and until when. It is void once the
// account's seal is another one.
func (h *Handler) challenge(account, id uuid.UUID, under seal, now time.Time) (string, error) {
	until := uint64(now.Add(signin.ChallengeLife).Unix())
	payload := binary.BigEndian.AppendUint64(slices.Concat(account[:], id[:]), until)
	return h.sign(purposeChallenge+" "+under.text, payload)
}

// openChallenge gives the id of a challenge. sealOf finds the seal of its account as it is now.
func (h *Handler) openChallenge(challenge string, sealOf func(uuid.UUID) (seal, error),
	now time.Time) (uuid.UUID, bool, error) {
	raw, ok := tokenBytes(challenge)
	if !ok || len(raw) != 40+macSize {
		return uuid.Nil, false, nil
	}
	under, err := sealOf(uuid.UUID(raw[:16]))
	if err != nil {
		return uuid.Nil, false, err
	}
	payload, ok := h.verify(purposeChallenge+" "+under.text, challenge)
	if !ok || uint64(now.Unix()) > binary.BigEndian.Uint64(payload[32:]) {
		return uuid.Nil, false, nil
	}
	return uuid.UUID(payload[16:32]), true, nil
}

const macSize = 16

// sign gives payload and MAC as URL-safe text.
func (h *Handler) sign(purpose string, payload []byte) (string, error) {
	mac, err := h.Keys.MAC(purpose, payload)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(slices.Clone(payload), mac...)), nil
}

// tokenBytes reads what sign gave. It takes no other spelling of the same bytes, with line breaks in between or other
// bits at the end: attempts are counted by the text of a token.
func tokenBytes(token string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	return raw, err == nil && base64.RawURLEncoding.EncodeToString(raw) == token
}

func (h *Handler) verify(purpose, token string) (payload []byte, ok bool) {
	raw, ok := tokenBytes(token)
	if !ok || len(raw) <= macSize {
		return nil, false
	}
	payload = raw[:len(raw)-macSize]
	mac, err := h.Keys.MAC(purpose, payload)
	return payload, err == nil && hmac.Equal(mac, raw[len(payload):])
}
