//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pushd.example/internal/auth"
)

// maxHead bounds a server's answer to the handshake, in bytes.
const maxHead = 16 << 10

// tokenLife is long enough for any run.
const tokenLife = 24 * time.Hour

// handshakes makes upgrade requests and checks the answers.
type handshakes struct {
	request template
	accept  string
	names   userNames
	user    func(i int) int // of connection i
	auth    *auth.Auth      // nil unless tokens are wanted

	compression bool // is offered
}

// newHandshakes prepares requests to address, a ws URL template, with headers
// ("Name: value" templates).
func newHandshakes(cfg holdConfig) (*handshakes, error) {
	names, err := parseUserNames(cfg.UserNames)
	if err != nil {
		return nil, fmt.Errorf("-user: %w", err)
	}
	h := &handshakes{names: names, user: cfg.user, compression: cfg.Compression}
	_, host, path, err := splitURL(cfg.URL, "ws")
	if err != nil {
		return nil, fmt.Errorf("-connect-url: %w (no TLS: measure behind what ends it)", err)
	}
	// One key for all connections of a process: it only has to be echoed
	// rightly, and hashing it anew for each would cost time that is not the
	// server's.
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	encoded := base64.StdEncoding.EncodeToString(key)
	sum := sha1.Sum([]byte(encoded + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, section 1.3
	h.accept = base64.StdEncoding.EncodeToString(sum[:])
	text := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + encoded + "\r\n"
	if cfg.Compression {
		text += "Sec-WebSocket-Extensions: " + deflateOffer + "\r\n"
	}
	for _, line := range cfg.Headers {
		text += line + "\r\n"
	}
	if h.request, err = parseTemplate(text+"\r\n", varIndex, varUser, varToken); err != nil {
		return nil, fmt.Errorf("-connect-url, -connect-header: %w", err)
	}
	if h.request.has(varToken) {
		if cfg.TokenKeyFile == "" {
			return nil, errors.New("-connect-url, -connect-header: {token} needs -token-key-file to make tokens from")
		}
		h.auth, err = auth.New(auth.Config{TokenKeyFile: cfg.TokenKeyFile, Issuer: cfg.Issuer, Audience: cfg.Audience})
	}
	return h, err
}

// splitURL takes a URL template apart; the path keeps its query and is at
// least "/". Schemes other than those wanted are refused.
func splitURL(text string, schemes ...string) (scheme, host, path string, err error) {
	// Braces are no URL syntax, so the template is split by hand and only what
	// precedes the path is parsed.
	scheme, rest, ok := strings.Cut(text, "://")
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		i = len(rest)
	}
	host, path = rest[:i], rest[i:]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	for _, s := range schemes {
		if u, err := url.Parse(scheme + "://" + host); ok && s == scheme && err == nil && u.Port() != "" && u.Hostname() != "" {
			return scheme, host, path, nil
		}
	}
	return "", "", "", fmt.Errorf("%q: want %s://HOST:PORT, with the port", text, strings.Join(schemes, ":// or "))
}

// append appends the request of connection i.
func (h *handshakes) append(dst []byte, i int) ([]byte, error) {
	var failed error
	user := h.user(i)
	dst = h.request.append(dst, func(dst []byte, v variable) []byte {
		switch v {
		case varIndex:
			return strconv.AppendInt(dst, int64(i), 10)
		case varToken:
			token, err := h.auth.Issue(h.names.name(user), time.Now().Add(tokenLife))
			failed = errors.Join(failed, err)
			return append(dst, token...)
		default:
			return h.names.append(dst, user)
		}
	})
	return dst, failed
}

// refusal is an answer that is not an upgrade.
type refusal struct {
	status string // "503 Service Unavailable: {"code":…"
	// after is when to come back, 0 if the server did not ask for that.
	after time.Duration
}

func (r *refusal) Error() string { return "handshake refused: " + r.status }

// check reads the head of an answer, without the blank line, and the part of
// the body that came with it. It returns a *refusal if the server said no.
func (h *handshakes) check(head, body []byte) error {
	line, rest, _ := strings.Cut(string(head), "\r\n")
	version, status, ok := strings.Cut(line, " ")
	if !ok || !strings.HasPrefix(version, "HTTP/1.1") {
		return fmt.Errorf("handshake: the server does not speak HTTP/1.1: %.80q", line)
	}
	header := parseHeader(rest)
	if strings.HasPrefix(status, "101") {
		if got := header.Get("Sec-WebSocket-Accept"); got != h.accept {
			return fmt.Errorf("handshake: wrong Sec-WebSocket-Accept %q", got)
		}
		if got := header.Get("Sec-WebSocket-Extensions"); got != "" && !(h.compression && strings.Contains(got, "server_no_context_takeover")) {
			return errDeflateAnswer
		}
		return nil
	}
	r := &refusal{status: status}
	if len(body) > 0 {
		r.status += ": " + string(bytes.TrimSpace(body[:min(len(body), 200)]))
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && strings.HasPrefix(status, "503") {
		r.after = max(time.Duration(seconds)*time.Second, 50*time.Millisecond)
	}
	return r
}

func parseHeader(lines string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(lines, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			h.Add(textproto.CanonicalMIMEHeaderKey(k), strings.TrimSpace(v))
		}
	}
	return h
}
