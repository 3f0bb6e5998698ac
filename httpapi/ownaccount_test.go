package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

func TestTheOwnProfile(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id, token := a.person(t, annasEmail, nil)
	mine := a.call(t, token, http.MethodGet, "/me", nil)
	if mine.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", mine, mine.status, http.StatusOK)
	}
	if got := mine.text("id"); got != id.String() {
		t.Errorf("id = %q, want %q", got, id.String())
	}
	changed := a.call(t, token, http.MethodPatch, "/me",
		map[string]any{"first_name": "Анна", "language": "uk", "phone": nil}, with{"If-Match", mine.header.Get("ETag")})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	if got := changed.text("first_name"); got != "Анна" {
		t.Errorf(`first_name = %q, want "Анна"`, got)
	}
	if got := changed.text("language"); got != "uk" {
		t.Errorf(`language = %q, want "uk"`, got)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users/"+id.String(),
		nil).header.Get("ETag"); got != changed.header.Get("ETag") {
		t.Errorf("got %q, want %q", got, changed.header.Get("ETag"))
	}
	if got := a.call(t, token, http.MethodPatch, "/me", map[string]any{"phone": "2"},
		with{"If-Match", mine.header.Get("ETag")}).status; got != http.StatusPreconditionFailed {
		t.Errorf("got %v, want %v", got, http.StatusPreconditionFailed)
	}

	for _, field := range []string{"email", "company", "company_id", "department", "position"} {
		for kind, value := range map[string]any{
			"a text": "x", "null": nil, "a number": 7, "an object": map[string]any{"id": 1},
		} {
			t.Run(field+" as "+kind, func(t *testing.T) {
				refused := a.call(t, token, http.MethodPatch, "/me", map[string]any{field: value, "phone": "1"})
				if refused.status != http.StatusForbidden {
					t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusForbidden)
				}
				if got := refused.text("code"); got != "read_only_field" {
					t.Errorf(`code = %q, want "read_only_field"`, got)
				}
				if got := refused.text("detail"); !strings.Contains(got, field) {
					t.Errorf("%q lacks %q", got, field)
				}
			})
		}
	}
	wrong := a.call(t, token, http.MethodPatch, "/me",
		map[string]any{"language": "de", "phone": strings.Repeat("1", 51), "superuser": true, "first_name": 7})
	if diff := cmp.Diff(map[string]string{"language": "unknown_language", "phone": "too_long",
		"superuser": "unknown_field", "first_name": "type"}, wrong.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", wrong, diff)
	}
	if got := a.call(t, token, http.MethodGet, "/me", nil).json["phone"]; got != nil {
		t.Errorf(`a.call(t, token, http.MethodGet, "/me", phone = %v, want nil`, got)
	}
}

