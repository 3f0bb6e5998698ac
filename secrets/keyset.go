// Package secrets seals what must not be in the log in clear, fingerprints what must be found but not read, and
// hashes passwords.
package secrets

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/secboard/secboard/domain"
)

// Keyset holds the installation's keys: a Tink AEAD keyset, which can be rotated, and a Tink PRF key, which can't,
// because the names of claim streams come from it.
type Keyset struct {
	aead        tink.AEAD
	prf         *prf.Set
	fingerprint string
}

// keysetFile is the file's JSON: two Tink keysets in clear, so the file is the secret.
type keysetFile struct {
	AEAD json.RawMessage `json:"aead"`
	PRF  json.RawMessage `json:"prf"`
}

// LoadKeyset reads the keyset from a file that only its owner may read.
func LoadKeyset(path string) (*Keyset, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeyset(content)
	if err != nil {
		return nil, fmt.Errorf("%s is not a keyset file: %w", path, err)
	}
	return keys, nil
}

// LoadOrCreateKeyset reads the keyset, making the file (mode 0600) on the first start.
func LoadOrCreateKeyset(path string) (*Keyset, error) {
	keys, err := LoadKeyset(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	content, err := newKeyset()
	if err != nil {
		return nil, fmt.Errorf("make a keyset: %w", err)
	}
	if err := writeNew(path, content); err != nil {
		return nil, fmt.Errorf("write the keyset: %w", err)
	}
	return LoadKeyset(path)
}

// writeNew puts a whole file in place at once; if another process was faster, its file stays. Either is on the disk
// when it returns: what is written from then on can't be read without it.
func writeNew(path string, content []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".keyset-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func newKeyset() ([]byte, error) {
	sealing, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	naming, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, err
	}
	var file keysetFile
	for handle, part := range map[*keyset.Handle]*json.RawMessage{sealing: &file.AEAD, naming: &file.PRF} {
		var buffer bytes.Buffer
		if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buffer)); err != nil {
			return nil, err
		}
		*part = bytes.Clone(buffer.Bytes())
	}
	return json.MarshalIndent(file, "", "  ")
}

func parseKeyset(content []byte) (*Keyset, error) {
	var file keysetFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, errors.New("it is not valid JSON") // the parser's own message could quote key material
	}
	sealing, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(file.AEAD)))
	if err != nil {
		return nil, errors.New("its aead part is not a Tink keyset")
	}
	naming, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(file.PRF)))
	if err != nil {
		return nil, errors.New("its prf part is not a Tink keyset")
	}
	keys := &Keyset{}
	if keys.aead, err = aead.New(sealing); err != nil {
		return nil, fmt.Errorf("aead: %w", err)
	}
	if keys.prf, err = prf.NewPRFSet(naming); err != nil {
		return nil, fmt.Errorf("prf: %w", err)
	}
	mark, err := keys.prf.ComputePrimaryPRF([]byte("secboard keyset fingerprint"), 16)
	if err != nil {
		return nil, fmt.Errorf("prf: %w", err)
	}
	keys.fingerprint = hex.EncodeToString(mark[:8])
	return keys, nil
}

// Fingerprint distinguishes keysets by the key that names come from; it reveals nothing about it.
func (k *Keyset) Fingerprint() string { return k.fingerprint }

// Seal encrypts a secret. It opens only in the same context, which names where the secret belongs.
func (k *Keyset) Seal(secret []byte, context string) (domain.Sealed, error) {
	sealed, err := k.aead.Encrypt(secret, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// Open decrypts what Seal gave.
func (k *Keyset) Open(sealed domain.Sealed, context string) ([]byte, error) {
	secret, err := k.aead.Decrypt(sealed, []byte(context))
	if err != nil {
		return nil, fmt.Errorf("decrypt a secret of %s: it was encrypted with another keyset or for something else",
			context)
	}
	return secret, nil
}

// Name turns a value into a name that finds it again but does not reveal it: 128 bits of HMAC, in hex.
func (k *Keyset) Name(kind, value string) (string, error) {
	name, err := k.prf.ComputePrimaryPRF([]byte(kind+"\x00"+value), 16)
	if err != nil {
		return "", fmt.Errorf("compute the name of a value: %w", err)
	}
	return hex.EncodeToString(name), nil
}

// MAC authenticates a payload for one purpose: 128 bits of HMAC.
func (k *Keyset) MAC(purpose string, payload []byte) ([]byte, error) {
	mac, err := k.prf.ComputePrimaryPRF(append([]byte("mac\x00"+purpose+"\x00"), payload...), 16)
	if err != nil {
		return nil, fmt.Errorf("authenticate a token: %w", err)
	}
	return mac, nil
}

// TokenHash is the form in which a random token is stored. A token has 256 random bits, so no key or salt is needed.
func TokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// TokenText is how random bytes are written as a token: URL-safe, without padding.
func TokenText(random []byte) string { return base64.RawURLEncoding.EncodeToString(random) }
