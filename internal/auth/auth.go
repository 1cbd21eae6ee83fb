package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The errors of a refused caller. They are wrapped with a reason that is safe to
// show to the caller and to log: it never contains the credential.
var (
	// ErrNoCredential: a credential is required and none was sent.
	ErrNoCredential = errors.New("no credential")
	// ErrBadCredential: the credential is unknown, damaged, or of a kind that is
	// not accepted here.
	ErrBadCredential = errors.New("bad credential")
	// ErrExpired: the client token was valid before. The client needs a new one.
	ErrExpired = errors.New("token expired")
)

// The errors of issuing a token.
var (
	// ErrNoTokenKey: there is no secret to sign with.
	ErrNoTokenKey = errors.New("no client tokens here: -token-key-file is not set")
	// ErrUser: the user is not valid.
	ErrUser = errors.New("bad user")
)

// ErrNoKeys: no credentials are configured, so every caller would be refused.
var ErrNoKeys = errors.New("no credentials configured: set -api-key-file and -token-key-file (or run with -dev)")

// MaxUser is the most bytes in a token's user.
const MaxUser = 128

// maxCredential is the most bytes in a credential. It bounds the work of checking
// one.
const maxCredential = 8 << 10

// Config names the files with credentials. At least one of APIKeyFile,
// TokenKeyFile and Open is required.
type Config struct {
	// APIKeyFile holds the API keys of backends. Empty: there are none, and the API
	// accepts only client tokens.
	APIKeyFile string
	// TokenKeyFile holds the secrets that client tokens are signed with.
	// Empty: there are none, and no client can connect.
	TokenKeyFile string
	// Issuer, if set, is the iss that client tokens must have.
	Issuer string
	// Audience, if set, must be among a client token's aud.
	Audience string
	// Open admits callers without a credential: anyone who can reach the port may
	// do anything as any user. A credential that is sent is checked anyway, unless
	// there is nothing to check it with: an API credential when neither file is
	// set, a client token when TokenKeyFile is not set.
	Open bool
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Log gets warnings when the files are read: no client or no backend can
	// connect because a file is not set; other users can read a file. Nil discards
	// them.
	Log *slog.Logger
}

// Auth checks credentials. Its methods may be called from any goroutine.
type Auth struct {
	// Set once.
	cfg    Config
	parser *jwt.Parser

	// Replaced as a whole by Reload, so that a check sees one version.
	keys atomic.Pointer[keyring]

	// reloading is held by Reload, which moves limiters from one keyring to the
	// next.
	reloading sync.Mutex
}

// keyring is the content of the two files when they were last read.
type keyring struct {
	api     []apiKey
	secrets jwt.VerificationKeySet
}

// New reads the files. Its errors name the file and line, never a secret in it. It
// returns [ErrNoKeys] if there are no files and not Open.
func New(cfg Config) (*Auth, error) {
	if cfg.APIKeyFile == "" && cfg.TokenKeyFile == "" && !cfg.Open {
		return nil, ErrNoKeys
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Auth{cfg: cfg, parser: newParser(cfg)}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the files again and replaces all credentials at once. On an error
// the old credentials stay valid. A client that is connected stays connected until
// its token expires.
func (a *Auth) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	var k keyring
	var err error
	if a.cfg.APIKeyFile != "" {
		if k.api, err = a.readAPIKeys(a.cfg.APIKeyFile); err != nil {
			return fmt.Errorf("reading API keys: %w", err)
		}
	}
	if a.cfg.TokenKeyFile != "" {
		if k.secrets.Keys, err = a.readSecrets(a.cfg.TokenKeyFile); err != nil {
			return fmt.Errorf("reading token keys: %w", err)
		}
	}
	if !a.cfg.Open && len(k.secrets.Keys) == 0 {
		a.cfg.Log.Warn("no client can connect: -token-key-file is not set")
	}
	if !a.cfg.Open && len(k.api) == 0 {
		a.cfg.Log.Warn("no backend can push: -api-key-file is not set")
	}
	// This is the last step, when nothing can fail any more, because it changes the
	// limiters in use.
	var inForce []apiKey
	if old := a.keys.Load(); old != nil {
		inForce = old.api
	}
	limitKeys(k.api, inForce)
	a.keys.Store(&k)
	return nil
}

// API checks the credential that a caller of the API sent after "Bearer ": an API
// key or a client token. Errors: ErrNoCredential, ErrBadCredential, ErrExpired.
func (a *Auth) API(bearer string) (Caller, error) {
	k := a.keys.Load()
	nothingToCheckWith := len(k.api) == 0 && len(k.secrets.Keys) == 0
	if a.cfg.Open && (bearer == "" || nothingToCheckWith) {
		return Caller{Scopes: All}, nil
	}
	if bearer == "" {
		return Caller{}, fmt.Errorf("%w: send \"authorization: Bearer\" with an API key or a client token", ErrNoCredential)
	}
	if len(bearer) > maxCredential {
		return Caller{}, errTooLong
	}
	if key, ok := k.lookup(bearer); ok {
		return Caller{Name: key.name, Scopes: key.scopes, Limiter: key.limiter}, nil
	}
	if len(k.secrets.Keys) == 0 || strings.Count(bearer, ".") != 2 {
		return Caller{}, fmt.Errorf("%w: not a known API key, and not a client token", ErrBadCredential)
	}
	return a.verify(k, bearer)
}

// Client checks the token of a client. user is the user that the client claims to
// be, or "". The caller's user is the token's; a different user is an error. If
// Config.Open is set and there is no token, the caller's user is user, unchecked.
// Errors: ErrNoCredential, ErrBadCredential, ErrExpired.
func (a *Auth) Client(token, user string) (Caller, error) {
	k := a.keys.Load()
	if a.cfg.Open && (token == "" || len(k.secrets.Keys) == 0) {
		return Caller{User: user}, nil
	}
	if token == "" {
		return Caller{}, fmt.Errorf("%w: a client token is needed", ErrNoCredential)
	}
	if len(token) > maxCredential {
		return Caller{}, errTooLong
	}
	caller, err := a.verify(k, token)
	if err != nil {
		return Caller{}, err
	}
	if user != "" && user != caller.User {
		return Caller{}, fmt.Errorf("%w: the token is of another user", ErrBadCredential)
	}
	return caller, nil
}

var errTooLong = fmt.Errorf("%w: longer than %d bytes", ErrBadCredential, maxCredential)
