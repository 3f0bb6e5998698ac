package sambatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/secboard/secboard/testcache"
)

// patience bounds every wait for the server.
const patience = 3 * time.Minute

const installLine = "apt-get install -y --no-install-recommends samba samba-ad-provision samba-dsdb-modules " +
	"samba-vfs-modules"

// server is one Samba.
type server struct {
	dir     string
	address string
	caPEM   []byte

	lifeline io.Closer     // Samba ends when its standard input does
	exited   chan struct{} // closed when it has ended
	output   string        // the file with what it says
}

// start runs a server on a copy of the cached domain.
func start(ctx context.Context) (_ *server, err error) {
	template, err := cachedDomain(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "secboard-samba-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, output: filepath.Join(dir, "output")}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := testcache.CopyInto(ctx, dir, template); err != nil {
		return nil, err
	}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := s.makeCertificate(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.settingsFile(), []byte(settings(dir, s.address)), 0o600); err != nil {
		return nil, err
	}
	return s, s.run(ctx)
}

func (s *server) bind(dn, password string) (*ldap.Conn, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.caPEM)
	conn, err := ldap.DialURL("ldaps://"+s.address,
		ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	if err != nil {
		return nil, err
	}
	conn.SetTimeout(patience)
	if err := conn.Bind(dn, password); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// settings are an smb.conf for a domain controller in dir that serves LDAP only.
func settings(dir, address string) string {
	return strings.NewReplacer("DIR", dir, "ADDRESS", address).Replace(`[global]
	netbios name = DC1
	realm = ` + realm + `
	workgroup = ` + workgroup + `
	server role = active directory domain controller
	server services = ldap
	interfaces = ADDRESS/8
	bind interfaces only = yes
	private dir = DIR/private
	state directory = DIR/state
	cache directory = DIR/cache
	lock directory = DIR
	pid directory = DIR
	ncalrpc dir = DIR/ncalrpc
	binddns dir = DIR/bind-dns
	ldb:nosync = true
	tls keyfile = DIR/key.pem
	tls certfile = DIR/cert.pem
	tls cafile = DIR/ca.pem
`)
}

func (s *server) settingsFile() string { return filepath.Join(s.dir, "smb.conf") }

// keepMarker is a file that says that the folder is still needed when Samba has ended.
func (s *server) keepMarker() string { return filepath.Join(s.dir, "keep") }

// run starts Samba and returns when it answers. The shell around it outlives us, and removes the folder.
func (s *server) run(ctx context.Context) error {
	if err := os.Remove(s.keepMarker()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	const script = `samba --interactive --model=single --configfile="$0/smb.conf" --debug-stdout >"$0/output" 2>&1
		[ -e "$0/keep" ] || rm -rf -- "$0"`
	cmd := exec.Command("/bin/sh", "-c", script, s.dir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + searchPath(), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, lifeline.Close())
	}
	s.lifeline, s.exited = lifeline, make(chan struct{})
	go func() {
		_ = cmd.Wait() //nolint:errcheck // its output says why
		close(s.exited)
	}()
	return s.awaitReady(ctx)
}

func (s *server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := s.greet(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("samba ended: %s", s.said())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("samba doesn't answer: %w: %s", err, s.said()), s.stop())
		case <-again.C:
		}
	}
}

func (s *server) greet(ctx context.Context) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.caPEM)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.address, "636"))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (s *server) said() string {
	output, err := os.ReadFile(s.output)
	if err != nil {
		return err.Error()
	}
	return string(output)
}

// stop ends Samba and keeps its folder.
func (s *server) stop() error {
	if err := os.WriteFile(s.keepMarker(), nil, 0o600); err != nil {
		return err
	}
	err := s.lifeline.Close()
	select {
	case <-s.exited:
		return nil // then the lifeline may have been closed before
	case <-time.After(patience):
		return errors.Join(err, fmt.Errorf("samba doesn't end: %s", s.said()))
	}
}

func (s *server) remove() error { return errors.Join(s.stop(), os.RemoveAll(s.dir)) }

// freeAddress is a loopback address with free ports, one of 16 million: Samba's ports can't be chosen.
func freeAddress() (string, error) {
	for range 10 {
		ip := net.IPv4(127, 0, 0, 0).To4()
		if _, err := rand.Read(ip[1:]); err != nil {
			return "", err
		}
		ip[1] |= 1 // not 127.0, where others listen
		ip[3] = ip[3]&0xfc | 1
		if canListen(ip.String(), "389") && canListen(ip.String(), "636") {
			return ip.String(), nil
		}
	}
	return "", errors.New("no loopback address lets us listen on ports 389 and 636: macOS has only 127.0.0.1, others " +
		"need root")
}

func canListen(address, port string) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, port))
	return err == nil && listener.Close() == nil
}

// makeCertificate writes a certificate for the server's address, and who issued it.
func (s *server) makeCertificate() error {
	authority, err := NewAuthority()
	if err != nil {
		return err
	}
	certificate, err := authority.Issue(&x509.Certificate{IPAddresses: []net.IP{net.ParseIP(s.address)}})
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return err
	}
	s.caPEM = authority.PEM
	write := func(name string, text []byte) error { return os.WriteFile(filepath.Join(s.dir, name), text, 0o600) }
	return errors.Join(
		write("ca.pem", authority.PEM),
		write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})),
		write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	)
}

// searchPath has the folders of system programs, which not every shell of root has.
func searchPath() string {
	return os.Getenv("PATH") + ":/usr/sbin:/usr/local/samba/sbin:/usr/local/samba/bin"
}

// program finds one of Samba's.
func program(name string) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("a Samba domain controller needs root: run these tests as root, after " + installLine)
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/samba/sbin", "/usr/local/samba/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s here: %s", name, installLine)
}

func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, output.Bytes())
	}
	return nil
}
