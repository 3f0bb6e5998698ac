package access_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
)

var (
	noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

	acme, nova = uuid.UUID{1}, uuid.UUID{2}
	// Groups, the ids in the order of the names.
	editors, readers, strangers, viewers = uuid.UUID{11}, uuid.UUID{12}, uuid.UUID{13}, uuid.UUID{14}

	modules = []string{"risks", "users"}
)

func day(offset int) domain.Date { return domain.DateOf(noon.AddDate(0, 0, offset)) }

// happened is the cause of what happened some days after noon.
func happened(days int) access.Cause {
	return access.Cause{
		EventID: uuid.UUID{99, byte(days)}, At: noon.AddDate(0, 0, days), By: access.Actor{Kind: "user", ID: "ada"},
	}
}

func TestStateOfAnAccount(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given       access.Standing
		state, said string
	}{
		"active":                    {access.Standing{Active: true}, access.Active, ""},
		"on its first and last day": {access.Standing{Active: true, Start: day(0), End: day(0)}, access.Active, ""},
		"before its first day": {
			access.Standing{Active: true, Start: day(1)}, access.NotStarted, "access starts on 2026-06-16",
		},
		"after its last day": {
			access.Standing{Active: true, End: day(-1)}, access.Expired, "access ended on 2026-06-14",
		},
		"deactivated":                {access.Standing{}, access.Inactive, "deactivated"},
		"deactivated, with a reason": {access.Standing{Reason: "left"}, access.Inactive, "deactivated: left"},
		"deactivated after its end":  {access.Standing{End: day(-1)}, access.Inactive, "deactivated"},
		"a superuser, but too late": {
			access.Standing{Active: true, Superuser: true, End: day(-1)}, access.Expired, "access ended on 2026-06-14",
		},
		"closed by its directory": {access.Standing{Active: true, Closed: true}, access.DirectoryDisabled,
			"closed by the directory: its entry is disabled"},
		"gone from its directory": {access.Standing{Active: true, Closed: true, ClosedFor: user.ClosedVanished},
			access.DirectoryDisabled, "closed by the directory: its entry no longer exists"},
		"closed before its first day": {access.Standing{Active: true, Closed: true, Start: day(1)},
			access.DirectoryDisabled, "closed by the directory: its entry is disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, said := test.given.State(noon)
			if state != test.state || said != test.said {
				t.Errorf("%s, %q; want %s, %q", state, said, test.state, test.said)
			}
		})
	}
}

// history is how an account, or a group, came to stand as it does.
func history[T any](versions ...access.Version[T]) []access.Version[T] { return versions }

func since[T any](days int, state T) access.Version[T] {
	return access.Version[T]{Cause: happened(days), State: state}
}

func may(actions domain.Actions) domain.Permissions { return domain.Permissions{"risks": actions} }

// given are the facts of an active account of Acme, in the groups of memberships.
func given(account []access.Version[access.Standing], memberships ...access.Membership) access.Facts {
	if account == nil {
		account = history(since(-9, access.Standing{CompanyID: acme, Active: true}))
	}
	return access.Facts{
		Now: noon, Account: account, Memberships: memberships, Modules: modules,
		Groups: map[uuid.UUID][]access.Version[access.Offer]{
			editors: history(
				since(-8, access.Offer{Name: "Editors", CompanyID: acme, Permissions: may(domain.Actions{View: true})}),
				since(-3,
					access.Offer{
						Name: "Editors", CompanyID: acme, Permissions: may(domain.Actions{View: true, Edit: true}),
					})),
			readers: history(
				since(-8,
					access.Offer{Name: "Readers", CompanyID: acme, Permissions: may(domain.Actions{View: true})})),
			strangers: history(
				since(-8,
					access.Offer{Name: "Strangers", CompanyID: nova, Permissions: may(domain.Actions{Delete: true})})),
			viewers: history(
				since(-8, access.Offer{Name: "Viewers", Permissions: may(domain.Actions{View: true, Export: true})}),
				since(-2, access.Offer{Name: "Viewers", Permissions: may(domain.Actions{View: true})})),
		},
	}
}

