// Package mtatest gives tests a real mail server: Exim, in the foreground, in a temporary folder and on loopback ports
// of its own. It delivers into a maildir that the test reads, and ends with the test, however that ends.
package mtatest

import (
	"bufio"
	"bytes"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// Addresses that the server treats in its own way. Without login it takes messages only to Domain; after a login to
// any, all of which it delivers into the one maildir.
const (
	Domain     = "acme.example"
	Unknown    = "unknown@" + Domain    // 550 5.1.1
	Full       = "full@" + Domain       // 452 4.2.2
	Greylisted = "greylisted@" + Domain // 451 4.7.1 at first from a sender, then taken
	Refused    = "refused@" + Domain    // as a sender: 550 5.7.1
	// MaxMessage is the size in bytes above which a message is answered 552.
	MaxMessage = 200 << 10
)

// Server is a running Exim.
type Server struct {
	Host               string // 127.0.0.1, for which its certificate is
	Port               int    // offers STARTTLS, and after that AUTH PLAIN and LOGIN
	TLSPort            int    // TLS at once, with AUTH
	PlainPort          int    // neither STARTTLS nor AUTH
	Username, Password string
	RootCAs            *x509.CertPool // trust its certificate

	dir string
}

//go:embed exim.conf
var configuration string

var configurationTemplate = template.Must(template.New("exim.conf").Parse(configuration))

// Start starts a server that stops when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	program, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	authority := NewAuthority(t)
	s := &Server{
		Host:     "127.0.0.1",
		Username: "secboard",
		Password: "correct-horse-battery-staple",
		RootCAs:  authority.Pool,
		dir:      tempDir(t),
	}
	uid, gid := account()
	s.fill(t, authority)
	// Another process may take a port between choosing and using it.
	for attempt := 1; ; attempt++ {
		err := s.start(t, program, uid, gid)
		if err == nil {
			return s
		}
		if attempt == 5 {
			t.Fatal(err)
		}
	}
}

// installed finds Exim, also where only root's path has it.
func installed() (string, error) {
	for _, path := range []string{"exim4", "exim", "/usr/sbin/exim4", "/usr/sbin/exim"} {
		if program, err := exec.LookPath(path); err == nil {
			return program, nil
		}
	}
	return "", errors.New("the mail server Exim is not installed: apt-get install -y --no-install-recommends " +
		"exim4-daemon-light")
}

// patience bounds every wait for the server.
const patience = 3 * time.Minute

// account is the user that Exim runs as. Where we are root that is nobody: Exim never delivers as root.
func account() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 65534, 65534
	}
	return os.Geteuid(), os.Getegid()
}

// tempDir is as t.TempDir, but in a place that Exim's user can get to when the tests run as root.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "secboard-mta-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for {
			// A delivery under way may still write.
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Error(err)
				return
			}
		}
	})
	return dir
}

// fill lays out the folder, but for the configuration.
func (s *Server) fill(t testing.TB, authority *Authority) {
	t.Helper()
	certificate := authority.Issue(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), s.Host, "localhost")
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"spool", "log", "greylist", "maildir", "maildir/new", "maildir/cur", "maildir/tmp"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, "certificate.pem",
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	s.write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	uid, gid := account()
	err = filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Server) write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// runScript starts a program and ends it when the standard input closes: that is a pipe that we hold, so it happens
// also when the test process is killed. A signal bound to the parent's death would not reach Exim, a set-uid program.
const runScript = `exec 3<&0; "$@" </dev/null 3<&- & program=$!; { cat <&3 >/dev/null; kill $program; } & wait $program`

// start runs Exim on ports that are free now, until the test ends.
func (s *Server) start(t testing.TB, program string, uid, gid int) error {
	t.Helper()
	s.Port, s.TLSPort, s.PlainPort = freePorts(t)
	var config bytes.Buffer
	err := configurationTemplate.Execute(&config, struct {
		*Server
		Dir      string
		UID, GID int
	}{s, s.dir, uid, gid})
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "exim.conf", config.Bytes())
	if err := os.Lchown(filepath.Join(s.dir, "exim.conf"), uid, gid); err != nil {
		t.Fatal(err)
	}
	output, err := os.Create(filepath.Join(s.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", runScript, "sh", program, "-C", filepath.Join(s.dir, "exim.conf"), "-bdf")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() //nolint:errcheck // it is always killed
	}()
	t.Cleanup(func() {
		_ = stdin.Close() //nolint:errcheck // Wait has closed it if Exim ended by itself
		<-ended
		if err := output.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.awaitGreeting(t, ended)
}

// freePorts gives three that are free at this moment.
func freePorts(t testing.TB) (int, int, int) {
	t.Helper()
	var ports [3]int
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		// Only when all three are known, which makes them different.
		defer func() {
			if err := listener.Close(); err != nil {
				t.Error(err)
			}
		}()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], ports[2]
}

func (s *Server) awaitGreeting(t testing.TB, ended <-chan struct{}) error {
	t.Helper()
	deadline := time.After(patience)
	for {
		if s.greets() {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("exim ended at its start:\n%s", s.Log())
		case <-deadline:
			t.Fatalf("exim does not answer on port %d:\n%s", s.Port, s.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) greets() bool {
	conn, err := net.Dial("tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() //nolint:errcheck // it was only a question
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "220 mx."+Domain) {
		return false
	}
	_, err = io.WriteString(conn, "QUIT\r\n")
	return err == nil
}

// Log is what the server has noted until now, for a test that failed.
func (s *Server) Log() string {
	var all strings.Builder
	names, err := filepath.Glob(filepath.Join(s.dir, "log", "*"))
	if err != nil {
		panic(err) // the pattern is ours
	}
	for _, name := range append(names, filepath.Join(s.dir, "output")) {
		content, err := os.ReadFile(name)
		if err != nil {
			content = []byte(err.Error())
		}
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(name), content)
	}
	return all.String()
}

// Messages are those delivered until now, in the order of their delivery.
func (s *Server) Messages(t testing.TB) []Message {
	t.Helper()
	folder := filepath.Join(s.dir, "maildir", "new")
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var messages []Message
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		message, err := parse(file)
		if err != nil {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		message.delivered = info.ModTime()
		messages = append(messages, message)
	}
	slices.SortFunc(messages, func(a, b Message) int { return a.delivered.Compare(b.delivered) })
	return messages
}

// Await waits until at least n messages are delivered.
func (s *Server) Await(t testing.TB, n int) []Message {
	t.Helper()
	deadline := time.After(patience)
	for {
		if messages := s.Messages(t); len(messages) >= n {
			return messages
		}
		select {
		case <-deadline:
			t.Fatalf("there are %d messages and not %d:\n%s", len(s.Messages(t)), n, s.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
