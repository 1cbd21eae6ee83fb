package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"pushd.example/internal/history"
	"pushd.example/internal/history/redis"
)

// redisURL is a setting that may hold a password, which get leaves out.
func redisURL(p *string) value {
	get := func() string {
		u := cutRedisURL(*p)
		if u.user != "" {
			return u.scheme + url.PathEscape(u.user) + "@" + u.rest
		}
		return u.scheme + u.rest
	}
	return value{kind: "URL", get: get, set: func(s string) error {
		if s != "" {
			if _, err := redis.ParseURL(s); err != nil {
				return err
			}
		}
		*p = s
		return nil
	}}
}

// keyPrefix is checked here as redis.Open checks it, for errors that name the
// setting.
func keyPrefix(p *string) value {
	v := text(p)
	v.limits = "1 to 32 letters, digits, '.', '_', '-', ':'"
	v.set = func(s string) error {
		if s == "" || len(s) > 32 || strings.Trim(s, nameLetters+":") != "" {
			return fmt.Errorf("%q: want %s", s, v.limits)
		}
		*p = s
		return nil
	}
	return v
}

var durabilities = map[string]history.Durability{"memory": history.Memory, "replicated": history.Replicated}

func durability(p *history.Durability) value {
	var name string
	v := word(&name, "memory", "replicated")
	set := v.set
	v.get = func() string { return name }
	v.set = func(s string) error {
		if err := set(s); err != nil {
			return err
		}
		*p = durabilities[s]
		return nil
	}
	return v
}

// redisParts is a URL of a Redis: scheme ("redis://"), credentials, and the
// rest.
type redisParts struct{ scheme, user, password, rest string }

func cutRedisURL(s string) (u redisParts) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return redisParts{rest: s}
	}
	u.scheme, u.rest = scheme+"://", rest
	before, _, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(before, '@'); at >= 0 {
		user, password, _ := strings.Cut(rest[:at], ":")
		u.rest = rest[at+1:]
		// ParseURL has seen that these can be unescaped.
		u.user, _ = url.PathUnescape(user)
		u.password, _ = url.PathUnescape(password)
	}
	return u
}

// checkRedis checks the settings that are about Redis against each other.
func (l *loader) checkRedis() error {
	if l.cfg.Redis == "" {
		for _, s := range l.settings {
			// Defaults may be written out, as check-config does.
			if (strings.HasPrefix(s.name, "redis-") || s.name == "durability") && s.value.get() != s.def {
				return fmt.Errorf("%s: needs -redis, which is not set", l.source[s.name])
			}
		}
		return nil
	}
	if cutRedisURL(l.cfg.Redis).password == "" {
		return nil
	}
	if l.source["redis"] == "flag -redis" {
		return errors.New("flag -redis: a password on the command line can be read by everybody on this machine; " +
			"put it into the file -redis-password-file, or the URL into PUSHD_REDIS or the -config file")
	}
	if l.cfg.RedisPasswordFile != "" {
		return fmt.Errorf("%s: there is a password in %s already", l.source["redis-password-file"], l.source["redis"])
	}
	return nil
}

// redisWithPassword returns the URL of Redis with the password from its file,
// if there is one.
func (c config) redisWithPassword() (string, error) {
	if c.RedisPasswordFile == "" {
		return c.Redis, nil
	}
	b, err := os.ReadFile(c.RedisPasswordFile)
	if err != nil {
		return "", fmt.Errorf("reading the password of Redis: %w", err)
	}
	password := string(bytes.TrimRight(b, "\r\n"))
	if password == "" {
		return "", fmt.Errorf("reading the password of Redis: %s is empty", c.RedisPasswordFile)
	}
	u := cutRedisURL(c.Redis)
	return u.scheme + url.PathEscape(u.user) + ":" + url.PathEscape(password) + "@" + u.rest, nil
}