func joined(group uuid.UUID, days int) access.Membership {
	return access.Membership{Group: group, Joined: happened(days)}
}

func left(m access.Membership, days int) access.Membership {
	cause := happened(days)
	m.Left = &cause
	return m
}

// retired is the facts after a group was retired.
func retired(f access.Facts, group uuid.UUID, days int) access.Facts {
	offer := f.Groups[group][len(f.Groups[group])-1].State
	offer.Retired = true
	f.Groups[group] = append(f.Groups[group], since(days, offer))
	return f
}

func TestWhyAndWhyNot(t *testing.T) {
	t.Parallel()
	because := func(code, detail string, group uuid.UUID, cause ...int) access.Reason {
		r := access.Reason{Code: code, Detail: detail, Group: group}
		if len(cause) > 0 {
			c := happened(cause[0])
			r.Cause = &c
		}
		return r
	}
	standing := func(s access.Standing) []access.Version[access.Standing] {
		return history(since(-9, access.Standing{CompanyID: acme, Active: true}), since(-1, s))
	}
	nobodyGives := because(access.BecauseNobodyIsGiving, "no group in use allowed risks.add to anybody", uuid.Nil)
	for name, test := range map[string]struct {
		given   access.Facts
		module  string
		action  domain.Action
		allowed bool
		because []access.Reason
	}{
		"in a group that allows it": {given(nil, joined(readers, -5)), "risks", domain.View, true, []access.Reason{
			because(access.BecauseGroup, "member of the group Readers, which allows risks.view", readers, -5),
		}},
		"in a group that allowed it later": {given(nil,
			joined(editors, -5)), "risks", domain.Edit, true, []access.Reason{
			because(access.BecauseGroup, "member of the group Editors since 2026-06-10T12:00:00Z; the group later "+
				"began to allow risks.edit", editors, -3),
		}},
		"by two groups, by their names": {given(nil, joined(readers, -5), joined(editors, -4)), "risks", domain.View,
			true, []access.Reason{
				because(access.BecauseGroup, "member of the group Editors, which allows risks.view", editors, -4),
				because(access.BecauseGroup, "member of the group Readers, which allows risks.view", readers, -5),
			}},
		"a superuser": {given(standing(access.Standing{CompanyID: acme, Active: true, Superuser: true})), "users",
			domain.Delete, true, []access.Reason{
				because(access.BecauseSuperuser, "a superuser may do everything", uuid.Nil, -1),
			}},
		"a superuser in a module that is none": {given(
			standing(access.Standing{CompanyID: acme, Active: true, Superuser: true})), "assets", domain.View, false,
			[]access.Reason{
				because(access.BecauseUnknownModule, "there was no module named assets", uuid.Nil),
				because(access.BecauseNoGroup, "the account was in no group", uuid.Nil),
				because(access.BecauseNobodyIsGiving, "no group in use allowed assets.view to anybody", uuid.Nil),
			}},
		"a deactivated member": {given(standing(access.Standing{CompanyID: acme, Reason: "left"}), joined(readers, -5)),
			"risks", domain.View, false, []access.Reason{
				because(access.Inactive, "the account could not be used: deactivated: left", uuid.Nil, -1),
				because(access.BecauseHeld, "if the account could be used: member of the group Readers, which allows "+
					"risks.view", readers, -5),
			}},
		"a member closed by the directory": {given(standing(access.Standing{
			CompanyID: acme, Active: true, Closed: true,
		}), joined(readers, -5)), "risks", domain.View, false, []access.Reason{
			because(access.DirectoryDisabled, "the account could not be used: closed by the directory: its entry is "+
				"disabled", uuid.Nil, -1),
			because(access.BecauseHeld, "if the account could be used: member of the group Readers, which allows "+
				"risks.view", readers, -5),
		}},
		"in no group": {given(nil), "risks", domain.Add, false, []access.Reason{
			because(access.BecauseNoGroup, "the account was in no group", uuid.Nil), nobodyGives,
		}},
		"in a group that allows other things": {given(nil, joined(readers, -5)), "risks", domain.Add, false,
			[]access.Reason{
				because(access.BecauseLacksAction, "the group Readers allows view in risks, but not add", readers),
				nobodyGives,
			}},
		"in a group that allows it no more": {given(nil, joined(viewers, -5)), "risks", domain.Export, false,
			[]access.Reason{
				because(access.BecauseLacksAction, "the group Viewers allows view in risks, but not export any more",
					viewers, -2),
				because(access.BecauseNobodyIsGiving, "no group in use allowed risks.export to anybody", uuid.Nil),
			}},
		"in a group that allows nothing there": {given(nil, joined(readers, -5)), "users", domain.Add, false,
			[]access.Reason{
				because(access.BecauseNoGroup, "none of the account's groups (1) allowed anything in users", uuid.Nil),
				because(access.BecauseNobodyIsGiving, "no group in use allowed users.add to anybody", uuid.Nil),
			}},
		"in a retired group": {retired(given(nil, joined(editors, -5)), editors, -1), "risks", domain.Edit, false,
			[]access.Reason{
				because(access.BecauseRetired, "the group Editors, which allowed it, is retired", editors, -1),
				because(access.BecauseNobodyIsGiving, "no group in use allowed risks.edit to anybody", uuid.Nil),
			}},
		"no longer in the group": {given(nil, left(joined(editors, -5), -1)), "risks", domain.Edit, false,
			[]access.Reason{
				because(access.BecauseNoGroup, "the account was in no group", uuid.Nil),
				because(access.BecauseLeft, "the account had left the group Editors, which allowed it", editors, -1),
			}},
		"back in the group": {given(nil, left(joined(editors, -7), -6), joined(editors, -5)), "risks", domain.View,
			true, []access.Reason{
				because(access.BecauseGroup, "member of the group Editors, which allows risks.view", editors, -5),
			}},
		"only another company's group allows it": {given(nil), "risks", domain.Delete, false, []access.Reason{
			because(access.BecauseNoGroup, "the account was in no group", uuid.Nil),
			because(access.BecauseOtherCompany,
				"the group Strangers allowed it, but only to accounts of another company", strangers),
		}},
		"groups that one could join": {given(nil), "risks", domain.View, false, []access.Reason{
			because(access.BecauseNoGroup, "the account was in no group", uuid.Nil),
			because(access.BecauseWouldAllow, "membership in the group Editors would allow it", editors),
			because(access.BecauseWouldAllow, "membership in the group Readers would allow it", readers),
			because(access.BecauseWouldAllow, "membership in the group Viewers would allow it", viewers),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			allowed, reasons := test.given.Answer(test.module, test.action,
				slices.Collect(maps.Keys(test.given.Groups)))
			if allowed != test.allowed {
				t.Errorf("allowed: %t", allowed)
			}
			if diff := cmp.Diff(test.because, reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnlySomeOfManyGroupsAreNamed(t *testing.T) {
	t.Parallel()
	facts := given(nil)
	for i := range access.MaxOffers + 5 {
		facts.Groups[uuid.UUID{50, byte(i)}] = history(
			since(-8, access.Offer{Name: "Adders", Permissions: may(domain.Actions{Add: true})}))
	}
	_, reasons := facts.Answer("risks", domain.Add, slices.Collect(maps.Keys(facts.Groups)))
	if len(reasons) != 1+access.MaxOffers {
		t.Errorf("%d reasons", len(reasons))
	}
}

func TestItemsAreByModuleAndAction(t *testing.T) {
	t.Parallel()
	facts := given(nil, joined(editors, -5), joined(readers, -4))
	editorsMay := facts.Groups[editors][1]
	want := []access.Item{
		{Module: "risks", Action: domain.View, Via: []access.Grant{
			{Group: editors, Offer: editorsMay.State, Joined: happened(-5), Allowed: happened(-8)},
			{Group: readers, Offer: facts.Groups[readers][0].State, Joined: happened(-4), Allowed: happened(-8)},
		}},
		{Module: "risks", Action: domain.Edit, Via: []access.Grant{
			{Group: editors, Offer: editorsMay.State, Joined: happened(-5), Allowed: happened(-3)},
		}},
	}
	if diff := cmp.Diff(want, facts.Items("", "")); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:], facts.Items("risks", domain.Edit)); diff != "" {
		t.Errorf("one action (-want +got):\n%s", diff)
	}
	if items := facts.Items("users", ""); len(items) != 0 {
		t.Errorf("another module: %v", items)
	}
}

// What a command decides from folded states is what a read model explains.
func TestAFoldedAccountIsJudgedByTheSameRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		groups, offers := map[uuid.UUID]group.State{}, []access.Offer(nil)
		account := user.State{
			Exists: true, Active: rapid.Bool().Draw(rt, "active"), Superuser: rapid.Bool().Draw(rt, "superuser"),
			Details: user.Details{CompanyID: acme}, Groups: map[uuid.UUID]string{},
		}
		account.Details.EndDate = day(rapid.IntRange(-1, 1).Draw(rt, "last day"))
		account.Directory.Disabled = rapid.Bool().Draw(rt, "closed")
		for i := range rapid.IntRange(0, 3).Draw(rt, "groups") {
			id := uuid.UUID{20, byte(i)}
			permissions := domain.Permissions{}
			for _, module := range modules {
				permissions[module] = domain.Actions{
					View: rapid.Bool().Draw(rt, "view"), Edit: rapid.Bool().Draw(rt, "edit"),
				}
			}
			state := group.State{Lifecycle: domain.Lifecycle{Exists: true, Retired: rapid.Bool().Draw(rt, "retired")},
				Name:        "G",
				Permissions: permissions}
			groups[id] = state
			if rapid.Bool().Draw(rt, "member") {
				account.Groups[id] = "G"
				offers = append(offers, access.OfferOf(state))
			}
		}
		rights := access.RightsOf(access.StandingOf(account, ""), offers, noon)
		facts := access.FactsOf(account, groups, modules, noon)
		if diff := cmp.Diff(rights, facts.Rights(), cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("rights of the folded states and of the facts (-folded +facts):\n%s", diff)
		}
		for _, module := range modules {
			for _, action := range domain.AllActions {
				allowed, because := access.Of(account, groups, modules, noon, module, action)
				if allowed != rights.Allows(module, action) || allowed != (len(facts.Items(module, action)) == 1) ||
					len(because) == 0 {
					rt.Errorf("%s.%s: %t %+v, but the rights are %+v", module, action, allowed, because, rights)
				}
			}
		}
	})
}

