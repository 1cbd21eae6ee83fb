// Package auth says who a caller is and what it may do. It reads and checks
// credentials. Packages rpc and conn use it; it depends on neither.
//
// There are two kinds of caller. A backend holds an API key, a secret with
// scopes. A client (an app, a browser) holds a client token: a short-lived JWT
// that a backend made for one user, with a secret that it shares with pushd.
//
//	              API               WebSocket
//	API key       its scopes        refused
//	client token  its own user      its own user
//	none          only if Open      only if Open
//
// # The API key file
//
// One key a line: a name for logs, its scopes, the key itself, and, if it has
// one, its rate.
//
//	# name      scopes           key                      rate
//	shop-2025   send,read        kZ0pWQ3vYx8b5uFh2LrT9s   rate=200,burst=1000
//	news        broadcast        Jm4Tq7XcR1nVd6KyB8wEgA   rate=0.5
//	ops         *                Pf3Hs9ZkU2aGt5NxC7eMvQ
//
// A name is 1 to 64 letters, digits, '.', '_' and '-', and unique, so that
// logs show during a rotation which of two keys is still in use. Scopes are
// send, broadcast, read, manage, or * for all. A key is 16 to 512 visible
// ASCII characters. The rate is the number of requests a second that the key
// may make on average, 0.001 to 1,000,000; the burst is the number at once, 1 to
// 1,000,000, by default that of one second. Without a rate there is no limit.
// Reading the file again does not refill a key's burst. Empty lines and lines that
// begin with # are skipped.
//
// # The token key file
//
// One secret a line, 32 to 1024 bytes: the line itself without the white space
// around it, or "base64:" and the secret in base64 (either alphabet, padding
// optional). A token may be signed with any of them; [Auth.Issue] uses the
// first. Empty lines and lines that begin with # are skipped.
//
// # Client tokens
//
// HS256 only (RFC 7518, section 3.2), which requires a secret of at least 32
// bytes. Claims, as RFC 7519 means them: sub is the user, required, 1 to 128
// bytes; exp is required; nbf is obeyed; iss and aud are checked when
// configured. Clocks may differ by [Leeway].
package auth
