package httpapi

import (
	"context"
	"net/http"

	"github.com/secboard/secboard/projections"
)

// maxPhotoUpload is what is read of a photo. It is more than a photo may have, so that one of a camera is told that it
// is too large, and how small it has to be.
const maxPhotoUpload = 16 << 20

type setPhotoRequest struct {
	ChangeHeaders
	RawBody []byte `contentType:"application/octet-stream"`
}

type changeOwnRequest struct {
	ChangeHeaders
}

type photoAnswer struct {
	ContentType  string `header:"Content-Type"`
	LastModified string `header:"Last-Modified"`
	Body         []byte `contentType:"image/jpeg"`
}

func (s *server) addPhoto() {
	registerCommand(s, operation{
		method: http.MethodPut, path: "/me/photo", id: "set-own-photo", tag: ownTag, required: signedIn,
		maxBody: maxPhotoUpload, summary: "Set your own photo",
		description: "The body is the file: JPEG or PNG, whatever its Content-Type says, smaller than 2 MB, at least " +
			"200×200 pixels and at most 13 million of them. It is stored as a JPEG " +
			"of at most 512×512 pixels, without anything else that was in the file.",
	}, func(ctx context.Context, in *setPhotoRequest) (*answer[projections.User], error) {
		caller, err := s.changer(ctx, in.ChangeHeaders)
		if err != nil {
			return nil, err
		}
		result, err := s.Commands.SetPhoto(ctx, caller, infoOf(ctx).access.UserID, in.RawBody)
		if err != nil {
			return nil, err
		}
		return s.own().changed(ctx, s, in.Prefer, result)
	})
	register(s, operation{
		method: http.MethodGet, path: "/me/photo", id: "own-photo", tag: ownTag, required: signedIn,
		errors: []int{http.StatusNotFound}, summary: "Your own photo",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*photoAnswer, error) {
		picture, since, err := s.ReadModels.Photo(ctx, infoOf(ctx).access.UserID)
		if err != nil {
			return nil, err
		}
		return &photoAnswer{ContentType: "image/jpeg", LastModified: since.Format(http.TimeFormat), Body: picture}, nil
	})
	registerCommand(s, operation{
		method: http.MethodDelete, path: "/me/photo", id: "remove-own-photo", tag: ownTag, required: signedIn,
		summary: "Remove your own photo",
	}, func(ctx context.Context, in *changeOwnRequest) (*answer[projections.User], error) {
		caller, err := s.changer(ctx, in.ChangeHeaders)
		if err != nil {
			return nil, err
		}
		result, err := s.Commands.RemovePhoto(ctx, caller, infoOf(ctx).access.UserID)
		if err != nil {
			return nil, err
		}
		return s.own().changed(ctx, s, in.Prefer, result)
	})
}
