package mtatest

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// Message is one delivered message.
type Message struct {
	From, To string // the envelope's
	Header   mail.Header
	Subject  string // decoded
	Body     string // decoded; of several parts one after the other

	delivered time.Time
}

func parse(r io.Reader) (Message, error) {
	read, err := mail.ReadMessage(r)
	if err != nil {
		return Message{}, err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if err != nil {
		return Message{}, err
	}
	var body strings.Builder
	if err := decode(&body, read.Header.Get("Content-Type"), read.Header.Get("Content-Transfer-Encoding"),
		read.Body); err != nil {
		return Message{}, err
	}
	return Message{
		From:    strings.Trim(read.Header.Get("Return-Path"), "<>"),
		To:      read.Header.Get("Envelope-To"),
		Header:  read.Header,
		Subject: subject,
		Body:    body.String(),
	}, nil
}

func decode(w io.Writer, contentType, encoding string, content io.Reader) error {
	if mediaType, params, err := mime.ParseMediaType(contentType); err == nil &&
		strings.HasPrefix(mediaType, "multipart/") {
		parts := multipart.NewReader(content, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := decode(w, part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"),
				part); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		content = quotedprintable.NewReader(content)
	case "base64":
		content = base64.NewDecoder(base64.StdEncoding, content)
	}
	_, err := io.Copy(w, content)
	return err
}
