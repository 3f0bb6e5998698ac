package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

// ByKey names one module in the path.
type ByKey struct {
	Key string `path:"key" pattern:"^[a-z][a-z0-9_]{0,49}$" patternDescription:"lower-case letters, digits and underscores, starting with a letter" example:"risks"`
}

type moduleName struct {
	Name string `json:"name" maxLength:"200" example:"Risks"`
}

type registerModuleRequest struct {
	ChangeHeaders
	ByKey
	Body moduleName
}

type getModuleRequest struct {
	QueryHeaders
	PointInTime
	ByKey
}

type moduleHistoryRequest struct {
	QueryHeaders
	HistoryParams
	ByKey
}

// modulesAnswer has no cursor to follow: there are few modules.
type modulesAnswer struct {
	Body projections.List[projections.Module]
}

func (s *server) modules() resource[projections.Module] {
	return resource[projections.Module]{
		path: "/modules", name: "module", tag: "Modules", kind: module.Kind, read: s.ReadModels.Module,
		asOf:     s.ReadModels.ModuleAsOf,
		revision: func(m projections.Module) eventstore.Revision { return m.Revision },
	}
}

func (s *server) addModules() {
	const tag = "Modules"
	register(s, operation{
		method: http.MethodGet, path: "/modules", id: "list-modules", tag: tag, required: signedIn,
		summary:     "List the modules that permissions can name",
		description: "SecBoard's own modules (`own`) and those registered for the host platform, all on one page.",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*modulesAnswer, error) {
		modules, err := s.ReadModels.Modules(ctx)
		return &modulesAnswer{Body: projections.List[projections.Module]{Items: modules}}, err
	})
	register(s, operation{
		method: http.MethodGet, path: "/modules/{key}", id: "get-module", tag: tag, required: signedIn,
		summary: "One module, now or as it was",
	}, func(ctx context.Context, in *getModuleRequest) (*one[projections.Module], error) {
		return s.modules().get(ctx, in.Key, in.AsOf)
	})
	registerCommand(s, operation{
		method: http.MethodPut, path: "/modules/{key}", id: "register-module", tag: tag,
		required: needs("settings", domain.Edit),
		summary:  "Register a module of the host platform, or rename it",
	}, s.registerModule)
	responses := s.documented(http.MethodPut, "/modules/{key}").Responses
	responses["201"] = &huma.Response{
		Description: "Registered", Headers: responses["200"].Headers, Content: responses["200"].Content,
	}
	register(s, operation{
		method: http.MethodGet, path: "/modules/{key}/history", id: "module-history", tag: tag,
		required: signedIn.seesHistory(),
		summary:  "History of a module, newest first",
	}, func(ctx context.Context, in *moduleHistoryRequest) (*list[projections.HistoryEntry], error) {
		return s.modules().history(ctx, s, in.Key, in.HistoryParams)
	})
}

func (s *server) registerModule(ctx context.Context, in *registerModuleRequest) (*answer[projections.Module], error) {
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.RegisterModule(ctx, caller, in.Key, in.Body.Name)
	if err != nil {
		return nil, err
	}
	if result.Changed && result.Revision == 0 {
		return s.modules().created(ctx, s, in.Prefer, result)
	}
	return s.modules().changed(ctx, s, in.Prefer, result)
}
