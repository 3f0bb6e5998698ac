package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/secboard/secboard/domain"
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

// modulesAnswer has no cursor to follow: there are few modules.
type modulesAnswer struct {
	Body projections.List[projections.Module]
}

func (s *server) modules() resource[projections.Module] {
	return resource[projections.Module]{
		path: "/modules", read: s.ReadModels.Module,
		revision: func(m projections.Module) eventstore.Revision { return m.Revision },
	}
}

func (s *server) addModules() {
	const tag = "Modules"
	register(s, operation{
		method: http.MethodGet, path: "/modules", id: "list-modules", tag: tag, required: signedIn, summary: "List the modules that permissions can name",
		description: "SecBoard's own (`own`) and those of the host platform that were registered. All of them at once.",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*modulesAnswer, error) {
		modules, err := s.ReadModels.Modules(ctx)
		return &modulesAnswer{Body: projections.List[projections.Module]{Items: modules}}, err
	})
	register(s, operation{
		method: http.MethodGet, path: "/modules/{key}", id: "get-module", tag: tag, required: signedIn, summary: "One module, now or as it was",
	}, s.getModule)
	registerCommand(s, operation{
		method: http.MethodPut, path: "/modules/{key}", id: "register-module", tag: tag, required: needs("settings", domain.Edit),
		summary: "Register a module of the host platform, or rename it",
	}, s.registerModule)
	responses := s.documented(http.MethodPut, "/modules/{key}").Responses
	responses["201"] = &huma.Response{Description: "Registered", Headers: responses["200"].Headers, Content: responses["200"].Content}
}

func (s *server) getModule(ctx context.Context, in *getModuleRequest) (*one[projections.Module], error) {
	var found projections.Module
	var err error
	if at := in.AsOf.end(); at != nil {
		found, err = s.ReadModels.ModuleAsOf(ctx, in.Key, *at)
	} else {
		found, err = s.ReadModels.Module(ctx, in.Key)
	}
	if err != nil {
		return nil, err
	}
	return &one[projections.Module]{ETag: etag(found.Revision), Body: found}, nil
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
