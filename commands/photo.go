package commands

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	_ "image/png" // decodes PNG

	"github.com/google/uuid"
	"golang.org/x/image/draw"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
)

// Limits of a photo. Its pixels are counted before it is decoded, because what decoding takes depends on them and not
// on the file: a progressive JPEG takes 5 bytes for each pixel and colour, so up to 260 MB. The usual 4032×3024 of a
// phone fits.
const (
	MaxPhotoBytes  = 2 << 20
	minPhotoSide   = 200
	maxPhotoPixels = 13_000_000
	keptPhotoSide  = 512
)

// decoder is held by the one photo that is being decoded, so that several don't take that memory at once.
var decoder = make(chan struct{}, 1)

// SetPhoto replaces the photo of somebody's own account by a JPEG or PNG, recognised by its content. It is stored
// re-encoded, at most 512 pixels wide and high, so that nothing but its picture is kept.
func (h *Handler) SetPhoto(ctx context.Context, caller Caller, id uuid.UUID, file []byte) (Result, error) {
	encoded, size, err := reencode(ctx, file)
	if err != nil {
		return Result{}, err
	}
	caller = caller.needing(ownAccount)
	return change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.SetPhoto(s, encoded, size.X, size.Y)
	})
}

func reencode(ctx context.Context, file []byte) ([]byte, image.Point, error) {
	if len(file) >= MaxPhotoBytes {
		return nil, image.Point{}, wrongField("photo", domain.CodeTooLarge, "must be smaller than 2 MB")
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(file))
	switch {
	case err != nil:
		return nil, image.Point{}, wrongField("photo", domain.CodeFormat, "must be a JPEG or PNG picture")
	case config.Width < minPhotoSide || config.Height < minPhotoSide:
		return nil, image.Point{}, wrongField("photo", domain.CodeTooSmall,
			fmt.Sprintf("must be at least %d×%d pixels, but is %d×%d", minPhotoSide, minPhotoSide, config.Width,
				config.Height))
	case config.Width > maxPhotoPixels/config.Height:
		return nil, image.Point{}, wrongField("photo", domain.CodeTooManyPixels,
			fmt.Sprintf("must have at most %d million pixels, such as 4000×3000, but is %d×%d: make it smaller",
				maxPhotoPixels/1_000_000, config.Width, config.Height))
	}
	select {
	case decoder <- struct{}{}:
		defer func() { <-decoder }()
	case <-ctx.Done():
		return nil, image.Point{}, ctx.Err()
	}
	picture, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, image.Point{}, wrongField("photo", domain.CodeDamaged, "is damaged: save it again")
	}
	size := picture.Bounds().Size()
	if longest := max(size.X, size.Y); longest > keptPhotoSide {
		size = image.Pt(max(1, size.X*keptPhotoSide/longest), max(1, size.Y*keptPhotoSide/longest))
	}
	canvas := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(canvas, canvas.Bounds(), image.White, image.Point{}, draw.Src) // JPEG knows no transparency
	draw.ApproxBiLinear.Scale(canvas, canvas.Bounds(), picture, picture.Bounds(), draw.Over, nil)
	var encoded bytes.Buffer
	if err := jpeg.Encode(&encoded, canvas, &jpeg.Options{Quality: 85}); err != nil {
		return nil, image.Point{}, err
	}
	return encoded.Bytes(), size, nil
}
