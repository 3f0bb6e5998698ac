package httpapi

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections"
)

type navigationItem struct {
	Key  string `json:"key" doc:"Key of the module"`
	Name string `json:"name"`
}

// widget is a part of the executive view, and the roles that give it.
type widget struct {
	Name  string            `json:"name"`
	Roles []projections.Ref `json:"roles" doc:"Your roles that have it"`
}

type ownAccess struct {
	Superuser   bool                     `json:"superuser" doc:"Whether the account may do everything, regardless of permissions"`
	Permissions domain.Permissions       `json:"permissions" doc:"What the groups allow, be it for one company only"`
	Granted     []grantedAction          `json:"granted" doc:"The same, each with the company that it is for"`
	Items       []projections.AccessItem `json:"items" doc:"The same, each with the grants that it comes from, as at GET /users/{id}/access"`
}

// grantedAction is one action in one module that groups allow, and for which company.
type grantedAction struct {
	Module    string        `json:"module"`
	Action    domain.Action `json:"action"`
	CompanyID *uuid.UUID    `json:"company_id" doc:"In SecBoard's own modules it concerns only what belongs to this company; null: everything"`
}

// grantedActions lists what groups allow by module, action and company. What is allowed for everything is not listed
// for a company once more.
func grantedActions(granted domain.Granted) []grantedAction {
	actions := []grantedAction{}
	all := granted.Anywhere()
	for _, module := range slices.Sorted(maps.Keys(all)) {
		for _, action := range domain.AllActions {
			everywhere, companies := granted.Reach(module, action)
			if everywhere {
				actions = append(actions, grantedAction{Module: module, Action: action})
			}
			for _, company := range companies {
				actions = append(actions, grantedAction{module, action, &company})
			}
		}
	}
	return actions
}

type ownAccessAnswer struct {
	Body ownAccess
}

// addOverviews adds what a user interface asks for to show a person what there is.
func (s *server) addOverviews() {
	register(s, operation{
		method: http.MethodGet, path: "/me/navigation", id: "own-navigation", tag: ownTag, required: signedIn,
		summary: "Modules to show links to",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*list[navigationItem], error) {
		access := infoOf(ctx).access
		modules, err := s.ReadModels.Modules(ctx)
		if err != nil {
			return nil, err
		}
		var items []navigationItem
		for _, module := range modules {
			if access.Allows(module.Key, domain.ShowLink) {
				items = append(items, navigationItem{module.Key, module.Name})
			}
		}
		return listOf(projections.List[navigationItem]{Items: items}, nil)
	})
	register(s, operation{
		method: http.MethodGet, path: "/me/dashboard", id: "own-dashboard", tag: ownTag, required: signedIn,
		summary: "Widgets of your own roles",
		description: "Sorted by role name, then in the order of the role's widgets; a widget that several roles " +
			"have is listed once. Retired roles add none.",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*list[widget], error) {
		items, err := s.ownWidgets(ctx, infoOf(ctx).access.UserID)
		return listOf(projections.List[widget]{Items: items}, err)
	})
	register(s, operation{
		method: http.MethodGet, path: "/me/access", id: "own-access", tag: ownTag, required: signedIn,
		summary: "What your own account may do",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*ownAccessAnswer, error) {
		access := infoOf(ctx).access
		found, err := s.ReadModels.AccountAccess(ctx, access.UserID, projections.AccessFilter{}, s.Now(), nil)
		if err != nil {
			return nil, err
		}
		return &ownAccessAnswer{Body: ownAccess{
			Superuser: access.Superuser, Permissions: access.Granted.Anywhere(),
			Granted: grantedActions(access.Granted), Items: found.Items,
		}}, nil
	})
}

func (s *server) ownWidgets(ctx context.Context, account uuid.UUID) ([]widget, error) {
	roles, err := s.ReadModels.RolesOf(ctx, account)
	if err != nil {
		return nil, err
	}
	var items []widget
	at := map[string]int{}
	for _, role := range roles {
		for _, name := range role.Widgets {
			i, met := at[name]
			if !met {
				i, at[name] = len(items), len(items)
				items = append(items, widget{Name: name})
			}
			items[i].Roles = append(items[i].Roles, projections.Ref{ID: role.ID, Name: role.Name})
		}
	}
	return items, nil
}
