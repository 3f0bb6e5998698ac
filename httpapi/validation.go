package httpapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/secboard/secboard/domain"
)

// schemaMessages are what a field is told that does not fit its schema, in the words of the domain's own checks, and
// the code of each.
var schemaMessages = []struct {
	variable *string
	text     string
	code     domain.Code
}{
	{&validation.MsgUnexpectedProperty, "is not a field of this request", domain.CodeUnknownField},
	{&validation.MsgExpectedRequiredProperty, requiredPrefix + "%s", domain.CodeRequired},
	{&validation.MsgExpectedString, "must be text", domain.CodeType},
	{&validation.MsgExpectedBoolean, "must be true or false", domain.CodeType},
	{&validation.MsgExpectedInteger, "must be a whole number", domain.CodeType},
	{&validation.MsgExpectedNumber, "must be a number", domain.CodeType},
	{&validation.MsgExpectedArray, "must be a list", domain.CodeType},
	{&validation.MsgExpectedObject, "must be an object", domain.CodeType},
	{&validation.MsgExpectedRFC4122UUID, "must be an id such as 01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11%.0s",
		domain.CodeUUID},
	{&validation.MsgExpectedRFC3339Date, "must be a date such as 2026-11-23", domain.CodeDate},
	{&validation.MsgExpectedOneOf, "must be one of: %s", domain.CodeEnum},
	{&validation.MsgExpectedMinimumNumber, "must be at least %v", domain.CodeMinimum},
	{&validation.MsgExpectedMaximumNumber, "must be at most %v", domain.CodeMaximum},
	{&validation.MsgExpectedMinLength, "must have at least %d characters", domain.CodeTooShort},
	{&validation.MsgExpectedMaxLength, "must have at most %d characters", domain.CodeTooLong},
	{&validation.MsgExpectedMaxItems, "must have at most %d entries", domain.CodeTooMany},
	{&validation.MsgExpectedBePattern, "must be written as %s", domain.CodePattern},
}

var errAmbiguousJSON = errors.New("no field may appear twice, and text must be UTF-8 without unpaired surrogates")

// unmarshalStrictly refuses what encoding/json would put right in silence (RFC 7493): of a field that stands there
// twice another reader may take the other one, and a name with a wrong byte would be stored as another name.
func unmarshalStrictly(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	if !jsontext.Value(data).IsValid() {
		return errAmbiguousJSON
	}
	return nil
}

const requiredPrefix = "required: "

func init() {
	for _, message := range schemaMessages {
		*message.variable = message.text
	}
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false // no list of an answer is ever null
}

// fieldErrors turns Huma's findings and those of the domain into one list: sorted, one entry for each field.
func fieldErrors(errs []error) []domain.FieldError {
	fields := make([]domain.FieldError, 0, len(errs))
	for _, err := range errs {
		var own fieldError
		var detail *huma.ErrorDetail
		switch {
		case errors.As(err, &own):
			fields = append(fields, own.FieldError)
		case errors.As(err, &detail):
			fields = append(fields, schemaError(detail))
		default:
			fields = append(fields,
				domain.FieldError{Field: "body", Code: domain.CodeInvalid, Message: "can't be read"})
		}
	}
	// The schema's findings come first and say more than the domain about a field that could not even be read.
	slices.SortStableFunc(fields, func(a, b domain.FieldError) int { return cmp.Compare(a.Field, b.Field) })
	return slices.CompactFunc(fields, func(a, b domain.FieldError) bool { return a.Field == b.Field })
}

func schemaError(detail *huma.ErrorDetail) domain.FieldError {
	field := fieldName(detail.Location)
	if name, missing := strings.CutPrefix(detail.Message, requiredPrefix); missing {
		return domain.FieldError{
			Field: strings.TrimPrefix(field+"."+name, "body."), Code: domain.CodeRequired, Message: "must be given",
		}
	}
	for _, message := range schemaMessages {
		prefix, _, _ := strings.Cut(message.text, "%")
		if strings.HasPrefix(detail.Message, prefix) {
			return domain.FieldError{Field: field, Code: message.code, Message: detail.Message}
		}
	}
	// What is left are texts that Huma has no variable for.
	switch text := detail.Message; {
	case text == "unknown query parameter":
		return domain.FieldError{
			Field: field, Code: domain.CodeUnknownParameter, Message: "is not a parameter of this request",
		}
	case text == "invalid integer":
		return domain.FieldError{Field: field, Code: domain.CodeType, Message: "must be a whole number"}
	case text == "invalid boolean":
		return domain.FieldError{Field: field, Code: domain.CodeType, Message: "must be true or false"}
	case strings.HasPrefix(text, "invalid value: invalid UUID"), strings.HasPrefix(text, "invalid value: invalid urn"):
		return domain.FieldError{
			Field: field, Code: domain.CodeUUID, Message: "must be an id such as 01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11",
		}
	default:
		return domain.FieldError{
			Field: field, Code: domain.CodeInvalid, Message: strings.TrimPrefix(text, "invalid value: "),
		}
	}
}

var listIndex = regexp.MustCompile(`\[(\d+)\]`)

// fieldName turns Huma's "body.role_ids[0]" into "role_ids.0", and "query.limit" into "limit".
func fieldName(location string) string {
	in, field, nested := strings.Cut(location, ".")
	if !nested {
		return cmp.Or(in, "body")
	}
	return listIndex.ReplaceAllString(field, ".$1")
}

// findings gives the wrong fields of a body in the form that Huma's resolvers return.
func findings(problems domain.Invalid) []error {
	errs := make([]error, len(problems.Fields))
	for i, field := range problems.Fields {
		errs[i] = fieldError{field}
	}
	return errs
}

// merge adds the wrong fields of a domain check to a list.
func merge(problems *domain.Invalid, err error) {
	if invalid, ok := errors.AsType[*domain.Invalid](err); ok {
		problems.Fields = append(problems.Fields, invalid.Fields...)
	}
}
