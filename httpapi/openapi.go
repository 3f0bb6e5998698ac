package httpapi

import (
	"cmp"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

const schemaPrefix = "#/components/schemas/"

const introduction = "Accounts, companies, roles and access groups of SecBoard. Every change is recorded with " +
	"who made it, when and from where; nothing is ever deleted.\n\n" +
	"**Errors** are RFC 9457 problems (`application/problem+json`) with a stable `code`; 422 lists every wrong " +
	"field in `errors`.\n\n" +
	"**Signing in** returns a token for `Authorization: Bearer` and also sets it as the cookie `secboard_session`. " +
	"With the cookie, unsafe methods need `X-CSRF-Token` with the `csrf_token` of `GET /sessions/current`, " +
	"otherwise they are refused with 403 `csrf_failed`; with Bearer they don't. An account that must set up " +
	"two-factor first gets a session that may do only that; everything else is refused with 403 " +
	"`two_factor_setup_required` until the device is confirmed, which turns the same session into a full one.\n\n" +
	"**Commands** answer with the resource as it is after the change, `ETag` and `Secboard-Position`. If the read " +
	"models don't have the change within 2 s, or with `Prefer: respond-async`, the answer is 202. `If-Match` makes " +
	"a change conditional (412). `Idempotency-Key`: a request repeated with the same key and body within 24 h " +
	"returns the first answer and changes nothing; with another body it is refused with 422 " +
	"`idempotency_key_reused`.\n\n" +
	"**Queries** accept `Secboard-Min-Position`, to read what was just written. Lists have `items` and " +
	"`next_cursor`.\n\n" +
	"**DELETE** of anything that has a history, such as an account or a company, is refused with 405 " +
	"`history_is_kept`; `detail` says what to call instead."

func (s *server) openAPIConfig() huma.Config {
	config := huma.DefaultConfig("SecBoard", "1.0.0")
	config.Info.Description = introduction
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "The token that POST " + basePath +
			"/sessions returns"},
		"cookie": {Type: "apiKey", In: "cookie", Name: sessionCookie, Description: "The same token in a cookie, " +
			"for browsers; unsafe methods also need X-CSRF-Token"},
	}
	config.Tags = tags
	// Ours: served from the finished document, with pages that need nothing from elsewhere.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	strict := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshalStrictly}
	// The second is for every +json.
	config.Formats = map[string]huma.Format{"application/json": strict, "json": strict}
	config.CreateHooks = nil // they would add a $schema field to every body
	return config
}

// documented is an operation as it stands in the document.
func (s *server) documented(method, path string) *huma.Operation {
	item := s.api.OpenAPI().Paths[basePath+path]
	return map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch,
		http.MethodDelete: item.Delete,
	}[method]
}

// fieldDescriptions are for the fields of the read models, by their name in JSON or by schema and name, where the name
// alone says too little.
var fieldDescriptions = map[string]string{
	"revision":        "Revision of the resource's stream; also the ETag",
	"User.state":      "active, inactive, not_started, expired or directory_disabled",
	"Status.state":    "live, catching_up, rebuilding or stopped",
	"state_reason":    "Why the account can't be used; null when it can",
	"source":          "Where the password is kept: local or directory",
	"retired":         "Whether it is retired",
	"doubts":          "Attempts whose outcome is unknown, because the server's answer was lost",
	"last_error":      "Why the last attempt failed, or the mail was given up",
	"next_attempt_at": "null: it is being sent, or will not be tried again",
	"finished_at":     "null: not finished yet",
	"notice":          "What a security notice is about",

	"MailMessage.mail_account_id": "Mail account of the last attempt",
	"MailMessage.expires_at":      "After this time it is not tried again",
	"MailAccount.has_password":    "Whether a password is stored",
	"MailMessage.state":           "queued, sending, sent, failed or abandoned",
	"MailMessage.user_id":         "Whom the mail is about",
	"next_cursor":                 "Cursor for the next page; null on the last one",
	"User.position":               "Position in the company",
	"Status.position":             "Position in the log of the last event applied",
	"directory_id":                "The directory through which the account signs in",
	"directory_dn":                "Distinguished name of the account's entry in the directory",
	"Directory.vouched": "Whether a superuser has approved the connection. Only then does it give groups and sign " +
		"in people who have permissions",
	"Directory.check_stopped": "Why the comparison of accounts waits for confirmation; null when it doesn't",

	"HistoryEntry.position": "Position in the log",
	"joined_by":             "Who made the account a member",
	"event_id":              "Event in the history that recorded it",
	"lag_events":            "How many events are still to be applied",
	"lag_ms":                "Age of the newest event still to be applied, in milliseconds",
	"own":                   "Whether it is one of SecBoard's own modules",
	"field":                 "Name of the field as in the resource",
	"from":                  "Value before; null for none",
	"to":                    "Value after; null for none",
	"correlation_id":        "Shared by everything that one request caused",
	"causation_id":          "What caused it: the sign-in event of the session, otherwise the command",
	"summary":               "What happened, in one sentence",
	"differs":               "Columns in which the existing account differs from the line; left out without users.view",
	"last_sign_in_at":       "null: never",
	"language":              "Language of mails and pages for the person: en, uk or ru; null: that of the site",
	"backup_codes_left":     "How many backup codes are unused",
	"via":                   "Grants, each of which is sufficient by itself",
	"Grant.kind":            "group or superuser",
	"Grant.name":            "Name of the group at that time",
	"Grant.event_id":        "Event by which the account joined the group or was made a superuser",
	"allowed_at":            "When the group got the permission",
	"given_at":              "The later of joined_at and allowed_at",
	"given_event_id":        "Event that put the permission into effect: the later of the two",
	"allowed":               "With module and action: the answer",
	"because":               "With module and action: why, or everything that was missing",
	"AccountAccess.state": "active, inactive, not_started, expired or directory_disabled; only active may do " +
		"anything",
	"AccessReason.code":     "superuser or group if it is allowed; otherwise what was missing",
	"AccessReason.event_id": "Event that caused it",
}

