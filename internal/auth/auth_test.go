package auth_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"pushd.example/internal/auth"
)

const (
	shopKey = "kZ0pWQ3vYx8b5uFh2LrT9s"
	newsKey = "Jm4Tq7XcR1nVd6KyB8wEgA"
	secret  = "a secret of thirty-two bytes, yes"
	older   = "an older secret of 32 bytes, fine"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// file writes a credential file that only its owner can read.
func file(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	rewrite(t, path, lines...)
	return path
}

func rewrite(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func keyFile(t testing.TB) string {
	return file(t, "# backends", "", "shop send,read "+shopKey, "news\tbroadcast\t"+newsKey)
}

func open(t testing.TB, cfg auth.Config) *auth.Auth {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return now }
	}
	a, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes a token as a backend in another language would: claims are
// whatever it puts there.
func sign(t testing.TB, key string, claims jwt.MapClaims) string {
	t.Helper()
	return signWith(t, jwt.SigningMethodHS256, []byte(key), nil, claims)
}

func signWith(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for name, value := range header {
		token.Header[name] = value
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func good(user string) jwt.MapClaims {
	return jwt.MapClaims{"sub": user, "exp": now.Add(time.Hour).Unix()}
}

func TestNewWithoutKeysSaysWhatToSet(t *testing.T) {
	_, err := auth.New(auth.Config{})
	if !errors.Is(err, auth.ErrNoKeys) {
		t.Fatalf("got %v, want ErrNoKeys", err)
	}
	for _, flag := range []string{"-api-key-file", "-token-key-file", "-dev"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("%q does not name %s", err, flag)
		}
	}
}

func TestNewNamesAMissingFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "absent")
	for _, cfg := range []auth.Config{
		{APIKeyFile: missing},
		{TokenKeyFile: missing},
		{APIKeyFile: missing, Open: true},
	} {
		_, err := auth.New(cfg)
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
			t.Errorf("%+v: got %v, want a missing %s", cfg, err, missing)
		}
	}
}

func TestAPI(t *testing.T) {
	a := open(t, auth.Config{APIKeyFile: keyFile(t), TokenKeyFile: file(t, secret)})
	token := sign(t, secret, good("42"))
	for _, c := range []struct {
		name, bearer string
		want         auth.Caller
		err          error
	}{
		{"key", shopKey, auth.Caller{Name: "shop", Scopes: auth.Send | auth.Read}, nil},
		{"second key", newsKey, auth.Caller{Name: "news", Scopes: auth.Broadcast}, nil},
		{"client token", token, auth.Caller{User: "42", Expires: now.Add(time.Hour + auth.Leeway)}, nil},
		{"nothing", "", auth.Caller{}, auth.ErrNoCredential},
		{"unknown key", "kZ0pWQ3vYx8b5uFh2LrT9t", auth.Caller{}, auth.ErrBadCredential},
		{"beginning of a key", shopKey[:16], auth.Caller{}, auth.ErrBadCredential},
		{"key and more", shopKey + "x", auth.Caller{}, auth.ErrBadCredential},
		{"key's name", "shop", auth.Caller{}, auth.ErrBadCredential},
		{"very long", strings.Repeat("k", 8193), auth.Caller{}, auth.ErrBadCredential},
		{"damaged token", token[:len(token)-4], auth.Caller{}, auth.ErrBadCredential},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := a.API(c.bearer)
			check(t, got, err, c.want, c.err)
			if err != nil && c.bearer != "" && c.bearer != "shop" && strings.Contains(err.Error(), c.bearer) {
				t.Errorf("%q holds the credential", err)
			}
		})
	}
}

