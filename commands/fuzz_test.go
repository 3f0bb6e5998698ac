package commands

import (
	"bytes"
	"encoding/csv"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/secrets"
)

// FuzzParseUsersCSV: a file is refused as a whole, or each of its lines gives an account that is the same when it is
// written down and read again, or the problems of that line.
func FuzzParseUsersCSV(f *testing.F) {
	const id = "0190a0f0-0000-7000-8000-000000000000"
	for _, file := range []string{
		"email\na@example.com\n",
		"\ufeffEmail;First_Name;active\r\na@example.com;Änne;yes\r\n\r\nb@example.com;\"B\nB\";0\r\n",
		"email,company_id,role_ids,group_ids\na@example.com," + id + "," + id + " " + id + ",\"" + id + ";" + id +
			"\"\n",
		"email,role_ids\na@example.com,{" + id + "}\nb@example.com,x" + id + "y\nc@example.com," + id + " " +
			strings.ReplaceAll(id, "-", "") + "\n",
		"email,start_date,end_date,superuser,require_two_factor\na@example.com,2026-02-29,9999-12-31,maybe,TRUE\n",
		"email,phone\n\"a\n", "email,email\n", "name\n", "", ";", "email\n\x00\xff\n", "email,phone\na@example.com\n",
		"\n\n\"email\"\n\n,\n",
		"email,first_name\na@b.example,\"x\"\n", "\ufeffemail;role_ids\r\n\"a\";b c\r\n",
	} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		lines, err := ParseUsersCSV(bytes.NewReader(file))
		if err != nil {
			var refused *domain.Invalid
			if !errors.As(err, &refused) || len(refused.Fields) != 1 || refused.Fields[0].Field != "file" {
				t.Fatalf("refused without saying what is wrong with the file: %v", err)
			}
			return
		}
		before := 0
		for _, line := range lines {
			if line.Line <= before {
				t.Fatalf("line %d comes after line %d", line.Line, before)
			}
			before = line.Line
			if len(line.Register.RoleIDs) > 0 &&
				bytes.Count(bytes.ToLower(file), []byte(line.Register.RoleIDs[0].String())) == 0 {
				t.Fatalf("line %d names %s, which does not stand in the file", line.Line, line.Register.RoleIDs[0])
			}
			if len(line.Problems) > 0 {
				continue
			}
			again, err := ParseUsersCSV(strings.NewReader(written(t, line.Register)))
			if err != nil || len(again) != 1 || len(again[0].Problems) > 0 {
				t.Fatalf("line %d: %+v is read otherwise the second time: %+v, %v", line.Line, line.Register, again,
					err)
			}
			if diff := cmp.Diff(line.Register, again[0].Register, cmp.Comparer(func(a, b domain.Date) bool {
				return a == b
			})); diff != "" {
				t.Fatalf("line %d changes when it is written and read again:\n%s", line.Line, diff)
			}
		}
	})
}

// written is the file that gives an account.
func written(t *testing.T, r RegisterUser) string {
	t.Helper()
	ids := func(all ...uuid.UUID) string {
		var texts []string
		for _, id := range all {
			texts = append(texts, id.String())
		}
		return strings.Join(texts, " ")
	}
	company := ""
	if r.Details.CompanyID != uuid.Nil {
		company = ids(r.Details.CompanyID)
	}
	var file strings.Builder
	w := csv.NewWriter(&file)
	if err := errors.Join(w.Write(importColumns), w.Write([]string{
		r.Details.Email, r.Details.FirstName, r.Details.LastName, r.Details.Phone, company, r.Details.Department,
		r.Details.Position,
		strconv.FormatBool(!r.Inactive), r.Details.StartDate.String(), r.Details.EndDate.String(),
		strconv.FormatBool(r.Superuser),
		strconv.FormatBool(r.RequireTwoFactor), ids(r.RoleIDs...), ids(r.GroupIDs...),
	})); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return file.String()
}

func fuzzHandler(f *testing.F) *Handler {
	f.Helper()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(f.TempDir(), "keyset.json"))
	if err != nil {
		f.Fatal(err)
	}
	return New(nil, keys, nil)
}