func TestTheOwnPhoto(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, token := a.person(t, annasEmail, nil)
	picture := func(width, height int) []byte {
		var file bytes.Buffer
		if err := png.Encode(&file, image.NewNRGBA(image.Rect(0, 0, width, height))); err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	put := func(file []byte) answered {
		return a.call(t, token, http.MethodPut, "/me/photo", file, with{"Content-Type", "image/png"})
	}
	if got := a.call(t, token, http.MethodGet, "/me/photo", nil).status; got != http.StatusNotFound {
		t.Errorf(`a.call(t, token, http.MethodGet, "/me/photo", nil).status = %v, want %v`, got, http.StatusNotFound)
	}
	// A few bytes that announce more.
	announcing := func(width, height uint32) []byte {
		file := picture(300, 300)
		binary.BigEndian.PutUint32(file[16:], width)
		binary.BigEndian.PutUint32(file[20:], height)
		fixCRC(file)
		return file
	}
	for name, c := range map[string]struct {
		file []byte
		code string
	}{
		"too small":       {picture(199, 400), "too_small"},
		"too large":       {append(picture(300, 300), make([]byte, 2<<20)...), "too_large"},
		"of a camera":     {make([]byte, 15<<20), "too_large"},
		"no picture":      {[]byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), "format"},
		"a bomb":          {announcing(50_000, 50_000), "too_many_pixels"},
		"a large one":     {announcing(3640, 3640), "too_many_pixels"},
		"of a telephone":  {announcing(4032, 3024), "damaged"}, // it is not too large
		"broken off":      {picture(300, 300)[:60], "damaged"},
		"GIF by its name": {[]byte("GIF89a" + strings.Repeat("x", 100)), "format"},
	} {
		t.Run(name, func(t *testing.T) {
			refused := put(c.file)
			if refused.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusUnprocessableEntity)
			}
			if diff := cmp.Diff(map[string]string{"photo": c.code}, refused.wrong()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := put(announcing(3640, 3640)).text("detail"); !strings.Contains(got, "at most 13 million pixels") {
		t.Errorf(`%q lacks "at most 13 million pixels"`, got)
	}
	if got := put(make([]byte, 17<<20)).status; got != http.StatusRequestEntityTooLarge {
		t.Errorf("put(make([]byte, 17<<20)).status = %v, want %v", got, http.StatusRequestEntityTooLarge)
	}
	set := put(picture(1000, 400))
	if set.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", set, set.status, http.StatusOK)
	}
	if set.json["has_photo"] != true {
		t.Errorf("has_photo = %v, want true", set.json["has_photo"])
	}
	shown := a.call(t, token, http.MethodGet, "/me/photo", nil)
	if shown.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", shown, shown.status, http.StatusOK)
	}
	if got := shown.header.Get("Content-Type"); got != "image/jpeg" {
		t.Errorf(`Content-Type = %q, want "image/jpeg"`, got)
	}
	decoded, err := jpeg.Decode(bytes.NewReader(shown.body))
	if err != nil {
		t.Fatal(err)
	}
	if got := decoded.Bounds().Size(); got != image.Pt(512, 204) {
		t.Errorf("decoded.Bounds().Size() = %v, want %v", got, image.Pt(512, 204))
	}
	removed := a.call(t, token, http.MethodDelete, "/me/photo", nil)
	if removed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", removed, removed.status, http.StatusOK)
	}
	if removed.json["has_photo"] != false {
		t.Errorf("has_photo = %v, want false", removed.json["has_photo"])
	}
	if got := a.call(t, token, http.MethodGet, "/me/photo", nil).status; got != http.StatusNotFound {
		t.Errorf(`a.call(t, token, http.MethodGet, "/me/photo", nil).status = %v, want %v`, got, http.StatusNotFound)
	}
}

