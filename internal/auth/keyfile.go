package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// Limits of the key files. RFC 7518, section 3.2 requires 32 bytes of an HS256
// secret.
const (
	maxKeyFile              = 1 << 20
	maxKeyName              = 64
	minAPIKey, maxAPIKey    = 16, 512
	minSecret, maxSecret    = 32, 1024
	base64Prefix            = "base64:"
	othersCanReadOrAnyWrite = 0o027
)

// apiKey is one line of the API key file. Only a digest is kept: all digests have
// one length, so the time of a comparison does not depend on the key's length.
type apiKey struct {
	name   string
	scopes Scope
	digest [sha256.Size]byte
	limits limits
	// limiter is the one that the key of this name had before the last Reload. Nil
	// means no limit.
	limiter *rate.Limiter
}

// lookup compares key with every known key, so that its time does not depend on
// which key matches, or on how many bytes do.
func (k *keyring) lookup(key string) (apiKey, bool) {
	digest := sha256.Sum256([]byte(key))
	found := -1
	for i := range k.api {
		same := subtle.ConstantTimeCompare(digest[:], k.api[i].digest[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return apiKey{}, false
	}
	return k.api[found], true
}

func (a *Auth) readAPIKeys(path string) ([]apiKey, error) {
	text, err := a.readFile(path)
	if err != nil {
		return nil, err
	}
	return parseAPIKeys(path, text)
}

func (a *Auth) readSecrets(path string) ([]jwt.VerificationKey, error) {
	text, err := a.readFile(path)
	if err != nil {
		return nil, err
	}
	return parseSecrets(path, text)
}

// readFile reads a file of secrets. It warns if the file can be written by others
// than its owner, or read by others than owner and group. The group may read,
// because containers give secrets to processes that way.
func (a *Auth) readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&othersCanReadOrAnyWrite != 0 {
		a.cfg.Log.Warn("other users can read or change this file's secrets: use chmod 600", "file", path, "mode", fmt.Sprintf("%04o", mode.Perm()))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxKeyFile)
	}
	return text, nil
}

// eachLine calls parse with every line that is neither empty nor a comment. The
// errors of parse must not contain the line, which holds a secret.
func eachLine(path string, text []byte, parse func(line []byte) error) error {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // the byte order mark of Windows editors
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := parse(line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
}

func parseAPIKeys(path string, text []byte) ([]apiKey, error) {
	var keys []apiKey
	err := eachLine(path, text, func(line []byte) error {
		key, err := parseAPIKey(string(line))
		if err != nil {
			return err
		}
		for i := range keys {
			if keys[i].name == key.name {
				return fmt.Errorf("the name %q is used twice: names must be unique", key.name)
			}
			if keys[i].digest == key.digest {
				return fmt.Errorf("%q has the same key as %q: keys must be unique", key.name, keys[i].name)
			}
		}
		keys = append(keys, key)
		return nil
	})
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("%s: the file has no key", path)
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

func parseAPIKey(line string) (apiKey, error) {
	columns := strings.Fields(line)
	if len(columns) != 3 && len(columns) != 4 {
		return apiKey{}, fmt.Errorf("want three columns (name, scopes, key) or four (and the rate), got %d", len(columns))
	}
	name, key := columns[0], columns[2]
	if len(name) > maxKeyName || strings.Trim(name, nameLetters) != "" {
		return apiKey{}, fmt.Errorf("the name in the first column is not 1 to %d letters, digits, '.', '_' and '-'", maxKeyName)
	}
	scopes, err := parseScopes(columns[1])
	if err != nil {
		return apiKey{}, err
	}
	if len(key) < minAPIKey || len(key) > maxAPIKey {
		return apiKey{}, fmt.Errorf("the key of %q has %d characters: want %d to %d", name, len(key), minAPIKey, maxAPIKey)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return apiKey{}, fmt.Errorf("the key of %q has characters that are not visible ASCII", name)
	}
	var l limits
	if len(columns) == 4 {
		if l, err = parseLimits(columns[3]); err != nil {
			return apiKey{}, err
		}
	}
	return apiKey{name: name, scopes: scopes, digest: sha256.Sum256([]byte(key)), limits: l}, nil
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

func parseSecrets(path string, text []byte) ([]jwt.VerificationKey, error) {
	var secrets []jwt.VerificationKey
	err := eachLine(path, text, func(line []byte) error {
		secret, err := parseSecret(line)
		if err != nil {
			return err
		}
		for _, s := range secrets {
			if bytes.Equal(s.([]byte), secret) {
				return errors.New("the secret is in the file twice")
			}
		}
		secrets = append(secrets, secret)
		return nil
	})
	if err == nil && len(secrets) == 0 {
		err = fmt.Errorf("%s: the file has no secret", path)
	}
	if err != nil {
		return nil, err
	}
	return secrets, nil
}

func parseSecret(line []byte) ([]byte, error) {
	secret := bytes.Clone(line)
	if encoded, ok := strings.CutPrefix(string(line), base64Prefix); ok {
		encoded = strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(strings.TrimSpace(encoded))
		var err error
		if secret, err = base64.RawStdEncoding.DecodeString(encoded); err != nil {
			return nil, fmt.Errorf("what follows %q is not base64", base64Prefix)
		}
	}
	if len(secret) < minSecret || len(secret) > maxSecret {
		return nil, fmt.Errorf("the secret has %d bytes: want %d to %d", len(secret), minSecret, maxSecret)
	}
	return secret, nil
}
