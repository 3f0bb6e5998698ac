package httpapi

import (
	"context"
	"net/http"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections"
)

type signInCheckAnswer struct {
	Body projections.SignInCheck
}

func (s *server) addSignInCheck() {
	register(s, operation{
		method: http.MethodGet, path: "/users/{id}/sign-in-check", id: "sign-in-check", tag: "Accounts",
		required: needs("users", domain.View).forCompanies(),
		summary:  "Whether this person could sign in, and if not, why",
		description: "`checks` in the order in which they count: `email_known`, `active`, `start_date`, " +
			"`end_date`, `directory_account`, `has_password_or_directory`, `locked_out`, `two_factor`; each with " +
			"the event that caused it, its time and its actor, and in `fix` the call, below " + basePath +
			", that corrects it. `verdict` is `allowed`, `two_factor` (a code is asked for), `two_factor_setup` " +
			"(the session may only set it up) or `refused`; `reason` says it in a sentence. `last_attempt` has " +
			"the true outcome, which the person was not told.",
	}, func(ctx context.Context, in *getRequest) (*signInCheckAnswer, error) {
		if err := s.reachAccount(ctx, in.ID, in.AsOf); err != nil {
			return nil, err
		}
		check, err := s.ReadModels.SignInCheck(ctx, in.ID, s.Now(), in.AsOf.end())
		return &signInCheckAnswer{Body: check}, err
	})
}