func check(t *testing.T, got auth.Caller, err error, want auth.Caller, wantErr error) {
	t.Helper()
	if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
		t.Fatalf("got error %v, want %v", err, wantErr)
	}
	if !got.Expires.Equal(want.Expires) {
		t.Errorf("expires %v, want %v", got.Expires, want.Expires)
	}
	got.Expires, want.Expires = time.Time{}, time.Time{}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestClient(t *testing.T) {
	a := open(t, auth.Config{APIKeyFile: keyFile(t), TokenKeyFile: file(t, secret)})
	token := sign(t, secret, good("42"))
	want := auth.Caller{User: "42", Expires: now.Add(time.Hour + auth.Leeway)}
	for _, c := range []struct {
		name, token, user string
		want              auth.Caller
		err               error
	}{
		{"token", token, "", want, nil},
		{"token and its user", token, "42", want, nil},
		{"token of another user", token, "43", auth.Caller{}, auth.ErrBadCredential},
		{"only a user", "", "42", auth.Caller{}, auth.ErrNoCredential},
		{"an API key", shopKey, "", auth.Caller{}, auth.ErrBadCredential},
		{"very long", strings.Repeat("a.", 4097), "", auth.Caller{}, auth.ErrBadCredential},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := a.Client(c.token, c.user)
			check(t, got, err, c.want, c.err)
		})
	}
}

// Each file opens the door that it is for, and no other.
func TestOneFileOnly(t *testing.T) {
	token := sign(t, secret, good("42"))

	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	a := open(t, auth.Config{APIKeyFile: keyFile(t), Log: logger})
	if _, err := a.Client(token, ""); !errors.Is(err, auth.ErrBadCredential) {
		t.Errorf("client without token keys: %v, want ErrBadCredential", err)
	}
	if _, err := a.API(token); !errors.Is(err, auth.ErrBadCredential) {
		t.Errorf("token at the API without token keys: %v, want ErrBadCredential", err)
	}
	wantWarning(t, &log, "-token-key-file")

	a = open(t, auth.Config{TokenKeyFile: file(t, secret), Log: logger})
	if _, err := a.API(shopKey); !errors.Is(err, auth.ErrBadCredential) {
		t.Errorf("API key without API keys: %v, want ErrBadCredential", err)
	}
	if _, err := a.API(""); !errors.Is(err, auth.ErrNoCredential) {
		t.Errorf("nothing at the API: %v, want ErrNoCredential", err)
	}
	if caller, err := a.API(token); err != nil || caller.User != "42" {
		t.Errorf("token at the API: %+v, %v", caller, err)
	}
	wantWarning(t, &log, "-api-key-file")
}

// wantWarning requires one warning in log, and empties it.
func wantWarning(t *testing.T, log *bytes.Buffer, word string) {
	t.Helper()
	if s := log.String(); strings.Count(s, "level=WARN") != 1 || !strings.Contains(s, word) {
		t.Errorf("logged %q, want one warning about %s", s, word)
	}
	log.Reset()
}