// FuzzToken: the token of a link opens it, and no other text does, nor the same one for another purpose.
func FuzzToken(f *testing.F) {
	h := fuzzHandler(f)
	for _, other := range []string{"", "\n", " ", "=", "A", "\x00", "é", strings.Repeat("A", 64)} {
		f.Add([]byte("0123456789abcdef0123456789abcdef"), other, 0, 0)
		f.Add([]byte{}, other, 63, 1)
		f.Add([]byte("x"), other, 54, 54)
	}
	f.Fuzz(func(t *testing.T, content []byte, other string, from, to int) {
		var ids [32]byte
		copy(ids[:], content)
		account, link := uuid.UUID(ids[:16]), uuid.UUID(ids[16:])
		token, err := h.ResetToken(account, link)
		if err != nil {
			t.Fatal(err)
		}
		if gotAccount, gotLink, ok := h.openLinkToken(purposeReset, token); !ok || gotAccount != account ||
			gotLink != link {
			t.Fatalf("%s opens %s %s, %t", token, gotAccount, gotLink, ok)
		}
		if _, _, ok := h.openLinkToken(purposeFirstLogin, token); ok {
			t.Fatal("a token for a reset opens a first login")
		}
		edited := spliced(token, other, from, to)
		if _, _, ok := h.openLinkToken(purposeReset, edited); ok && edited != token {
			t.Fatalf("%q opens what %q was made for", edited, token)
		}
		if _, _, ok := h.openLinkToken(purposeReset, other); ok {
			t.Fatalf("%q opens something", other)
		}
	})
}

// spliced puts a text in the place of what stands between two others.
func spliced(text, other string, from, to int) string {
	within := func(at int) int { return max(0, min(at, len(text))) }
	from, to = within(from), within(to)
	return text[:min(from, to)] + other + text[max(from, to):]
}

// FuzzChallenge: the challenge of a sign-in names its account until it ends or the account's seal changes, and has one
// spelling. Attempts are counted by it.
func FuzzChallenge(f *testing.F) {
	h := fuzzHandler(f)
	for _, other := range []string{"", "\n", "A", "B", "Q", "g", "w", "="} {
		f.Add([]byte("0123456789abcdef"), int64(1_760_000_000), int64(60), other, 53, 54)
		f.Add([]byte("0123456789abcdef"), int64(1_760_000_000), int64(300), other, 53, 54)
		f.Add([]byte("0123456789abcdef"), int64(1_760_000_000), int64(301), other, 10, 10)
	}
	f.Fuzz(func(t *testing.T, content []byte, at, passed int64, other string, from, to int) {
		at, passed = at&(1<<40-1), passed&(1<<20-1)
		var account uuid.UUID
		copy(account[:], content)
		id := uuid.NewSHA1(account, content)
		now := seal{text: "1 group:1"}
		sealOf := func(uuid.UUID) (seal, error) { return now, nil }
		challenge, err := h.challenge(account, id, now, time.Unix(at, 0))
		if err != nil {
			t.Fatal(err)
		}
		later := time.Unix(at+passed, 0)
		got, ok, err := h.openChallenge(challenge, sealOf, later)
		if err != nil {
			t.Fatal(err)
		}
		if wanted := passed <= int64(signin.ChallengeLife/time.Second); ok != wanted || (ok && got != id) {
			t.Fatalf("%d s later the challenge %s is good: %t, as %s", passed, id, ok, got)
		}
		edited := spliced(challenge, other, from, to)
		if _, ok, err := h.openChallenge(edited, sealOf, time.Unix(at, 0)); err != nil || (ok && edited != challenge) {
			t.Fatalf("%q is taken for %q, %v", edited, challenge, err)
		}
		now.text = "1 group:2"
		if _, ok, err := h.openChallenge(challenge, sealOf, time.Unix(at, 0)); err != nil || ok {
			t.Fatalf("a challenge outlives what its account could do, %v", err)
		}
	})
}

// FuzzPhoto: a file is refused, saying why, or becomes a JPEG of the size that is reported.
func FuzzPhoto(f *testing.F) {
	picture := image.NewPaletted(image.Rect(0, 0, 260, 200), []color.Color{color.White, color.Black})
	for i := range picture.Pix {
		picture.Pix[i] = uint8(i % 7 / 6)
	}
	var asPNG, asJPEG bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, picture),
		jpeg.Encode(&asJPEG, picture, &jpeg.Options{Quality: 5})); err != nil {
		f.Fatal(err)
	}
	for _, file := range [][]byte{
		asPNG.Bytes(), asJPEG.Bytes(), asPNG.Bytes()[:asPNG.Len()/2], asJPEG.Bytes()[:asJPEG.Len()/2], []byte("GIF89a"),
		nil,
	} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		encoded, size, err := reencode(t.Context(), file)
		if err != nil {
			var refused *domain.Invalid
			if !errors.As(err, &refused) || refused.Fields[0].Field != "photo" {
				t.Fatalf("refused without saying what is wrong with the photo: %v", err)
			}
			return
		}
		kept, format, err := image.Decode(bytes.NewReader(encoded))
		if err != nil || format != "jpeg" {
			t.Fatalf("stored as %s: %v", format, err)
		}
		if kept.Bounds().Size() != size || size.X < 1 || size.Y < 1 || max(size.X, size.Y) > keptPhotoSide {
			t.Fatalf("reported %v, stored %v", size, kept.Bounds())
		}
	})
}
