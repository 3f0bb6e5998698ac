package node

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Credentials are what a node on TCP and its clients have to know of each other.
type Credentials struct {
	Certificate tls.Certificate
	// CertificateFile is the certificate in PEM, which clients have to trust.
	CertificateFile string
	Username        string
	Password        string
}

const (
	certificateFile = "node.crt"
	keyFile         = "node.key"
	passwordFile    = "node.password"

	certificateLife = 5 * 365 * 24 * time.Hour
	renewBefore     = 30 * 24 * time.Hour
)

// LoadOrCreateCredentials reads the credentials kept in a folder, or makes them: a self-signed
// certificate for localhost, 127.0.0.1, ::1 and the given hosts (names or addresses, "" is left
// out), and a random password for the user admin. The files have mode 0600. A certificate that
// is about to end or lacks a host is replaced; the password stays.
func LoadOrCreateCredentials(dir string, hosts ...string) (Credentials, error) {
	if err := makePrivate(dir); err != nil {
		return Credentials{}, fmt.Errorf("folder of the event store's credentials %s: %w", dir, err)
	}
	c := Credentials{Username: "admin", CertificateFile: filepath.Join(dir, certificateFile)}
	absolute, err := filepath.Abs(c.CertificateFile)
	if err != nil {
		return Credentials{}, err
	}
	c.CertificateFile = absolute
	if c.Password, err = loadOrCreatePassword(filepath.Join(dir, passwordFile)); err != nil {
		return Credentials{}, fmt.Errorf("password of the event store: %w", err)
	}
	names := append([]string{"localhost", "127.0.0.1", "::1"}, hosts...)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	if c.Certificate, err = loadOrCreateCertificate(c.CertificateFile, filepath.Join(dir, keyFile), names); err != nil {
		return Credentials{}, fmt.Errorf("certificate of the event store: %w", err)
	}
	return c, nil
}

// ConnectionString is how clients reach a node with these credentials at an address "host:port".
// It holds the password.
func (c Credentials) ConnectionString(address string) string {
	u := url.URL{
		Scheme:   "esdb",
		User:     url.UserPassword(c.Username, c.Password),
		Host:     address,
		RawQuery: url.Values{"tlsCAFile": {c.CertificateFile}}.Encode(),
	}
	return u.String()
}

func loadOrCreatePassword(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err == nil {
		password := string(bytes.TrimSpace(content))
		if password == "" {
			return "", fmt.Errorf("%s is empty: remove it to have a new password created", path)
		}
		return password, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	password := rand.Text()
	return password, writePrivate(path, []byte(password+"\n"))
}

// loadOrCreateCertificate keeps key and certificate in one file, so that they always fit, and a
// copy of the certificate for clients.
func loadOrCreateCertificate(certPath, keyPath string, hosts []string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(keyPath, keyPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		pair, err = createCertificate(keyPath, hosts)
	case err == nil && !fits(pair.Leaf, hosts):
		for _, ip := range pair.Leaf.IPAddresses {
			hosts = append(hosts, ip.String())
		}
		pair, err = createCertificate(keyPath, append(hosts, pair.Leaf.DNSNames...))
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	if current, err := os.ReadFile(certPath); err == nil && bytes.Equal(current, certificate) {
		return pair, nil
	}
	return pair, writePrivate(certPath, certificate)
}

func fits(certificate *x509.Certificate, hosts []string) bool {
	lacks := func(host string) bool { return certificate.VerifyHostname(host) != nil }
	return time.Until(certificate.NotAfter) > renewBefore && !slices.ContainsFunc(hosts, lacks)
}

func createCertificate(keyPath string, hosts []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "secboard event store node"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// It is its own authority: clients trust exactly this certificate.
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	both := append(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})...)
	if err := writePrivate(keyPath, both); err != nil {
		return tls.Certificate{}, err
	}
	return tls.LoadX509KeyPair(keyPath, keyPath)
}

// writePrivate writes a file of mode 0600 that is either there completely or not at all.
func writePrivate(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDir(filepath.Dir(path))
}
