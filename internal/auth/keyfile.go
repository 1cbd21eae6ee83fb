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

// Limits of the key files. 32 bytes is what RFC 7518, section 3.2 asks of an
// HS256 secret.
const (
	maxKeyFile              = 1 << 20
	maxKeyName              = 64
	minAPIKey, maxAPIKey    = 16, 512
	minSecret, maxSecret    = 32, 1024
	base64Prefix            = "base64:"
	othersCanReadOrAnyWrite = 0o027
)

// apiKey is one line of the API key file. Only a digest is kept: digests have
// one length, so comparing them says nothing about the key's.
type apiKey struct {
	name   string
	scopes Scope
	digest [sha256.Size]byte
	limits limits
	// limiter is shared with the key of this name before the last Reload; nil:
	// unlimited.
	limiter *rate.Limiter
}

// lookup compares key with every key there is, so that the time it takes does
// not depend on which one matches or how far.
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

// readFile warns if others than owner and group can read the file or others
// than the owner write it. A group may read: containers hand secrets to
// processes that way.
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
		a.cfg.Log.Warn("others can get at this file's secrets: use chmod 600", "file", path, "mode", fmt.Sprintf("%04o", mode.Perm()))
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

// eachLine calls parse with every line that says something. Its errors must
// not hold the line.
func eachLine(path string, text []byte, parse func(line []byte) error) error {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // what Windows editors begin files with
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
				return fmt.Errorf("the name %q was used before: names are unique", key.name)
			}
			if keys[i].digest == key.digest {
				return fmt.Errorf("the key of %q is the key of %q too", key.name, keys[i].name)
			}
		}
		keys = append(keys, key)
		return nil
	})
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("%s: there is no key in it", path)
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
		err = fmt.Errorf("%s: there is no secret in it", path)
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
