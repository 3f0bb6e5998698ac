package projections

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/user"
)

// What is shown of the ways to sign in, now and as it was: the history, from which the past comes, holds no secret.
func TestWaysToSignInAreShownAsTheyAreAndAsTheyWere(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, admin := t.Context(), admin(t, s)
	clock := s.Now()
	s.Now = func() time.Time { return clock }
	check := func(what string, u User, err error, enrolled bool, left int, signedIn bool) {
		t.Helper()
		if err != nil || u.TwoFactor.Enrolled != enrolled || u.TwoFactor.BackupCodesLeft != left ||
			(u.LastSignInAt != nil) != signedIn {
			t.Errorf("%s: %+v, last sign-in %v, %v", what, u.TwoFactor, u.LastSignInAt, err)
		}
	}
	const password = "a long enough password"
	anna := s.has(t)(s.CreateSuperuser(ctx, as(admin), "anna@example.com", password))
	boris := s.has(t)(
		s.RegisterUser(ctx, as(admin), commands.RegisterUser{Details: user.Details{Email: "boris@example.com"}}))
	before := clock
	first, err := s.User(ctx, anna, before)
	check("at first", first, err, false, 0, false)

	clock = clock.Add(time.Minute)
	device, _, err := s.PrepareTwoFactor(ctx, ownerOf(anna), anna)
	if err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCode(device.Secret, clock)
	if err != nil {
		t.Fatal(err)
	}
	codes, _, err := s.ConfirmTwoFactor(ctx, ownerOf(anna), anna, code)
	if err != nil {
		t.Fatal(err)
	}
	challenged, err := s.SignIn(ctx, as(admin), "anna@example.com", password)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.SignInWithBackupCode(ctx, as(admin), challenged.Challenge, codes[0])
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, s.runner, in.Position)
	enrolled := clock
	now, err := s.User(ctx, anna, enrolled)
	check("with a device", now, err, true, 9, true)
	yes := true
	if found, err := s.Users(ctx, UserFilter{TwoFactor: &yes}, PageRequest{}, enrolled); err != nil ||
		len(found.Items) != 1 || found.Items[0].ID != anna {
		t.Errorf("with two-factor: %+v, %v", found.Items, err)
	}

	clock = clock.Add(time.Minute)
	s.has(t)(s.ResetTwoFactor(ctx, as(admin), anna, "lost phone"))
	after, err := s.User(ctx, anna, clock)
	check("after the reset", after, err, false, 0, true)
	then, err := s.UserAsOf(ctx, anna, enrolled)
	check("as it was with a device", then, err, true, 9, true)
	if now.LastSignInAt == nil || then.LastSignInAt == nil || !then.LastSignInAt.Equal(*now.LastSignInAt) {
		t.Errorf("last sign-in %v, then %v", now.LastSignInAt, then.LastSignInAt)
	}
	earliest, err := s.UserAsOf(ctx, anna, before)
	check("as it was at first", earliest, err, false, 0, false)
	other, err := s.User(ctx, boris, clock)
	check("somebody else", other, err, false, 0, false)
}

func TestAPhotoIsKeptButNotInTheHistory(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, admin := t.Context(), admin(t, s)
	anna := s.has(t)(
		s.RegisterUser(ctx, as(admin), commands.RegisterUser{Details: user.Details{Email: "anna@example.com"}}))
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 300, 200))); err != nil {
		t.Fatal(err)
	}
	s.has(t)(s.SetPhoto(ctx, ownerOf(anna), anna, file.Bytes()))
	picture, since, err := s.Photo(ctx, anna)
	if err != nil || !bytes.HasPrefix(picture, []byte{0xff, 0xd8}) || since.IsZero() {
		t.Fatalf("%d bytes since %v, %v", len(picture), since, err)
	}
	var longest int
	if err := s.pool.QueryRow(ctx,
		"SELECT max(length(data::text)) FROM history WHERE type = 'user.photo_changed'").Scan(&longest); err != nil ||
		longest > 200 {
		t.Errorf("an entry of %d characters, %v", longest, err)
	}
	language := "uk"
	s.has(t)(s.ChangeProfile(ctx, ownerOf(anna), anna, user.Profile{Language: &language}))
	with := s.Now()
	s.has(t)(s.RemovePhoto(ctx, ownerOf(anna), anna))
	if _, _, err := s.Photo(ctx, anna); !errors.Is(err, ErrNotFound) {
		t.Errorf("after removing it: %v", err)
	}
	now, err := s.User(ctx, anna, s.Now())
	if err != nil || now.HasPhoto || now.Language == nil || *now.Language != "uk" {
		t.Errorf("%+v, %v", now, err)
	}
	if then, err := s.UserAsOf(ctx, anna, with); err != nil || !then.HasPhoto {
		t.Errorf("%+v, %v", then, err)
	}
}