func TestOpen(t *testing.T) {
	everything := auth.Caller{Scopes: auth.All}
	token := sign(t, secret, good("42"))
	verified := auth.Caller{User: "42", Expires: now.Add(time.Hour + auth.Leeway)}
	none := auth.Config{Open: true}
	apiOnly := auth.Config{Open: true, APIKeyFile: keyFile(t)}
	tokensOnly := auth.Config{Open: true, TokenKeyFile: file(t, secret)}

	for _, c := range []struct {
		name   string
		cfg    auth.Config
		bearer string
		want   auth.Caller
		err    error
	}{
		{"no keys, nothing sent", none, "", everything, nil},
		{"no keys, anything sent", none, "whatever", everything, nil},
		{"keys, nothing sent", apiOnly, "", everything, nil},
		{"keys, a good one", apiOnly, newsKey, auth.Caller{Name: "news", Scopes: auth.Broadcast}, nil},
		{"keys, a bad one", apiOnly, "whatever", auth.Caller{}, auth.ErrBadCredential},
		{"token keys, a bad one", tokensOnly, "whatever", auth.Caller{}, auth.ErrBadCredential},
		{"token keys, a good one", tokensOnly, token, verified, nil},
	} {
		t.Run("api/"+c.name, func(t *testing.T) {
			got, err := open(t, c.cfg).API(c.bearer)
			check(t, got, err, c.want, c.err)
		})
	}
	for _, c := range []struct {
		name        string
		cfg         auth.Config
		token, user string
		want        auth.Caller
		err         error
	}{
		{"no keys, a user", none, "", "42", auth.Caller{User: "42"}, nil},
		{"no keys, a token", none, "whatever", "42", auth.Caller{User: "42"}, nil},
		{"API keys, a token", apiOnly, "whatever", "42", auth.Caller{User: "42"}, nil},
		{"token keys, a user", tokensOnly, "", "7", auth.Caller{User: "7"}, nil},
		{"token keys, a good one", tokensOnly, token, "", verified, nil},
		{"token keys, a bad one", tokensOnly, "whatever", "42", auth.Caller{}, auth.ErrBadCredential},
	} {
		t.Run("client/"+c.name, func(t *testing.T) {
			got, err := open(t, c.cfg).Client(c.token, c.user)
			check(t, got, err, c.want, c.err)
		})
	}
	var log bytes.Buffer
	for _, cfg := range []auth.Config{none, apiOnly, tokensOnly} {
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		open(t, cfg)
	}
	if log.Len() > 0 {
		t.Errorf("warned about doors that are open: %s", &log)
	}
}

func TestReload(t *testing.T) {
	keys, secrets := keyFile(t), file(t, older)
	a := open(t, auth.Config{APIKeyFile: keys, TokenKeyFile: secrets})
	oldToken, newToken := sign(t, older, good("42")), sign(t, secret, good("42"))

	// Half of a rotation is no rotation: a bad file changes nothing in either.
	rewrite(t, keys, "news broadcast "+newsKey)
	rewrite(t, secrets, "too short")
	if err := a.Reload(); err == nil || !strings.Contains(err.Error(), secrets+":1") {
		t.Fatalf("got %v, want an error at %s:1", err, secrets)
	}
	if _, err := a.API(shopKey); err != nil {
		t.Errorf("the old API key after a failed reload: %v", err)
	}
	if _, err := a.Client(oldToken, ""); err != nil {
		t.Errorf("the old token after a failed reload: %v", err)
	}

	rewrite(t, secrets, secret, older)
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.API(shopKey); !errors.Is(err, auth.ErrBadCredential) {
		t.Errorf("a removed API key: %v, want ErrBadCredential", err)
	}
	for _, token := range []string{oldToken, newToken} {
		if _, err := a.Client(token, ""); err != nil {
			t.Errorf("during rotation: %v", err)
		}
	}
}

// Checks go on while keys are replaced, and always see one whole version.
func TestReloadWhileChecking(t *testing.T) {
	a := open(t, auth.Config{APIKeyFile: keyFile(t), TokenKeyFile: file(t, secret)})
	token := sign(t, secret, good("42"))
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			var errs []error
			for range 200 {
				_, keyErr := a.API(shopKey)
				_, tokenErr := a.Client(token, "")
				errs = append(errs, keyErr, tokenErr)
			}
			done <- errors.Join(errs...)
		}()
	}
	for range 50 {
		if err := a.Reload(); err != nil {
			t.Error(err)
		}
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestWarnsOfReadableFiles(t *testing.T) {
	for _, c := range []struct {
		mode os.FileMode
		warn bool
	}{{0o600, false}, {0o400, false}, {0o640, false}, {0o440, false}, {0o644, true}, {0o604, true}, {0o660, true}, {0o602, true}} {
		keys := keyFile(t)
		if err := os.Chmod(keys, c.mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		open(t, auth.Config{
			APIKeyFile: keys, TokenKeyFile: file(t, secret), Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if warned := strings.Contains(log.String(), keys); warned != c.warn {
			t.Errorf("mode %04o: logged %q", c.mode, &log)
		}
	}
}
