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

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain"
)

func TestTheOwnProfile(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id, token := a.person(t, annasEmail, nil)
	mine := a.call(t, token, http.MethodGet, "/me", nil)
	require.Equal(t, http.StatusOK, mine.status, mine)
	assert.Equal(t, id.String(), mine.text("id"))
	changed := a.call(t, token, http.MethodPatch, "/me", map[string]any{"first_name": "Анна", "language": "uk", "phone": nil}, with{"If-Match", mine.header.Get("ETag")})
	require.Equal(t, http.StatusOK, changed.status, changed)
	assert.Equal(t, "Анна", changed.text("first_name"))
	assert.Equal(t, "uk", changed.text("language"))
	assert.Equal(t, changed.header.Get("ETag"), a.call(t, a.admin, http.MethodGet, "/users/"+id.String(), nil).header.Get("ETag"))
	assert.Equal(t, http.StatusPreconditionFailed, a.call(t, token, http.MethodPatch, "/me", map[string]any{"phone": "2"}, with{"If-Match", mine.header.Get("ETag")}).status)

	for _, field := range []string{"email", "company", "company_id", "department", "position"} {
		for _, value := range []any{"x", nil, 7, map[string]any{"id": 1}} {
			refused := a.call(t, token, http.MethodPatch, "/me", map[string]any{field: value, "phone": "1"})
			assert.Equal(t, http.StatusForbidden, refused.status, "%s: %s", field, refused)
			assert.Equal(t, "read_only_field", refused.text("code"))
			assert.Contains(t, refused.text("detail"), field)
		}
	}
	wrong := a.call(t, token, http.MethodPatch, "/me", map[string]any{"language": "de", "phone": strings.Repeat("1", 51), "superuser": true, "first_name": 7})
	assert.Equal(t, map[string]string{"language": "unknown_language", "phone": "too_long", "superuser": "unknown_field", "first_name": "type"}, wrong.wrong(), wrong)
	assert.Nil(t, a.call(t, token, http.MethodGet, "/me", nil).json["phone"])
}

func TestTheOwnPhoto(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, token := a.person(t, annasEmail, nil)
	picture := func(width, height int) []byte {
		var file bytes.Buffer
		require.NoError(t, png.Encode(&file, image.NewNRGBA(image.Rect(0, 0, width, height))))
		return file.Bytes()
	}
	put := func(file []byte) answered {
		return a.call(t, token, http.MethodPut, "/me/photo", file, with{"Content-Type", "image/png"})
	}
	assert.Equal(t, http.StatusNotFound, a.call(t, token, http.MethodGet, "/me/photo", nil).status)
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
		refused := put(c.file)
		assert.Equal(t, http.StatusUnprocessableEntity, refused.status, "%s: %s", name, refused)
		assert.Equal(t, map[string]string{"photo": c.code}, refused.wrong(), name)
	}
	assert.Contains(t, put(announcing(3640, 3640)).text("detail"), "at most 13 million pixels")
	assert.Equal(t, http.StatusRequestEntityTooLarge, put(make([]byte, 17<<20)).status)
	set := put(picture(1000, 400))
	require.Equal(t, http.StatusOK, set.status, set)
	assert.Equal(t, true, set.json["has_photo"])
	shown := a.call(t, token, http.MethodGet, "/me/photo", nil)
	require.Equal(t, http.StatusOK, shown.status, shown)
	assert.Equal(t, "image/jpeg", shown.header.Get("Content-Type"))
	decoded, err := jpeg.Decode(bytes.NewReader(shown.body))
	require.NoError(t, err)
	assert.Equal(t, image.Pt(512, 204), decoded.Bounds().Size())
	removed := a.call(t, token, http.MethodDelete, "/me/photo", nil)
	require.Equal(t, http.StatusOK, removed.status, removed)
	assert.Equal(t, false, removed.json["has_photo"])
	assert.Equal(t, http.StatusNotFound, a.call(t, token, http.MethodGet, "/me/photo", nil).status)
}

