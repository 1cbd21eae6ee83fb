package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"pushd.example/internal/auth"
)

// runToken is `pushd token`: it prints a client token. It takes pushd's own
// settings besides its flags, so that the token fits a server with the same
// ones.
func runToken(args []string, getenv func(string) string, stdout io.Writer) error {
	l := newLoader()
	user := l.flags.String("user", "", "whose token")
	ttl := time.Hour
	l.flags.Func("ttl", "how long it is good for", func(s string) error {
		return duration(&ttl, "1s", "3650d").set(s)
	})
	if err := l.load(args, getenv, stdout); err != nil {
		return err
	}
	if *user == "" {
		return errors.New("token: set -user, whose token it is (and -ttl, how long it is good for, default 1h)")
	}
	cfg := l.cfg.auth(slog.New(slog.DiscardHandler))
	cfg.APIKeyFile = "" // a token needs no API keys; their file may be unreadable here
	if cfg.TokenKeyFile == "" {
		return errors.New("token: set -token-key-file, the file with the secret to sign with (in -dev mode no token is needed)")
	}
	credentials, err := auth.New(cfg)
	if err != nil {
		return err
	}
	token, err := credentials.Issue(*user, time.Now().Add(ttl))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}
