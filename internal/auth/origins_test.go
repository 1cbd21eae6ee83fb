package auth_test

import (
	"strings"
	"testing"

	"pushd.example/internal/auth"
)

func TestOrigins(t *testing.T) {
	const anyHost = "push.example.com"
	for _, c := range []struct {
		globs, origin, host string
		want                bool
	}{
		// No globs: the server's own host.
		{"", "", anyHost, true},
		{"", "https://push.example.com", anyHost, true},
		{"", "http://push.example.com", anyHost, true},
		{"", "https://PUSH.example.com", "push.EXAMPLE.com", true},
		{"", "https://push.example.com", "push.example.com:443", true},
		{"", "https://push.example.com:443", anyHost, true},
		{"", "http://push.example.com", "push.example.com:443", false},
		{"", "http://localhost:8080", "localhost:8080", true},
		{"", "http://[::1]:8080", "[::1]:8080", true},
		{"", "http://[::1]", "[::1]", true},
		{"", "http://[::1]:8081", "[::1]:8080", false},
		{"", "http://localhost:3000", "localhost:8080", false},
		{"", "http://localhost", "localhost:8080", false},
		{"", "https://example.com", anyHost, false},
		{"", "https://push.example.com.evil.com", anyHost, false},
		{"", "https://push.example.com@evil.com", anyHost, false},
		{"", "null", anyHost, false},
		{"", "null", "null", false},
		{"", "://push.example.com", anyHost, false},
		{"", "https://", "", false},
		{"", "https://:443", ":443", false},
		{"", "https://push.example.com:", anyHost, false},
		{"", "https://push.example.com/", anyHost, false},
		{"", "push.example.com", anyHost, false},
		{"", "https://a.com https://push.example.com", anyHost, false},

		// One site.
		{"https://example.com", "", anyHost, true},
		{"https://example.com", "https://example.com", anyHost, true},
		{"HTTPS://Example.COM:443", "https://example.com", anyHost, true},
		{"https://example.com", "https://EXAMPLE.com:443", anyHost, true},
		{"https://example.com", "http://example.com", anyHost, false},
		{"https://example.com", "https://example.com:8443", anyHost, false},
		{"https://example.com", "https://www.example.com", anyHost, false},
		{"https://example.com", "https://push.example.com", anyHost, false},
		{"https://example.com", "null", anyHost, false},
		{"http://[::1]:3000", "http://[::1]:3000", anyHost, true},
		{"capacitor://localhost", "capacitor://localhost", anyHost, true},
		{"https://a.com,https://b.com", "https://b.com", anyHost, true},
		{"https://a.com,https://b.com", "https://c.com", anyHost, false},

		// Subdomains.
		{"https://*.example.com", "https://a.example.com", anyHost, true},
		{"https://*.example.com", "https://a.b.example.com", anyHost, true},
		{"https://*.example.com", "https://example.com", anyHost, false},
		{"https://*.example.com", "https://.example.com", anyHost, false},
		{"https://*.example.com", "https://evilexample.com", anyHost, false},
		{"https://*.example.com", "https://a.example.com.evil.com", anyHost, false},
		{"https://*.example.com", "https://*.example.com", anyHost, false},
		{"https://*.example.com", "https://evil.com#.example.com", anyHost, false},
		{"https://*.example.com", "https://evil.com/.example.com", anyHost, false},
		{"https://*", "https://anything.at.all", anyHost, true},
		{"https://*", "http://anything.at.all", anyHost, false},
		{"https://*", "https://anything:8443", anyHost, false},

		// Parts of a label.
		{"https://pr-*.preview.example.com", "https://pr-17.preview.example.com", anyHost, true},
		{"https://pr-*.preview.example.com", "https://pr-1.x.preview.example.com", anyHost, false},
		{"https://pr-*.preview.example.com", "https://master.preview.example.com", anyHost, false},
		{"https://*-eu.a.example.com", "https://x-eu.a.example.com", anyHost, true},
		{"https://*.pr-*.example.com", "https://a.b.pr-9.example.com", anyHost, true},
		{"https://*.pr-*.example.com", "https://pr-9.example.com", anyHost, false},
		{"https://a.*.example.com", "https://a.b.example.com", anyHost, true},
		{"https://a.*.example.com", "https://a.b.c.example.com", anyHost, false},

		// Ports.
		{"http://localhost:*", "http://localhost:5173", anyHost, true},
		{"http://localhost:*", "http://localhost", anyHost, true},
		{"http://localhost:*", "http://localhost.evil.com:5173", anyHost, false},
		{"http://localhost:3000", "http://localhost:3001", anyHost, false},
		{"http://*:*", "http://10.0.0.7:3000", anyHost, true},

		// Everything.
		{"*", "https://anything.at.all", anyHost, true},
		{"*", "null", anyHost, true},
		{"*", "", anyHost, true},
		{"https://a.com,*", "https://b.com", anyHost, true},
	} {
		var globs []string
		if c.globs != "" {
			globs = strings.Split(c.globs, ",")
		}
		origins, err := auth.ParseOrigins(globs)
		if err != nil {
			t.Errorf("%q: %v", c.globs, err)
			continue
		}
		if got := origins.Allowed(c.origin, c.host); got != c.want {
			t.Errorf("globs %q, origin %q, host %q: got %v", c.globs, c.origin, c.host, got)
		}
	}
}