func TestTheOwnDevice(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	device := a.call(t, token, http.MethodPost, "/me/two-factor", nil, with{"Idempotency-Key", "k"})
	require.Equal(t, http.StatusOK, device.status, device)
	assert.Equal(t, "otpauth://totp/SecBoard:anna@example.com", strings.SplitN(device.text("otpauth_uri"), "?", 2)[0])
	assert.Contains(t, device.text("otpauth_uri"), "secret="+device.text("secret"))
	file, err := base64.StdEncoding.DecodeString(device.text("qr_png_base64"))
	require.NoError(t, err)
	picture, err := png.Decode(bytes.NewReader(file))
	require.NoError(t, err)
	assert.Equal(t, image.Pt(qrSide, qrSide), picture.Bounds().Size())
	assert.Zero(t, a.count(t, `SELECT count(*) FROM idempotency_keys`), "no secret is kept")

	wrong := a.call(t, token, http.MethodPost, "/me/two-factor/confirm", map[string]any{"code": "000000"})
	assert.Equal(t, map[string]string{"code": "wrong_code"}, wrong.wrong(), wrong)
	_, codes := a.enroll(t, token)
	again := a.call(t, token, http.MethodPost, "/me/two-factor", nil)
	assert.Equal(t, "two_factor_enrolled", again.text("code"), again)
	replaced := a.call(t, token, http.MethodPost, "/me/two-factor/backup-codes", nil)
	require.Equal(t, http.StatusOK, replaced.status, replaced)
	fresh := replaced.json["backup_codes"].([]any)
	require.Len(t, fresh, 10)

	challenge := a.signInAs(t, annasEmail, annasPassword).text("challenge")
	for _, body := range []map[string]any{{}, {"code": "123456", "backup_code": codes[0]}} {
		body["challenge"] = challenge
		assert.Equal(t, http.StatusUnprocessableEntity, a.call(t, "", http.MethodPost, "/sessions/two-factor", body).status)
	}
	former := a.call(t, "", http.MethodPost, "/sessions/two-factor", map[string]any{"challenge": challenge, "backup_code": codes[0]})
	assert.Equal(t, http.StatusUnauthorized, former.status, "the former codes are void")
	in := a.call(t, "", http.MethodPost, "/sessions/two-factor", map[string]any{"challenge": challenge, "backup_code": fresh[0]})
	assert.Equal(t, http.StatusCreated, in.status, in)

	refused := a.call(t, token, http.MethodDelete, "/me/two-factor", map[string]any{"password": "wrong"})
	assert.Equal(t, map[string]string{"password": "wrong_password"}, refused.wrong(), refused)
	off := a.call(t, token, http.MethodDelete, "/me/two-factor", map[string]any{"password": annasPassword})
	require.Equal(t, http.StatusNoContent, off.status, off)
	assert.NotEmpty(t, off.header.Get("Secboard-Position"))
	assert.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, annasPassword).status)
}

func TestWhatAPersonIsShown(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	registered := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	require.Equal(t, http.StatusCreated, registered.status, registered)
	id, token := a.person(t, annasEmail, domain.Permissions{"risks": {View: true, ShowLink: true}, "users": {View: true}})
	for _, role := range []map[string]any{
		{"name": "Owner", "widgets": []string{"heat map", "open risks"}}, {"name": "Analyst", "widgets": []string{"open risks"}},
		{"name": "Former", "widgets": []string{"old"}},
	} {
		roleID := a.create(t, "/roles", role)
		given := a.call(t, a.admin, http.MethodPut, "/users/"+id.String()+"/roles/"+roleID, nil)
		require.Equal(t, http.StatusOK, given.status, given)
		if role["name"] == "Former" {
			require.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodPost, "/roles/"+roleID+"/retire", nil).status)
		}
	}
	assert.Equal(t, []map[string]any{{"key": "risks", "name": "Risks"}}, a.call(t, token, http.MethodGet, "/me/navigation", nil).items())
	assert.Len(t, a.call(t, a.admin, http.MethodGet, "/me/navigation", nil).items(), len(domain.OwnModules)+1)
	var widgets []string
	for _, widget := range a.call(t, token, http.MethodGet, "/me/dashboard", nil).items() {
		line := widget["name"].(string)
		for _, role := range widget["roles"].([]any) {
			line += "/" + role.(map[string]any)["name"].(string)
		}
		widgets = append(widgets, line)
	}
	assert.Equal(t, []string{"open risks/Analyst/Owner", "heat map/Owner"}, widgets)
	access := a.call(t, token, http.MethodGet, "/me/access", nil)
	assert.Equal(t, false, access.json["superuser"])
	permissions := access.json["permissions"].(map[string]any)
	assert.Len(t, permissions, 2)
	assert.Equal(t, true, permissions["risks"].(map[string]any)["show_link"])
}

func TestSessionsOfAnAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	path := "/users/" + id.String() + "/sessions"
	first := a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": annasEmail, "password": annasPassword}, with{"User-Agent", "phone"}).text("token")
	a.ahead.Add(int64(20 * time.Minute))
	second := a.signInAs(t, annasEmail, annasPassword).text("token")
	own := a.call(t, second, http.MethodGet, path, nil)
	require.Equal(t, http.StatusOK, own.status, "everybody sees their own ones: %s", own)
	require.Len(t, own.items(), 2)
	assert.Equal(t, true, own.items()[0]["current"], "newest first")
	assert.Equal(t, false, own.items()[1]["current"])
	assert.Equal(t, "phone", own.items()[1]["user_agent"])
	assert.Equal(t, "127.0.0.1", own.items()[1]["ip"])
	a.ahead.Add(int64(11 * time.Minute))
	assert.Len(t, a.call(t, second, http.MethodGet, path, nil).items(), 1, "the other was not used for half an hour")
	assert.Equal(t, http.StatusUnauthorized, a.call(t, first, http.MethodGet, "/me", nil).status)

	var err error
	a.admin, _, err = a.startSession(t.Context(), a.adminID, a.Now())
	require.NoError(t, err)
	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"users": {View: true, Edit: true}})
	_, nobody := a.person(t, "nobody@example.com", nil)
	assert.Equal(t, http.StatusForbidden, a.call(t, nobody, http.MethodGet, path, nil).status)
	assert.Equal(t, http.StatusForbidden, a.call(t, nobody, http.MethodDelete, path, nil).status)
	assert.Equal(t, http.StatusForbidden, a.call(t, clerk, http.MethodDelete, "/users/"+a.adminID.String()+"/sessions", nil).status, "of a superuser")
	assert.Equal(t, http.StatusNotFound, a.call(t, clerk, http.MethodDelete, "/users/"+uuid.NewString()+"/sessions", nil).status)
	assert.Equal(t, http.StatusNoContent, a.call(t, clerk, http.MethodDelete, path, nil).status)
	assert.Equal(t, http.StatusUnauthorized, a.call(t, second, http.MethodGet, "/me", nil).status)
	revision := a.call(t, a.admin, http.MethodGet, "/users/"+id.String(), nil).header.Get("ETag")
	assert.Equal(t, http.StatusNoContent, a.call(t, clerk, http.MethodDelete, path, nil).status)
	assert.Equal(t, revision, a.call(t, a.admin, http.MethodGet, "/users/"+id.String(), nil).header.Get("ETag"), "there was none left to end")
	assert.Contains(t, strings.Join(a.summaries(t, id.String()), "\n"), "all sessions ended  (clerk@example.com)")
	third := a.signInAs(t, annasEmail, annasPassword).text("token")
	assert.Equal(t, http.StatusNoContent, a.call(t, third, http.MethodDelete, path, nil).status)
	assert.Equal(t, http.StatusUnauthorized, a.call(t, third, http.MethodGet, "/me", nil).status)
}

func TestALockoutAndItsEnd(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	path := "/users/" + id.String() + "/unlock"
	before := a.call(t, a.admin, http.MethodPost, path, nil)
	require.Equal(t, http.StatusOK, before.status, "without a lockout nothing happens: %s", before)
	lockOut := func() {
		for range 5 {
			require.Equal(t, http.StatusUnauthorized, a.signInAs(t, annasEmail, "a wrong pass phrase").status)
		}
		locked := a.signInAs(t, annasEmail, annasPassword)
		require.Equal(t, "invalid_credentials", locked.text("code"), "also with the right password: %s", locked)
	}
	lockOut()
	unlocked := a.call(t, a.admin, http.MethodPost, path, nil, with{"Idempotency-Key", "unlock"})
	require.Equal(t, http.StatusOK, unlocked.status, unlocked)
	assert.Equal(t, before.header.Get("ETag"), unlocked.header.Get("ETag"), "the account itself is as it was")
	assert.Equal(t, id.String(), unlocked.text("id"))
	require.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, annasPassword).status)
	lockOut()
	a.ahead.Add(int64(16 * time.Minute))
	assert.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, annasPassword).status, "it opens by itself")
	a.catchUp(t, a.head(t))
	lines := strings.Join(a.summaries(t, id.String()), "\n")
	assert.Contains(t, lines, "lockout ended by an administrator  (admin@example.com)")
	assert.Equal(t, 2, strings.Count(lines, "locked out until"))
}

// fixCRC makes the checksum of a PNG's header right again.
func fixCRC(file []byte) {
	binary.BigEndian.PutUint32(file[29:33], crc32.ChecksumIEEE(file[12:29]))
}
