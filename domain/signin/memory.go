package signin

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// What limits guesses of codes: a policy of ours, which no setting loosens.
const (
	// MostCodes is how many wrong codes an account takes within CodesWithin, from everywhere and after however many
	// right passwords.
	MostCodes   = 10
	CodesWithin = time.Hour
	// ChallengeLife is how long the second factor may take.
	ChallengeLife = 5 * time.Minute

	mostTries = 5  // of one challenge
	mostOpen  = 10 // challenges at a time: more void the oldest
)

// What limits guesses from many networks.
const (
	// an IPv6 site (/48) may guess as often as this many networks
	networksOfSite = 4
	// As many times the attempts of one network slow guessing down for all networks that the account doesn't know.
	guessesSlow        = 10
	attemptsWhenSlowed = 2
	// SlowFor is how long an attempt waits then.
	SlowFor = 3 * time.Second

	mostKnown  = 20  // networks from which the account was signed in to
	mostPlaces = 200 // networks whose wrong passwords are remembered: see Memory.guess
)

// Memory is what an event carries of all that was before it.
type Memory struct {
	Step   int64       `json:"step,omitempty"`   // the time step of the newest code that was used
	Places []Place     `json:"places,omitempty"` // whose wrong passwords count, or that are locked out
	Codes  []time.Time `json:"codes,omitempty"`  // when wrong codes came, the oldest first
	Open   []Open      `json:"open,omitempty"`   // challenges that can be answered, the oldest first
	Known  []string    `json:"known,omitempty"`  // networks from which somebody signed in, the last one last
	Used   []string    `json:"used,omitempty"`   // backup codes that were used, as long as the account may not say so
	Links  []Link      `json:"links,omitempty"`  // that can be used, the oldest first
	Asked  []Asked     `json:"asked,omitempty"`  // who asked for links
}

// Place is a network that guessed.
type Place struct {
	Of      string    `json:"of,omitempty"` // see Attempt.Of
	Network string    `json:"network"`
	Wrong   int       `json:"wrong"`
	Last    time.Time `json:"last"`
	Until   time.Time `json:"until,omitzero"` // of the lockout
}

// Open is a challenge that can be answered.
type Open struct {
	ID    uuid.UUID `json:"id"`
	At    time.Time `json:"at"`
	Tries int       `json:"tries,omitempty"`
}

// Attempt is when and from where somebody tries.
type Attempt struct {
	Now     time.Time
	Network string // as Network gives it
	Of      string // tells addresses without an account apart, which share few streams; "" for an account
}

// Network is what counts as one place that somebody tries from: an IPv4 address, or the /64 network that an IPv6
// address is in, of which a single connection has 2⁶⁴.
func Network(ip string) string { return prefixOf(ip, 64) }

// site is the /48 that an IPv6 network is in, of which a subscriber may have a whole one; "" for IPv4.
func (a Attempt) site() string {
	network, err := netip.ParsePrefix(a.Network)
	if err != nil {
		return ""
	}
	return prefixOf(network.Addr().String(), 48)
}

func prefixOf(ip string, bits int) string {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if address = address.Unmap(); address.Is4() {
		return address.String()
	}
	prefix, err := address.WithZone("").Prefix(bits)
	if err != nil {
		return ip
	}
	return prefix.String()
}

// at leaves out what doesn't count any more. Every change of a Memory copies what it changes.
func (m Memory) at(now time.Time, policy Policy) Memory {
	m.Places = slices.DeleteFunc(slices.Clone(m.Places), func(p Place) bool {
		if !p.Until.IsZero() {
			return !now.Before(p.Until)
		}
		return now.Sub(p.Last) >= policy.Within
	})
	m.Codes = slices.DeleteFunc(slices.Clone(m.Codes), func(at time.Time) bool { return now.Sub(at) >= CodesWithin })
	m.Open = slices.DeleteFunc(slices.Clone(m.Open), func(o Open) bool { return now.Sub(o.At) > ChallengeLife })
	m.Links = slices.DeleteFunc(slices.Clone(m.Links), func(l Link) bool { return !now.Before(l.ExpiresAt) })
	m.Asked = slices.DeleteFunc(slices.Clone(m.Asked), func(a Asked) bool { return now.Sub(a.Since) >= LinksWithin })
	return m
}

func (m Memory) place(of, network string) int {
	return slices.IndexFunc(m.Places, func(p Place) bool { return p.Of == of && p.Network == network })
}

// guess counts a wrong password, and gives how many there are from the network. Of more than mostPlaces networks, those
// are forgotten whose last guess is the oldest, before any that is locked out. By then all are slowed down.
func (m Memory) guess(of, network string, now time.Time) (Memory, int) {
	m.Places = slices.Clone(m.Places)
	counted := Place{Of: of, Network: network}
	if i := m.place(of, network); i >= 0 {
		counted = m.Places[i]
		m.Places = slices.Delete(m.Places, i, i+1)
	}
	counted.Wrong++
	counted.Last = now.UTC()
	for len(m.Places) >= mostPlaces {
		oldest := slices.IndexFunc(m.Places, func(p Place) bool { return p.Until.IsZero() })
		m.Places = slices.Delete(m.Places, max(oldest, 0), max(oldest, 0)+1)
	}
	m.Places = append(m.Places, counted)
	return m, counted.Wrong
}