func TestBadOriginGlobs(t *testing.T) {
	for glob, want := range map[string]string{
		"":                         "scheme://host",
		"example.com":              "scheme://host",
		"null":                     "scheme://host",
		"://example.com":           "scheme",
		"ht tp://example.com":      "scheme",
		"https://":                 "missing",
		"https://:443":             "missing",
		"https://example.com:":     "missing",
		"https://example.com/":     "path",
		"https://example.com/chat": "path",
		"https://me@example.com":   "path",
		"https://example.com:x":    "port",
		"https://example.com:80*":  "port",
		"https://exa mple.com":     "host",
		"https://bücher.example":   "xn--",
		"https://**":               "host",
		"https://[::*]":            "host",
		"https://[a.*.b.c]":        "host",
		"https://*example.com":     "two labels",
		"https://example.*":        "two labels",
		"https://a.*.com":          "two labels",
		"https://*.pr-*.com":       "two labels",
	} {
		_, err := auth.ParseOrigins([]string{"https://fine.example.com", glob})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"`+glob+`"`) {
			t.Errorf("%q: got %v, want an error about %q", glob, err, want)
		}
	}
}

// No origin that a glob of subdomains lets in ends elsewhere.
func FuzzOrigins(f *testing.F) {
	f.Add("https://*.example.com", "https://a.example.com", "example.com")
	f.Add("http://localhost:*", "http://[::1]:80", "[::1]")
	f.Add("https://pr-*.x.example.com", "null", "x:1")
	subdomains, err := auth.ParseOrigins([]string{"https://*.example.com", "https://*.pr-*.example.com:*"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, glob, origin, host string) {
		if origin != "" && subdomains.Allowed(origin, host) {
			name, _, _ := strings.Cut(strings.TrimPrefix(strings.ToLower(origin), "https://"), ":")
			if !strings.HasSuffix(name, ".example.com") || strings.ContainsAny(name, "/@#?\\ *") {
				t.Fatalf("let %q in", origin)
			}
		}
		if origins, err := auth.ParseOrigins([]string{glob}); err == nil {
			origins.Allowed(origin, host)
		}
		if own := (auth.Origins{}); origin != "" && own.Allowed(origin, host) {
			if !strings.Contains(strings.ToLower(origin), strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), ":80"), ":443")) {
				t.Fatalf("took %q for %q's own", origin, host)
			}
		}
	})
}