func TestNoRightsMayDoNothing(t *testing.T) {
	t.Parallel()
	if (access.Rights{}).Allows("users", domain.View) || (access.Rights{Superuser: true}).Allows("users", domain.View) {
		t.Error("rights without a state allow something")
	}
}

// What a company's group allows in SecBoard's own modules concerns that company alone, and the reason says so.
func TestAReasonNamesItsScope(t *testing.T) {
	t.Parallel()
	allowed := domain.Permissions{"users": {View: true}, "risks": {View: true}}
	for name, c := range map[string]struct {
		company uuid.UUID
		module  string
		detail  string
	}{
		"of the company": {acme, "users", "member of the group Clerks, which allows users.view, for what belongs " +
			"to its " +
			"company alone"},
		"of all companies":           {uuid.Nil, "users", "member of the group Clerks, which allows users.view"},
		"a module of the host's own": {acme, "risks", "member of the group Clerks, which allows risks.view"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clerks := uuid.UUID{60}
			facts := given(nil, joined(clerks, -5))
			facts.Groups[clerks] = history(
				since(-8, access.Offer{Name: "Clerks", CompanyID: c.company, Permissions: allowed}))
			facts.Modules = []string{"risks", "users"}
			may, reasons := facts.Answer(c.module, domain.View, nil)
			if !may || len(reasons) != 1 || reasons[0].Detail != c.detail {
				t.Errorf("%t: %+v", may, reasons)
			}
		})
	}
}
