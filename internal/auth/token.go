package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Leeway is how far the clocks of pushd and of a token's issuer may differ.
const Leeway = 5 * time.Second

// maxExpiry is the end of the year 9999. A later time is a mistake, such as an exp
// in milliseconds.
const maxExpiry = 253402300799

func newParser(cfg Config) *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(cfg.Now),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	return jwt.NewParser(options...)
}

func (a *Auth) verify(k *keyring, token string) (Caller, error) {
	if len(k.secrets.Keys) == 0 {
		return Caller{}, fmt.Errorf("%w: client tokens are not configured here", ErrBadCredential)
	}
	var claims jwt.RegisteredClaims
	_, err := a.parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		// RFC 7515, section 4.1.11: a token with a critical header that is not
		// understood is invalid. The library leaves that check to its callers.
		if _, critical := t.Header["crit"]; critical {
			return nil, errCritical
		}
		return k.secrets, nil
	})
	if err != nil {
		return Caller{}, refusal(err)
	}
	if exp := claims.ExpiresAt.Unix(); exp < 0 || exp > maxExpiry {
		return Caller{}, fmt.Errorf("%w: exp is not a time in seconds since 1970", ErrBadCredential)
	}
	if err := checkUser(claims.Subject); err != nil {
		return Caller{}, fmt.Errorf("%w: %w", ErrBadCredential, err)
	}
	return Caller{User: claims.Subject, Expires: claims.ExpiresAt.Add(Leeway)}, nil
}

var errCritical = errors.New("crit header")

// checkUser refuses U+FFFD, because the JSON decoder replaces bytes that are not
// UTF-8 by it: different invalid names must not become one user.
func checkUser(user string) error {
	switch {
	case user == "":
		return errors.New("the token has no user (sub)")
	case len(user) > MaxUser:
		return fmt.Errorf("the user (sub) has %d bytes, at most %d are allowed", len(user), MaxUser)
	case strings.ContainsRune(user, utf8.RuneError):
		return errors.New("the user (sub) is not valid UTF-8")
	}
	return nil
}

// refusal turns an error of the library into one of this package. Expiry comes
// last: a client whose token is also wrong for another reason would not get further
// with a new one.
func refusal(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return fmt.Errorf("%w: %s", ErrBadCredential, r.reason)
		}
	}
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return fmt.Errorf("%w: the claim %s has the wrong type", ErrBadCredential, wrongType.Field)
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return fmt.Errorf("%w: get a new one", ErrExpired)
	}
	return fmt.Errorf("%w: not a token", ErrBadCredential)
}

var refusals = []struct {
	is     error
	reason string
}{
	{errCritical, "the token has a crit header"},
	{jwt.ErrTokenUnverifiable, "the token's algorithm (alg) is not HS256"},
	{jwt.ErrSignatureInvalid, "the token's signature is wrong"},
	{jwt.ErrTokenSignatureInvalid, "the token's algorithm (alg) is not HS256"},
	{jwt.ErrTokenNotValidYet, "the token is not valid yet (nbf)"},
	{jwt.ErrTokenInvalidIssuer, "the token is of another issuer (iss)"},
	{jwt.ErrTokenInvalidAudience, "the token is for another audience (aud)"},
	{jwt.ErrTokenRequiredClaimMissing, "the token lacks a claim: exp is needed, iss and aud where configured"},
}

// Issue returns a client token for user, signed with the first secret of the token
// key file, with the configured issuer and audience. It expires at expires, rounded
// down to a second. Errors: ErrNoTokenKey, ErrUser.
func (a *Auth) Issue(user string, expires time.Time) (string, error) {
	secrets := a.keys.Load().secrets.Keys
	if len(secrets) == 0 {
		return "", fmt.Errorf("issuing a token: %w", ErrNoTokenKey)
	}
	if err := checkUser(user); err != nil {
		return "", fmt.Errorf("issuing a token: %w: %w", ErrUser, err)
	}
	claims := jwt.RegisteredClaims{
		Subject:   user,
		Issuer:    a.cfg.Issuer,
		ExpiresAt: jwt.NewNumericDate(expires),
	}
	if a.cfg.Audience != "" {
		claims.Audience = jwt.ClaimStrings{a.cfg.Audience}
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secrets[0])
}