func TestTheOwnDevice(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	device := a.call(t, token, http.MethodPost, "/me/two-factor", nil, with{"Idempotency-Key", "k"})
	if device.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", device, device.status, http.StatusOK)
	}
	if got := strings.SplitN(device.text("otpauth_uri"), "?", 2)[0]; got != "otpauth://totp/SecBoard:anna@example.com" {
		t.Errorf(`strings.SplitN(otpauth_uri, "?", 2)[0] = %q, want "otpauth://totp/SecBoard:anna@example.com"`, got)
	}
	if got := device.text("otpauth_uri"); !strings.Contains(got, "secret="+device.text("secret")) {
		t.Errorf("%q lacks %q", got, "secret="+device.text("secret"))
	}
	file, err := base64.StdEncoding.DecodeString(device.text("qr_png_base64"))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if got := picture.Bounds().Size(); got != image.Pt(qrSide, qrSide) {
		t.Errorf("picture.Bounds().Size() = %v, want %v", got, image.Pt(qrSide, qrSide))
	}
	if got := a.count(t, `SELECT count(*) FROM idempotency_keys`); got != 0 {
		t.Errorf("no secret is kept: got %v, want nothing", got)
	}

	wrong := a.call(t, token, http.MethodPost, "/me/two-factor/confirm", map[string]any{"code": "000000"})
	if diff := cmp.Diff(map[string]string{"code": "wrong_code"}, wrong.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", wrong, diff)
	}
	_, codes := a.enroll(t, token)
	again := a.call(t, token, http.MethodPost, "/me/two-factor", nil)
	if got := again.text("code"); got != "two_factor_enrolled" {
		t.Errorf(`%v: got %q, want "two_factor_enrolled"`, again, got)
	}
	replaced := a.call(t, token, http.MethodPost, "/me/two-factor/backup-codes",
		map[string]any{"password": annasPassword})
	if replaced.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", replaced, replaced.status, http.StatusOK)
	}
	fresh := replaced.json["backup_codes"].([]any)
	if len(fresh) != 10 {
		t.Fatalf("fresh has %d elements, want 10: %v", len(fresh), fresh)
	}

	challenge := a.signInAs(t, annasEmail, annasPassword).text("challenge")
	for name, body := range map[string]map[string]any{
		"neither code": {}, "both codes": {"code": "123456", "backup_code": codes[0]},
	} {
		t.Run(name, func(t *testing.T) {
			body["challenge"] = challenge
			if got := a.call(t, "", http.MethodPost, "/sessions/two-factor",
				body).status; got != http.StatusUnprocessableEntity {
				t.Errorf("got %v, want %v", got, http.StatusUnprocessableEntity)
			}
		})
	}
	former := a.call(t, "", http.MethodPost, "/sessions/two-factor",
		map[string]any{"challenge": challenge, "backup_code": codes[0]})
	if former.status != http.StatusUnauthorized {
		t.Errorf("the former codes are void: got %v, want %v", former.status, http.StatusUnauthorized)
	}
	in := a.call(t, "", http.MethodPost, "/sessions/two-factor",
		map[string]any{"challenge": challenge, "backup_code": fresh[0]})
	if in.status != http.StatusCreated {
		t.Errorf("%v: got %v, want %v", in, in.status, http.StatusCreated)
	}

	refused := a.call(t, token, http.MethodDelete, "/me/two-factor", map[string]any{"password": "wrong"})
	if diff := cmp.Diff(map[string]string{"password": "wrong_password"}, refused.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", refused, diff)
	}
	off := a.call(t, token, http.MethodDelete, "/me/two-factor", map[string]any{"password": annasPassword})
	if off.status != http.StatusNoContent {
		t.Fatalf("%v: got %v, want %v", off, off.status, http.StatusNoContent)
	}
	if got := off.header.Get("Secboard-Position"); got == "" {
		t.Errorf("Secboard-Position = %q, want something", got)
	}
	if got := a.signInAs(t, annasEmail, annasPassword).status; got != http.StatusCreated {
		t.Errorf("a.signInAs(t, annasEmail, annasPassword).status = %v, want %v", got, http.StatusCreated)
	}
}

func TestWhatAPersonIsShown(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	registered := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	if registered.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", registered, registered.status, http.StatusCreated)
	}
	id, token := a.person(t, annasEmail,
		domain.Permissions{"risks": {View: true, ShowLink: true}, "users": {View: true}})
	for _, role := range []map[string]any{
		{"name": "Owner", "widgets": []string{"heat map", "open risks"}},
		{"name": "Analyst", "widgets": []string{"open risks"}},
		{"name": "Former", "widgets": []string{"old"}},
	} {
		roleID := a.create(t, "/roles", role)
		given := a.call(t, a.admin, http.MethodPut, "/users/"+id.String()+"/roles/"+roleID, nil)
		if given.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", given, given.status, http.StatusOK)
		}
		if role["name"] == "Former" {
			if got := a.call(t, a.admin, http.MethodPost, "/roles/"+roleID+"/retire",
				nil).status; got != http.StatusOK {
				t.Fatalf("got %v, want %v", got, http.StatusOK)
			}
		}
	}
	if diff := cmp.Diff([]map[string]any{{"key": "risks", "name": "Risks"}},
		a.call(t, token, http.MethodGet, "/me/navigation", nil).items()); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/me/navigation", nil).items(); len(got) != len(domain.OwnModules)+1 {
		t.Errorf("the list has %d elements, want %d: %v", len(got), len(domain.OwnModules)+1, got)
	}
	var widgets []string
	for _, widget := range a.call(t, token, http.MethodGet, "/me/dashboard", nil).items() {
		line := widget["name"].(string)
		for _, role := range widget["roles"].([]any) {
			line += "/" + role.(map[string]any)["name"].(string)
		}
		widgets = append(widgets, line)
	}
	if diff := cmp.Diff([]string{"open risks/Analyst/Owner", "heat map/Owner"}, widgets); diff != "" {
		t.Errorf("widgets (-want +got):\n%s", diff)
	}
	access := a.call(t, token, http.MethodGet, "/me/access", nil)
	if access.json["superuser"] != false {
		t.Errorf("superuser = %v, want false", access.json["superuser"])
	}
	permissions := access.json["permissions"].(map[string]any)
	if len(permissions) != 2 {
		t.Errorf("permissions has %d elements, want 2: %v", len(permissions), permissions)
	}
	if got := permissions["risks"].(map[string]any)["show_link"]; got != true {
		t.Errorf(`risks.(map[string]any)["show_link"] = %v, want true`, got)
	}
}

func TestSessionsOfAnAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	path := "/users/" + id.String() + "/sessions"
	first := a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": annasEmail, "password": annasPassword},
		with{"User-Agent", "phone"}).text("token")
	a.ahead.Add(int64(20 * time.Minute))
	second := a.signInAs(t, annasEmail, annasPassword).text("token")
	own := a.call(t, second, http.MethodGet, path, nil)
	if own.status != http.StatusOK {
		t.Fatalf("everybody sees their own ones: %s: got %v, want %v", own, own.status, http.StatusOK)
	}
	if got := own.items(); len(got) != 2 {
		t.Fatalf("own.items() has %d elements, want 2: %v", len(got), got)
	}
	if got := own.items()[0]["current"]; got != true {
		t.Errorf("newest first: got %v, want true", got)
	}
	if got := own.items()[1]["current"]; got != false {
		t.Errorf(`own.items()[1]["current"] = %v, want false`, got)
	}
	if got := own.items()[1]["user_agent"]; got != "phone" {
		t.Errorf(`own.items()[1]["user_agent"] = %q, want "phone"`, got)
	}
	if got := own.items()[1]["ip"]; got != "127.0.0.1" {
		t.Errorf(`own.items()[1]["ip"] = %q, want "127.0.0.1"`, got)
	}
	a.ahead.Add(int64(11 * time.Minute))
	if got := a.call(t, second, http.MethodGet, path, nil).items(); len(got) != 1 {
		t.Errorf("the other was not used for half an hour: got has %d elements, want 1: %v", len(got), got)
	}
	if got := a.call(t, first, http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
		t.Errorf(`a.call(t, first, http.MethodGet, "/me", nil).status = %v, want %v`, got, http.StatusUnauthorized)
	}

	var err error
	a.admin, _, err = a.startSession(t.Context(), a.adminID, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"users": {View: true, Edit: true}})
	_, nobody := a.person(t, "nobody@example.com", nil)
	if got := a.call(t, nobody, http.MethodGet, path, nil).status; got != http.StatusForbidden {
		t.Errorf("a.call(t, nobody, http.MethodGet, path, nil).status = %v, want %v", got, http.StatusForbidden)
	}
	if got := a.call(t, nobody, http.MethodDelete, path, nil).status; got != http.StatusForbidden {
		t.Errorf("a.call(t, nobody, http.MethodDelete, path, nil).status = %v, want %v", got, http.StatusForbidden)
	}
	if got := a.call(t, clerk, http.MethodDelete, "/users/"+a.adminID.String()+"/sessions",
		nil).status; got != http.StatusForbidden {
		t.Errorf("of a superuser: got %v, want %v", got, http.StatusForbidden)
	}
	if got := a.call(t, clerk, http.MethodDelete, "/users/"+uuid.NewString()+"/sessions",
		nil).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}
	if got := a.call(t, clerk, http.MethodDelete, path, nil).status; got != http.StatusNoContent {
		t.Errorf("a.call(t, clerk, http.MethodDelete, path, nil).status = %v, want %v", got, http.StatusNoContent)
	}
	if got := a.call(t, second, http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
		t.Errorf(`a.call(t, second, http.MethodGet, "/me", nil).status = %v, want %v`, got, http.StatusUnauthorized)
	}
	revision := a.call(t, a.admin, http.MethodGet, "/users/"+id.String(), nil).header.Get("ETag")
	if got := a.call(t, clerk, http.MethodDelete, path, nil).status; got != http.StatusNoContent {
		t.Errorf("a.call(t, clerk, http.MethodDelete, path, nil).status = %v, want %v", got, http.StatusNoContent)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users/"+id.String(), nil).header.Get("ETag"); got != revision {
		t.Errorf("there was none left to end: got %q, want %q", got, revision)
	}
	if got := strings.Join(a.summaries(t, id.String()), "\n"); !strings.Contains(got,
		"all sessions ended  (clerk@example.com)") {
		t.Errorf(`%q lacks "all sessions ended  (clerk@example.com)"`, got)
	}
	third := a.signInAs(t, annasEmail, annasPassword).text("token")
	if got := a.call(t, third, http.MethodDelete, path, nil).status; got != http.StatusNoContent {
		t.Errorf("a.call(t, third, http.MethodDelete, path, nil).status = %v, want %v", got, http.StatusNoContent)
	}
	if got := a.call(t, third, http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
		t.Errorf(`a.call(t, third, http.MethodGet, "/me", nil).status = %v, want %v`, got, http.StatusUnauthorized)
	}
}

func TestALockoutAndItsEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	path := "/users/" + id.String() + "/unlock"
	before := a.call(t, a.admin, http.MethodPost, path, nil)
	if before.status != http.StatusOK {
		t.Fatalf("without a lockout nothing happens: %s: got %v, want %v", before, before.status, http.StatusOK)
	}
	lockOut := func() {
		for range 5 {
			if got := a.signInAs(t, annasEmail, "a wrong pass phrase").status; got != http.StatusUnauthorized {
				t.Fatalf(`a.signInAs(t, annasEmail, "a wrong pass phrase").status = %v, want %v`, got,
					http.StatusUnauthorized)
			}
		}
		locked := a.signInAs(t, annasEmail, annasPassword)
		if got := locked.text("code"); got != "invalid_credentials" {
			t.Fatalf(`also with the right password: %s: got %q, want "invalid_credentials"`, locked, got)
		}
	}
	lockOut()
	unlocked := a.call(t, a.admin, http.MethodPost, path, nil, with{"Idempotency-Key", "unlock"})
	if unlocked.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", unlocked, unlocked.status, http.StatusOK)
	}
	if got := unlocked.header.Get("ETag"); got != before.header.Get("ETag") {
		t.Errorf("the account itself is as it was: got %q, want %q", got, before.header.Get("ETag"))
	}
	if got := unlocked.text("id"); got != id.String() {
		t.Errorf("id = %q, want %q", got, id.String())
	}
	if got := a.signInAs(t, annasEmail, annasPassword).status; got != http.StatusCreated {
		t.Fatalf("a.signInAs(t, annasEmail, annasPassword).status = %v, want %v", got, http.StatusCreated)
	}
	lockOut()
	a.ahead.Add(int64(16 * time.Minute))
	if got := a.signInAs(t, annasEmail, annasPassword).status; got != http.StatusCreated {
		t.Errorf("it opens by itself: got %v, want %v", got, http.StatusCreated)
	}
	a.catchUp(t, a.head(t))
	lines := strings.Join(a.summaries(t, id.String()), "\n")
	if !strings.Contains(lines, "lockout ended by an administrator  (admin@example.com)") {
		t.Errorf("%q lacks %q", lines, "lockout ended by an administrator  (admin@example.com)")
	}
	if got := strings.Count(lines, "are refused until"); got != 2 {
		t.Errorf(`strings.Count(lines, "are refused until") = %v, want 2`, got)
	}
}

// fixCRC makes the checksum of a PNG's header right again.
func fixCRC(file []byte) {
	binary.BigEndian.PutUint32(file[29:33], crc32.ChecksumIEEE(file[12:29]))
}
