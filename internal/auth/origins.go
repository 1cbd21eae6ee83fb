package auth

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Origins says from which web sites browsers may connect. The same-origin policy
// does not cover WebSockets (RFC 6455, section 10.2): without this check any site
// could connect as the user who visits it. The zero value allows only the server's
// own site.
type Origins struct {
	any   bool
	globs []origin
}

// origin is a parsed Origin header, or a glob for one.
type origin struct {
	scheme string
	host   string
	port   string // "" is the scheme's own; "*" in a glob is any
}

// ParseOrigins reads globs of the form scheme://host[:port].
//
// In the host, a first label that is just * stands for one or more labels
// (https://*.example.com, https://*); any other * for characters of its label,
// which two labels without a * must follow
// (https://pr-*.preview.example.com). The port * is any port. Case does not
// matter. The glob * allows everything, also the origin "null" of sandboxed
// pages and files. No globs at all is the zero value.
func ParseOrigins(globs []string) (Origins, error) {
	var o Origins
	for _, glob := range globs {
		if glob == "*" {
			o.any = true
			continue
		}
		parsed, err := parseGlob(glob)
		if err != nil {
			return Origins{}, fmt.Errorf("origin %q: %w", glob, err)
		}
		o.globs = append(o.globs, parsed)
	}
	return o, nil
}

// Allowed reports whether a request with these Origin and Host headers may
// connect. A request without an origin may: it does not come from a browser, since
// every browser sends one.
func (o Origins) Allowed(origin, host string) bool {
	if origin == "" || o.any {
		return true
	}
	from, ok := parseOrigin(origin)
	if !ok {
		return false
	}
	if len(o.globs) == 0 {
		return sameHost(from, host)
	}
	for i := range o.globs {
		if o.globs[i].matches(from) {
			return true
		}
	}
	return false
}

// sameHost ignores the scheme, because behind a proxy that ends TLS pushd does not
// know its own.
func sameHost(from origin, host string) bool {
	name, port, ok := splitPort(strings.ToLower(host))
	if !ok {
		return false
	}
	if port == defaultPort(from.scheme) {
		port = ""
	}
	return from.host == name && from.port == port
}

func parseOrigin(s string) (origin, bool) {
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || !isScheme(scheme) {
		return origin{}, false
	}
	host, port, ok := splitPort(rest)
	if !ok || !isHost(host) || !isPort(port) {
		return origin{}, false
	}
	if port == defaultPort(scheme) {
		port = ""
	}
	return origin{scheme, host, port}, true
}

// splitPort splits host[:port]. An IPv6 address keeps its brackets.
func splitPort(s string) (host, port string, ok bool) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || strings.HasSuffix(s, "]") {
		return s, "", s != ""
	}
	host, port = s[:colon], s[colon+1:]
	return host, port, host != "" && port != ""
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyz" + digits
)

func consistsOf(s, set string) bool { return strings.Trim(s, set) == "" }

func isScheme(s string) bool { return s != "" && consistsOf(s, letters+"+-.") }

func isPort(s string) bool { return len(s) <= 5 && consistsOf(s, digits) }

func isHost(s string) bool {
	if inside, ok := strings.CutPrefix(s, "["); ok {
		inside, ok = strings.CutSuffix(inside, "]")
		return ok && inside != "" && consistsOf(inside, "0123456789abcdef:.")
	}
	return s != "" && consistsOf(s, letters+"-._")
}

func parseGlob(glob string) (origin, error) {
	scheme, rest, ok := strings.Cut(strings.ToLower(glob), "://")
	if !ok {
		return origin{}, errors.New("want scheme://host[:port], such as https://example.com, or just *")
	}
	if !isScheme(scheme) {
		return origin{}, errors.New("the scheme may hold letters, digits, '+', '-' and '.'")
	}
	if strings.ContainsAny(rest, "/?#@") {
		return origin{}, errors.New("an origin ends after host and port: no path, no user")
	}
	host, port, ok := splitPort(rest)
	if !ok {
		return origin{}, errors.New("host or port is missing")
	}
	if port != "*" && !isPort(port) {
		return origin{}, errors.New("the port must be a number or *")
	}
	if err := checkHostGlob(host); err != nil {
		return origin{}, err
	}
	if port == defaultPort(scheme) {
		port = ""
	}
	return origin{scheme, host, port}, nil
}

// checkHostGlob refuses globs that look safe and are not: https://*example.com
// would match evilexample.com.
func checkHostGlob(host string) error {
	if strings.Trim(host, "*") == "" && host != "*" || !isHost(strings.ReplaceAll(host, "*", "x")) {
		return errors.New("the host may hold letters, digits, '-', '.', '_' and *; write names in other scripts as xn--…")
	}
	rest, _ := strings.CutPrefix(host, "*.")
	last := strings.LastIndexByte(rest, '*')
	if host == "*" || last < 0 {
		return nil
	}
	if _, after, _ := strings.Cut(rest[last:], "."); !strings.Contains(after, ".") {
		return errors.New("a * beside other characters must be followed by two labels without one, as in https://pr-*.preview.example.com")
	}
	return nil
}

func (glob *origin) matches(from origin) bool {
	return glob.scheme == from.scheme &&
		(glob.port == "*" || glob.port == from.port) &&
		matchHost(glob.host, from.host)
}

func matchHost(glob, host string) bool {
	if !strings.Contains(glob, "*") {
		return glob == host
	}
	if glob == "*" {
		return true
	}
	rest, subdomains := strings.CutPrefix(glob, "*.")
	if !subdomains {
		return matchLabels(glob, host)
	}
	for {
		label, after, ok := strings.Cut(host, ".")
		if !ok || label == "" {
			return false
		}
		if matchLabels(rest, after) {
			return true
		}
		host = after
	}
}

// matchLabels matches labels as path.Match does the elements of a path: a * does
// not match a dot. A host glob has none of path.Match's other special characters.
func matchLabels(glob, host string) bool {
	ok, err := path.Match(strings.ReplaceAll(glob, ".", "/"), strings.ReplaceAll(host, ".", "/"))
	return ok && err == nil
}
