package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// password reads a new password from a pipe, or asks for it twice.
func (p *program) password(ctx context.Context, piped bool) (string, error) {
	if piped {
		password, err := readLine(p.stdin)
		if err == nil && password == "" {
			err = errors.New("there is no password on standard input")
		}
		return password, err
	}
	terminal, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", usagef("standard input is not a terminal: use --password-stdin to read the password from it")
	}
	password, err := p.ask(ctx, terminal, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := p.ask(ctx, terminal, "Once more: ")
	if err == nil && password != again {
		err = errors.New("the two passwords differ: nothing was changed")
	}
	return password, err
}

// ask reads a line from a terminal that does not show it. Ctrl-C leaves the terminal as it was.
func (p *program) ask(ctx context.Context, terminal *os.File, prompt string) (string, error) {
	if _, err := fmt.Fprint(p.stderr, prompt); err != nil {
		return "", err
	}
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	type line struct {
		text []byte
		err  error
	}
	answered := make(chan line, 1)
	go func() { // keeps waiting for the line when ctx ends, until the process does
		text, err := term.ReadPassword(fd)
		answered <- line{text, err}
	}()
	select {
	case answer := <-answered:
		p.complain("")
		if answer.err != nil {
			return "", fmt.Errorf("read the password: %w", answer.err)
		}
		return string(answer.text), nil
	case <-ctx.Done():
		p.complain("")
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}

// readLine reads the first line, without its end, of at most 4 KiB.
func readLine(r io.Reader) (string, error) {
	content, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}
