package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The password reaches Redis from wherever it may stand, and only there.
func TestRedisPassword(t *testing.T) {
	file := writeFile(t, "password", "open/sesame @1\n")
	const plain, secret = "redis://cache:6379/2", "redis://:open%2Fsesame%20@cache:6379/2"
	for name, c := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"none":               {nil, []string{"-redis", plain}, plain},
		"in the environment": {[]string{"PUSHD_REDIS=" + secret}, nil, secret},
		"in the file":        {nil, []string{"-config", writeFile(t, "pushd.yaml", "redis: "+secret)}, secret},
		"in its own file":    {nil, []string{"-redis", plain, "-redis-password-file", file}, "redis://:open%2Fsesame%20@1@cache:6379/2"},
		"of a user":          {nil, []string{"-redis", "redis://pushd@cache:6379/2", "-redis-password-file", file}, "redis://pushd:open%2Fsesame%20@1@cache:6379/2"},
		"of a Cluster":       {nil, []string{"-redis", "redis-cluster://a,b:7", "-redis-password-file", file}, "redis-cluster://:open%2Fsesame%20@1@a,b:7"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mustLoad(t, environ(c.env...), c.args...)
			if got, err := cfg.redisWithPassword(); got != c.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
			var out bytes.Buffer
			if err := runCheckConfig(append([]string{"-dev"}, c.args...), environ(c.env...), &out); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), "sesame") || !strings.Contains(out.String(), c.want[:5]) {
				t.Errorf("check-config shows the password, or no URL:\n%s", &out)
			}
		})
	}
}

func TestRedisPasswordRefused(t *testing.T) {
	file, empty := writeFile(t, "password", "open sesame"), writeFile(t, "empty", "\n")
	_, err := loadConfig([]string{"-redis-password-file", file}, environ("PUSHD_REDIS=redis://:sesame@cache"), os.Stdout)
	wantError(t, err, "-redis-password-file", "PUSHD_REDIS", "already")
	if strings.Contains(err.Error(), "sesame") {
		t.Errorf("%v shows the password", err)
	}
	_, err = loadConfig([]string{"-redis", "redis://:sesame@cache"}, environ(), os.Stdout)
	if err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("%v shows the password", err)
	}
	err = runCheckConfig([]string{"-dev", "-redis", "redis://cache", "-redis-password-file", empty}, environ(), os.Stdout)
	wantError(t, err, empty, "is empty")
}
