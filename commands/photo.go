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

// Limits of a photo. Its pixels are counted before it is decoded, so a small file can't ask for gigabytes.
const (
	MaxPhotoBytes  = 2 << 20
	minPhotoSide   = 200
	maxPhotoPixels = 40_000_000
	keptPhotoSide  = 512
)

// decoders bounds the memory that photos being decoded take together.
var decoders = make(chan struct{}, 2)

// SetPhoto replaces the photo of the own account by a JPEG or PNG, told by content. It is stored re-encoded, at most 512
// pixels wide and high, so that nothing but its picture is kept.
func (h *Handler) SetPhoto(ctx context.Context, caller Caller, id uuid.UUID, file []byte) (Result, error) {
	encoded, size, err := reencode(ctx, file)
	if err != nil {
		return Result{}, err
	}
	return change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.SetPhoto(s, encoded, size.X, size.Y)
	})
}

func reencode(ctx context.Context, file []byte) ([]byte, image.Point, error) {
	if len(file) >= MaxPhotoBytes {
		return nil, image.Point{}, wrongField("photo", "too_large", "must be smaller than 2 MB")
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(file))
	switch {
	case err != nil:
		return nil, image.Point{}, wrongField("photo", "format", "must be a JPEG or PNG picture")
	case config.Width < minPhotoSide || config.Height < minPhotoSide:
		return nil, image.Point{}, wrongField("photo", "too_small",
			fmt.Sprintf("must be at least %d×%d pixels, but is %d×%d", minPhotoSide, minPhotoSide, config.Width, config.Height))
	case config.Width > maxPhotoPixels/config.Height:
		return nil, image.Point{}, wrongField("photo", "too_many_pixels",
			fmt.Sprintf("is %d×%d pixels, which is more than %d million", config.Width, config.Height, maxPhotoPixels/1_000_000))
	}
	select {
	case decoders <- struct{}{}:
		defer func() { <-decoders }()
	case <-ctx.Done():
		return nil, image.Point{}, ctx.Err()
	}
	picture, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, image.Point{}, wrongField("photo", "damaged", "can't be read to its end: save it anew")
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
