package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"

	"golang.org/x/sys/unix"
)

// terminals keeps them open: a prompt that was interrupted goes on reading until the process ends.
var terminals []*os.File

// openTerminal makes a pseudo terminal: what a person's side types, the program's side reads.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	terminals = append(terminals, person, program)
	return person, program
}

// echoes says whether the terminal shows what is typed.
func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// prompted runs `superuser create` at a terminal; typed answers its prompts.
func prompted(t *testing.T, interrupt bool, typed ...string) (outcome, *os.File) {
	t.Helper()
	person, terminal := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout bytes.Buffer
	said := &syncBuffer{}
	p := newProgram(settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "data")}, terminal, &stdout, said)
	status := make(chan int, 1)
	go func() { status <- p.run(ctx, []string{"superuser", "create", "--email", rootEmail}) }()
	for i, line := range typed {
		prompts := []string{"Password: ", "Once more: "}
		pausetest.Until(t, "it does not ask", func() bool {
			return strings.HasSuffix(said.String(), prompts[i]) && !echoes(t, terminal)
		})
		if interrupt {
			cancel()
			break
		}
		if _, err := person.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	return outcome{<-status, stdout.String(), said.String()}, terminal
}

func TestPasswordPrompt(t *testing.T) {
	t.Parallel()
	got, terminal := prompted(t, false, rootPassword, rootPassword)
	got.expect(t, exitDone, "is a superuser")
	if strings.Contains(got.stdout+got.stderr, rootPassword) || !echoes(t, terminal) {
		t.Errorf("the password is shown, or the terminal stays blind: %+v", got)
	}
	got, _ = prompted(t, false, rootPassword, "another long password")
	got.expect(t, exitFailed, "the two passwords differ")
	got, terminal = prompted(t, true, "")
	got.expect(t, exitFailed, "interrupted")
	if !echoes(t, terminal) {
		t.Error("after Ctrl-C the terminal stays blind")
	}
}
