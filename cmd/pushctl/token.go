package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
)

const tokenMore = `pushd makes it (API key with scope "manage"), or, with -sign-with, pushctl itself
signs it with the first secret of pushd's -token-key-file, without asking a server.`

func token(c *call) func(context.Context) error {
	user := c.oneUser()
	ttl := c.duration("ttl", "`TIME` for which the token is good (default 1h)")
	file := c.flags.String("sign-with", "", "`FILE` with the secret: pushd's -token-key-file")
	issuer := c.flags.String("issuer", "", "`TEXT` for the claim iss, with -sign-with; needed where pushd has -token-issuer")
	audience := c.flags.String("audience", "", "`TEXT` for the claim aud, with -sign-with; needed where pushd has -token-audience")
	return func(ctx context.Context) error {
		name, err := user()
		if err != nil {
			return err
		}
		if *file == "" {
			if *issuer != "" || *audience != "" {
				return usagef("-issuer and -audience need -sign-with: otherwise pushd sets them")
			}
			return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
				resp, err := pushv1.NewTokenServiceClient(cc).Issue(ctx, &pushv1.IssueRequest{User: name, Ttl: *ttl})
				if err != nil {
					return err
				}
				return c.result(resp, "%s", resp.GetToken())
			})
		}
		good := time.Hour
		if *ttl != nil {
			good = (*ttl).AsDuration()
		}
		return c.sign(name, good, *file, *issuer, *audience)
	}
}

// maxUser is pushd's limit. A token for a longer name would be signed here and
// refused there.
const maxUser = 128

// sign makes a token as docs/configuration.md says that backends do.
func (c *call) sign(user string, ttl time.Duration, file, issuer, audience string) error {
	if len(user) > maxUser {
		return usagef("-user: want at most %d bytes, got %d", maxUser, len(user))
	}
	if ttl < time.Second {
		return usagef("-ttl: want at least 1s, got %v", ttl)
	}
	secret, err := firstSecret(file)
	if err != nil {
		return err
	}
	claims := jwt.RegisteredClaims{Subject: user, Issuer: issuer, ExpiresAt: jwt.NewNumericDate(time.Now().Add(ttl))}
	if audience != "" {
		claims.Audience = jwt.ClaimStrings{audience}
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return fmt.Errorf("signing the token: %w", err)
	}
	return c.result(&pushv1.IssueResponse{Token: text, Expires: timestamppb.New(claims.ExpiresAt.Time)}, "%s", text)
}

// firstSecret reads the first secret of pushd's -token-key-file: a line's text,
// or "base64:" and the secret.
func firstSecret(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("-sign-with: %w", err)
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		secret := line
		if encoded, ok := bytes.CutPrefix(line, []byte("base64:")); ok {
			plain := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(strings.TrimSpace(string(encoded)))
			if secret, err = base64.RawStdEncoding.DecodeString(plain); err != nil {
				return nil, usagef("-sign-with: %s: what follows base64: in the first secret is not base64", file)
			}
		}
		if len(secret) < 32 || len(secret) > 1024 {
			return nil, usagef("-sign-with: %s: want a first secret of 32 to 1024 bytes, got %d", file, len(secret))
		}
		return secret, nil
	}
	return nil, usagef("-sign-with: %s holds no secret", file)
}
