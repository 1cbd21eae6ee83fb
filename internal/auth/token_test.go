package auth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"pushd.example/internal/auth"
)

// with returns a good token's claims with some replaced; nil removes one.
func with(changes jwt.MapClaims) jwt.MapClaims {
	claims := good("42")
	for name, value := range changes {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func TestTokenClaims(t *testing.T) {
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, c := range map[string]struct {
		claims jwt.MapClaims
		err    error
		reason string
	}{
		"good":                        {with(nil), nil, ""},
		"longest user":                {with(jwt.MapClaims{"sub": strings.Repeat("u", 128)}), nil, ""},
		"expired within leeway":       {with(jwt.MapClaims{"exp": at(-4 * time.Second)}), nil, ""},
		"nbf within leeway":           {with(jwt.MapClaims{"nbf": at(5 * time.Second)}), nil, ""},
		"nbf past":                    {with(jwt.MapClaims{"nbf": at(-time.Hour)}), nil, ""},
		"claims of others":            {with(jwt.MapClaims{"iss": "x", "aud": "y", "role": []int{1}}), nil, ""},
		"fraction of a second":        {with(jwt.MapClaims{"exp": float64(at(time.Minute)) + .5}), nil, ""},
		"expired":                     {with(jwt.MapClaims{"exp": at(-5 * time.Second)}), auth.ErrExpired, "new one"},
		"expired and not valid":       {with(jwt.MapClaims{"exp": at(-time.Hour), "nbf": at(time.Hour)}), auth.ErrBadCredential, "nbf"},
		"expired, no user":            {with(jwt.MapClaims{"exp": at(-time.Hour), "sub": nil}), auth.ErrExpired, ""},
		"nbf ahead":                   {with(jwt.MapClaims{"nbf": at(6 * time.Second)}), auth.ErrBadCredential, "nbf"},
		"no exp":                      {with(jwt.MapClaims{"exp": nil}), auth.ErrBadCredential, "exp"},
		"exp in milliseconds":         {with(jwt.MapClaims{"exp": now.UnixMilli()}), auth.ErrBadCredential, "seconds"},
		"exp beyond all numbers":      {with(jwt.MapClaims{"exp": 1e300}), nil, "any refusal"},
		"exp negative":                {with(jwt.MapClaims{"exp": -1}), auth.ErrExpired, ""},
		"exp a word":                  {with(jwt.MapClaims{"exp": "tomorrow"}), auth.ErrBadCredential, "not a token"},
		"no sub":                      {with(jwt.MapClaims{"sub": nil}), auth.ErrBadCredential, "no user"},
		"empty sub":                   {with(jwt.MapClaims{"sub": ""}), auth.ErrBadCredential, "no user"},
		"sub too long":                {with(jwt.MapClaims{"sub": strings.Repeat("u", 129)}), auth.ErrBadCredential, "129 bytes"},
		"sub a number":                {with(jwt.MapClaims{"sub": 42}), auth.ErrBadCredential, "claim sub has the wrong type"},
		"sub with a broken character": {with(jwt.MapClaims{"sub": "a\xff"}), auth.ErrBadCredential, "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, auth.Config{TokenKeyFile: file(t, secret)})
			caller, err := a.Client(sign(t, secret, c.claims), "")
			if c.reason == "any refusal" {
				if err == nil {
					t.Fatalf("accepted, as %+v", caller)
				}
				return
			}
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil && !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%q does not say %q", err, c.reason)
			}
			if err == nil && (caller.User != c.claims["sub"] || !caller.Expires.After(now)) {
				t.Errorf("got %+v", caller)
			}
		})
	}
}

func TestTokenIssuerAndAudience(t *testing.T) {
	for name, c := range map[string]struct {
		claims jwt.MapClaims
		reason string
	}{
		"both":             {jwt.MapClaims{"iss": "shop", "aud": "pushd"}, ""},
		"one of audiences": {jwt.MapClaims{"iss": "shop", "aud": []string{"other", "pushd"}}, ""},
		"other issuer":     {jwt.MapClaims{"iss": "shop2", "aud": "pushd"}, "issuer"},
		"no issuer":        {jwt.MapClaims{"aud": "pushd"}, "lacks a claim"},
		"other audience":   {jwt.MapClaims{"iss": "shop", "aud": "other"}, "audience"},
		"no audience":      {jwt.MapClaims{"iss": "shop"}, "lacks a claim"},
		"audience number":  {jwt.MapClaims{"iss": "shop", "aud": 1}, "not a token"},
		"wrong and expired": {jwt.MapClaims{"iss": "x", "aud": "pushd", "exp": now.Add(-time.Hour).Unix()},
			"issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, auth.Config{TokenKeyFile: file(t, secret), Issuer: "shop", Audience: "pushd"})
			_, err := a.Client(sign(t, secret, with(c.claims)), "")
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, auth.ErrBadCredential) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got %v, want ErrBadCredential about %q", err, c.reason)
			}
		})
	}
}