func (m Memory) lock(of, network string, until time.Time) Memory {
	m.Places = slices.Clone(m.Places)
	if i := m.place(of, network); i >= 0 {
		m.Places[i].Until = until
	}
	return m
}

// forget removes the wrong passwords from a network from which the right one came.
func (m Memory) forget(of, network string) Memory {
	m.Places = slices.DeleteFunc(slices.Clone(m.Places), func(p Place) bool {
		return p.Of == of && p.Network == network
	})
	return m
}

func (m Memory) forgetAll() Memory {
	m.Places = nil
	return m
}

func (m Memory) knows(network string) Memory {
	m.Known = slices.DeleteFunc(slices.Clone(m.Known), func(known string) bool { return known == network })
	m.Known = append(m.Known, network)
	m.Known = m.Known[max(0, len(m.Known)-mostKnown):]
	return m
}

func (m Memory) opened(challenge Open) Memory {
	m.Open = append(slices.Clone(m.Open), challenge)
	m.Open = m.Open[max(0, len(m.Open)-mostOpen):]
	return m
}

// tried counts a wrong answer to a challenge, which is void after too many.
func (m Memory) tried(challenge uuid.UUID) Memory {
	m.Open = slices.Clone(m.Open)
	for i := range m.Open {
		if m.Open[i].ID == challenge {
			m.Open[i].Tries++
		}
	}
	m.Open = slices.DeleteFunc(m.Open, func(o Open) bool { return o.Tries >= mostTries })
	return m
}

// answered voids a challenge: it works once.
func (m Memory) answered(challenge uuid.UUID) Memory {
	m.Open = slices.DeleteFunc(slices.Clone(m.Open), func(o Open) bool { return o.ID == challenge })
	return m
}

// used notes a backup code, "" for none, and forgets those that the account does not have any more.
func (m Memory) used(code string, unused []string) Memory {
	m.Used = slices.DeleteFunc(slices.Clone(m.Used), func(used string) bool { return !slices.Contains(unused, used) })
	if code != "" {
		m.Used = append(m.Used, code)
	}
	return m
}

func (m Memory) wrongCode(now time.Time) Memory {
	m.Codes = append(slices.Clone(m.Codes), now.UTC())
	m.Codes = m.Codes[max(0, len(m.Codes)-MostCodes):]
	return m
}

// CodesFrom is from when on a code is checked.
func (m Memory) CodesFrom(now time.Time) time.Time {
	if len(m.Codes) < MostCodes {
		return now
	}
	return m.Codes[len(m.Codes)-MostCodes].Add(CodesWithin)
}

// LockedUntil is when the lockout that an attempt meets ends; the zero time when there is none.
func (m Memory) LockedUntil(attempt Attempt) (until time.Time) {
	site := attempt.site()
	if slices.Contains(m.Known, attempt.Network) {
		site = "" // what its neighbours guess is not the owner's fault
	}
	for _, p := range m.Places {
		if p.Of == attempt.Of && (p.Network == attempt.Network || site != "" && p.Network == site) &&
			attempt.Now.Before(p.Until) && p.Until.After(until) {
			until = p.Until
		}
	}
	return until
}

// Left is how many wrong passwords the network of an attempt may still try until it is locked out.
func (m Memory) Left(attempt Attempt, policy Policy) int {
	if m.Locked(attempt) {
		return 0
	}
	allowed := policy.Attempts
	if m.Slowed(attempt, policy) {
		allowed = min(allowed, attemptsWhenSlowed)
	}
	m = m.at(attempt.Now, policy)
	if i := m.place(attempt.Of, attempt.Network); i >= 0 {
		allowed -= m.Places[i].Wrong
	}
	return allowed
}

// Locked says whether an attempt meets a lockout.
func (m Memory) Locked(attempt Attempt) bool { return !m.LockedUntil(attempt).IsZero() }

func (m Memory) anyLocked(now time.Time) bool {
	return slices.ContainsFunc(m.Places, func(p Place) bool { return now.Before(p.Until) })
}

// CodesRefused says whether there were so many wrong codes that none is checked now.
func (m Memory) CodesRefused(now time.Time) bool { return m.CodesFrom(now).After(now) }

// Answerable says whether a challenge can be answered.
func (m Memory) Answerable(challenge uuid.UUID, now time.Time) bool {
	return slices.ContainsFunc(m.Open, func(o Open) bool {
		return o.ID == challenge && o.Tries < mostTries && now.Sub(o.At) <= ChallengeLife
	})
}

// Slowed says whether an attempt has to wait, because networks guess together. Those are not slowed down from which
// somebody signed in before, and nobody is shut out.
func (m Memory) Slowed(attempt Attempt, policy Policy) bool {
	if slices.Contains(m.Known, attempt.Network) {
		return false
	}
	guesses := 0
	for _, p := range m.at(attempt.Now, policy).Places {
		isSite := strings.HasSuffix(p.Network, "/48") // its networks are counted one by one
		if p.Of == attempt.Of && !isSite && !slices.Contains(m.Known, p.Network) {
			guesses += p.Wrong
		}
	}
	return guesses >= guessesSlow*policy.Attempts
}