var (
	idType   = reflect.TypeFor[uuid.UUID]()
	dateType = reflect.TypeFor[domain.Date]()
)

// describeSchemas adds what Go types know and their schemas lack: formats of ids and dates, which fields may be null,
// and descriptions. Answers may get more fields later; only bodies of requests are closed.
func describeSchemas(document *huma.OpenAPI) {
	registry := document.Components.Schemas
	closed := bodySchemas(document)
	listCodes(registry.Map())
	for name, schema := range registry.Map() {
		if !closed[name] {
			schema.AdditionalProperties = nil
		}
		for _, field := range reflect.VisibleFields(registry.TypeFromRef(schemaPrefix + name)) {
			fieldName := jsonName(field)
			property := schema.Properties[fieldName]
			if property == nil {
				continue
			}
			describeField(property, field.Type, strings.Contains(field.Tag.Get("json"), ",omit"))
			if property.Description == "" && property.Ref == "" && !closed[name] {
				property.Description = cmp.Or(fieldDescriptions[name+"."+fieldName], fieldDescriptions[fieldName])
			}
		}
	}
}

// listCodes says which codes a problem may have, and which a wrong field: any, since a line of an import is told each
// refusal.
func listCodes(schemas map[string]*huma.Schema) {
	for _, section := range domain.Codes {
		for _, entry := range section.Entries {
			field := schemas["FieldError"].Properties["code"]
			field.Enum = append(field.Enum, string(entry.Code)) // as in JSON
			if entry.Status != 0 {
				problem := schemas["Problem"].Properties["code"]
				problem.Enum = append(problem.Enum, string(entry.Code))
			}
		}
	}
}

// describeField describes one field; a pointer is null where it is not left out.
func describeField(property *huma.Schema, goType reflect.Type, leftOut bool) {
	if goType.Kind() == reflect.Slice && property.Items != nil {
		describeField(property.Items, goType.Elem(), false)
		return
	}
	if goType.Kind() == reflect.Pointer && leftOut {
		goType = goType.Elem()
	}
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
		if property.Ref != "" {
			property.AnyOf = []*huma.Schema{{Ref: property.Ref}, {Type: "null"}}
			property.Ref = ""
			return
		}
		property.Nullable = true
	}
	switch goType {
	case idType:
		property.Format = "uuid"
	case dateType:
		property.Format = "date"
	}
}

// bodySchemas are the names of the schemas that bodies of requests use.
func bodySchemas(document *huma.OpenAPI) map[string]bool {
	names := map[string]bool{}
	var follow func(*huma.Schema)
	follow = func(schema *huma.Schema) {
		if schema == nil {
			return
		}
		if name, isRef := strings.CutPrefix(schema.Ref, schemaPrefix); isRef && !names[name] {
			names[name] = true
			follow(document.Components.Schemas.SchemaFromRef(schema.Ref))
		}
		for _, property := range schema.Properties {
			follow(property)
		}
		if values, ok := schema.AdditionalProperties.(*huma.Schema); ok {
			follow(values)
		}
		follow(schema.Items)
	}
	for _, item := range document.Paths {
		for _, operation := range []*huma.Operation{item.Post, item.Put, item.Patch, item.Delete} {
			if operation == nil || operation.RequestBody == nil {
				continue
			}
			for _, media := range operation.RequestBody.Content {
				follow(media.Schema)
			}
		}
	}
	return names
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}