// Nothing but HS256 with one of our secrets is a signature.
func TestTokenSignatures(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claims := good("42")
	hs := []byte(secret)
	signed := sign(t, secret, claims)
	head, rest, _ := strings.Cut(signed, ".")
	body, _, _ := strings.Cut(rest, ".")
	other := sign(t, secret, good("43"))

	for name, c := range map[string]struct{ token, reason string }{
		"none":                {signWith(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims), "alg"},
		"HS384":               {signWith(t, jwt.SigningMethodHS384, hs, nil, claims), "alg"},
		"HS512":               {signWith(t, jwt.SigningMethodHS512, hs, nil, claims), "alg"},
		"RS256":               {signWith(t, jwt.SigningMethodRS256, private, nil, claims), "alg"},
		"says RS256":          {signWith(t, jwt.SigningMethodHS256, hs, map[string]any{"alg": "RS256"}, claims), "alg"},
		"says hs256":          {signWith(t, jwt.SigningMethodHS256, hs, map[string]any{"alg": "hs256"}, claims), "alg"},
		"alg a number":        {signWith(t, jwt.SigningMethodHS256, hs, map[string]any{"alg": 256}, claims), "alg"},
		"critical header":     {signWith(t, jwt.SigningMethodHS256, hs, map[string]any{"crit": []string{"exp"}}, claims), "crit"},
		"another secret":      {sign(t, older, claims), "signature"},
		"no signature":        {head + "." + body + ".", "signature"},
		"cut signature":       {signed[:len(signed)-3], "signature"},
		"signature of others": {head + "." + body + other[strings.LastIndexByte(other, '.'):], "signature"},
		"four parts":          {signed + ".x", "not a token"},
		"two parts":           {head + "." + body, "not a token"},
		"not base64":          {"!." + body + ".x", "not a token"},
		"empty parts":         {"..", "not a token"},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, auth.Config{TokenKeyFile: file(t, secret)})
			caller, err := a.Client(c.token, "")
			if !errors.Is(err, auth.ErrBadCredential) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got %+v, %v, want ErrBadCredential about %q", caller, err, c.reason)
			}
		})
	}
}

func TestIssue(t *testing.T) {
	a := open(t, auth.Config{TokenKeyFile: file(t, secret, older), Issuer: "shop", Audience: "pushd"})
	token, err := a.Issue("Zoë", now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Client(token, "")
	check(t, got, err, auth.Caller{User: "Zoë", Expires: now.Add(time.Minute + auth.Leeway)}, nil)

	first := open(t, auth.Config{TokenKeyFile: file(t, secret)})
	if _, err := first.Client(token, ""); err != nil {
		t.Errorf("not signed with the first secret: %v", err)
	}
	for _, user := range []string{"", strings.Repeat("u", 129), "\xff"} {
		if _, err := a.Issue(user, now); err == nil {
			t.Errorf("issued a token for %q", user)
		}
	}
	without := open(t, auth.Config{APIKeyFile: keyFile(t)})
	if _, err := without.Issue("42", now); err == nil || !strings.Contains(err.Error(), "-token-key-file") {
		t.Errorf("got %v, want to be told of -token-key-file", err)
	}
}

// The answer to any token is one of the sentinels, or a user who holds a token
// that we signed.
func FuzzVerify(f *testing.F) {
	signed := sign(f, secret, good("42"))
	f.Add(signed)
	f.Add(signed[:40])
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9.")
	f.Add("bnVsbA.bnVsbA.bnVsbA")
	f.Add("..")
	a := open(f, auth.Config{TokenKeyFile: file(f, secret)})
	f.Fuzz(func(t *testing.T, token string) {
		caller, err := a.Client(token, "")
		if err == nil && (caller.User == "" || len(caller.User) > auth.MaxUser || token == "") {
			t.Fatalf("accepted %q as %+v", token, caller)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, auth.ErrBadCredential) && !errors.Is(err, auth.ErrNoCredential) && !errors.Is(err, auth.ErrExpired) {
			t.Fatalf("%v is none of the sentinels", err)
		}
		if len(token) > 16 && strings.Contains(err.Error(), token) {
			t.Fatalf("%q shows the token", err)
		}
	})
}

// The signature is not what protects this one: whatever claims a backend
// signs, a caller has a usable user and an expiry that lies ahead.
func FuzzSignedClaims(f *testing.F) {
	f.Add([]byte(`{"sub":"42","exp":1772370000}`))
	f.Add([]byte(`{"sub":"42","exp":1e300}`))
	f.Add([]byte(`{"sub":"\ud800","exp":1772370000,"aud":[1]}`))
	f.Add([]byte(`null`))
	a := open(f, auth.Config{TokenKeyFile: file(f, secret)})
	f.Fuzz(func(t *testing.T, claims []byte) {
		encode := (*jwt.Token)(nil).EncodeSegment
		text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(claims)
		signature, err := jwt.SigningMethodHS256.Sign(text, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		caller, err := a.Client(text+"."+encode(signature), "")
		if err == nil && (caller.User == "" || len(caller.User) > auth.MaxUser || !caller.Expires.After(now)) {
			t.Fatalf("%q: accepted as %+v", claims, caller)
		}
	})
}

func BenchmarkAPIKey(b *testing.B) {
	a := open(b, auth.Config{APIKeyFile: keyFile(b), TokenKeyFile: file(b, secret)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.API(shopKey); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClientToken(b *testing.B) {
	for name, keys := range map[string][]string{"first secret": {secret, older}, "second secret": {older, secret}} {
		b.Run(name, func(b *testing.B) {
			a := open(b, auth.Config{TokenKeyFile: file(b, keys...), Issuer: "shop", Audience: "pushd"})
			token := sign(b, secret, with(jwt.MapClaims{"iss": "shop", "aud": "pushd"}))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Client(token, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestIssueErrors(t *testing.T) {
	a := open(t, auth.Config{TokenKeyFile: file(t, secret)})
	if _, err := a.Issue("\ufffd", now); !errors.Is(err, auth.ErrUser) {
		t.Errorf("got %v, want ErrUser", err)
	}
	a = open(t, auth.Config{Open: true})
	if _, err := a.Issue("42", now); !errors.Is(err, auth.ErrNoTokenKey) {
		t.Errorf("got %v, want ErrNoTokenKey", err)
	}
}
