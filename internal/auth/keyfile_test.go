package auth_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pushd.example/internal/auth"
)

func TestScopes(t *testing.T) {
	for list, want := range map[string]auth.Scope{
		"send":                       auth.Send,
		"broadcast":                  auth.Broadcast,
		"read":                       auth.Read,
		"manage":                     auth.Manage,
		"read,send":                  auth.Send | auth.Read,
		"send,send":                  auth.Send,
		"send,broadcast,read,manage": auth.All,
		"*":                          auth.All,
	} {
		a := open(t, auth.Config{APIKeyFile: file(t, "shop "+list+" "+shopKey)})
		caller, err := a.API(shopKey)
		if err != nil || caller.Scopes != want {
			t.Errorf("%q: got %v, %v, want %v", list, caller.Scopes, err, want)
		}
	}
	if s := auth.All.String(); s != "send,broadcast,read,manage" {
		t.Errorf("All is %q", s)
	}
	if s := auth.Scope(0).String(); s != "" {
		t.Errorf("no scope is %q", s)
	}
	if !auth.All.Has(auth.Send|auth.Read) || auth.Send.Has(auth.Send|auth.Read) {
		t.Error("Has wants all of its argument")
	}
}

func TestBadAPIKeyFile(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		where string // behind the path
		want  string
	}{
		"empty":             {nil, ": ", "no key"},
		"only comments":     {[]string{"# nothing", "  "}, ": ", "no key"},
		"one column":        {[]string{shopKey}, ":1: ", "three columns"},
		"two columns":       {[]string{"shop " + shopKey}, ":1: ", "three columns"},
		"five columns":      {[]string{"", "shop send, read " + shopKey + " rate=1"}, ":2: ", "three columns"},
		"scopes in two":     {[]string{"", "shop send, read " + shopKey}, ":2: ", "scopes"},
		"wrong order":       {[]string{"shop " + shopKey + " send"}, ":1: ", "scopes"},
		"unknown scope":     {[]string{"shop send,write " + shopKey}, ":1: ", "send,broadcast,read,manage"},
		"empty scope":       {[]string{"shop send, " + shopKey}, ":1: ", "scopes"},
		"upper case scope":  {[]string{"shop Send " + shopKey}, ":1: ", "scopes"},
		"bad name":          {[]string{"shöp send " + shopKey}, ":1: ", "name"},
		"long name":         {[]string{strings.Repeat("s", 65) + " send " + shopKey}, ":1: ", "name"},
		"short key":         {[]string{"# keys", "shop send " + shopKey[:15]}, ":2: ", "15 characters"},
		"long key":          {[]string{"shop send " + strings.Repeat(shopKey, 24)}, ":1: ", "528 characters"},
		"key not ASCII":     {[]string{"shop send " + shopKey + "é"}, ":1: ", "visible ASCII"},
		"key with control":  {[]string{"shop send " + shopKey + "\x00"}, ":1: ", "visible ASCII"},
		"name twice":        {[]string{"shop send " + shopKey, "shop send " + newsKey}, ":2: ", `"shop"`},
		"key twice":         {[]string{"shop send " + shopKey, "x read " + newsKey, "news send " + shopKey}, ":3: ", `"shop"`},
		"larger than 1 MiB": {[]string{strings.Repeat("#\n", 1<<19+1)}, ": ", "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, c.lines...)
			_, err := auth.New(auth.Config{APIKeyFile: path})
			wantLineError(t, err, path+c.where, c.want)
			for _, key := range []string{shopKey[:15], newsKey} {
				if err != nil && strings.Contains(err.Error(), key) {
					t.Errorf("%q holds a key", err)
				}
			}
		})
	}
}

func wantLineError(t *testing.T, err error, where, what string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), what) {
		t.Fatalf("got %v, want an error at %q about %q", err, where, what)
	}
}

func TestKeyFilesAsEditorsLeaveThem(t *testing.T) {
	a := open(t, auth.Config{
		APIKeyFile:   file(t, "\ufeff# from Windows\r", "  shop   send\t"+shopKey+"  \r", ""),
		TokenKeyFile: file(t, "\ufeff"+secret+"\r", ""),
	})
	if _, err := a.API(shopKey); err != nil {
		t.Errorf("API key: %v", err)
	}
	if _, err := a.Client(sign(t, secret, good("42")), ""); err != nil {
		t.Errorf("client token: %v", err)
	}
}

func TestSecretForms(t *testing.T) {
	raw := "\xfb\xef\xbe bytes that need + and / in base64!"
	for name, line := range map[string]string{
		"plain":            secret,
		"with spaces":      " \t" + secret + "\t ",
		"base64":           "base64:" + base64.StdEncoding.EncodeToString([]byte(raw)),
		"base64, no pad":   "base64:" + base64.RawStdEncoding.EncodeToString([]byte(raw)),
		"base64url":        "base64: " + base64.URLEncoding.EncodeToString([]byte(raw)),
		"base64url no pad": "base64:" + base64.RawURLEncoding.EncodeToString([]byte(raw)),
	} {
		t.Run(name, func(t *testing.T) {
			key := raw
			if !strings.HasPrefix(line, "base64:") {
				key = secret
			}
			a := open(t, auth.Config{TokenKeyFile: file(t, "# signing", line)})
			if _, err := a.Client(sign(t, key, good("42")), ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadTokenKeyFile(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		where string
		want  string
	}{
		"empty":        {nil, ": ", "no secret"},
		"comments":     {[]string{"# x"}, ": ", "no secret"},
		"short":        {[]string{secret, secret[:31]}, ":2: ", "31 bytes"},
		"long":         {[]string{strings.Repeat("s", 1025)}, ":1: ", "1025 bytes"},
		"not base64":   {[]string{"base64:" + secret}, ":1: ", "base64"},
		"short base64": {[]string{"base64:" + base64.StdEncoding.EncodeToString([]byte(secret[:31]))}, ":1: ", "31 bytes"},
		"twice":        {[]string{secret, "base64:" + base64.StdEncoding.EncodeToString([]byte(secret))}, ":2: ", "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, c.lines...)
			_, err := auth.New(auth.Config{TokenKeyFile: path})
			wantLineError(t, err, path+c.where, c.want)
			if strings.Contains(err.Error(), secret[:31]) {
				t.Errorf("%q holds the secret", err)
			}
		})
	}
}

func TestDirectoryAsKeyFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := auth.New(auth.Config{APIKeyFile: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want an error naming %s", err, dir)
	}
}

// Reading any key file ends in keys that work or in an error that says where, and
// never shows a long word of the file.
func FuzzKeyFiles(f *testing.F) {
	f.Add([]byte("# c\nshop send " + shopKey + "\nnews * " + newsKey))
	f.Add([]byte("shop " + shopKey + " send"))
	f.Add([]byte("shop send " + shopKey + " rate=1e3,burst=7"))
	f.Add([]byte(secret + "\nbase64:" + base64.StdEncoding.EncodeToString([]byte(older))))
	f.Add([]byte("\xef\xbb\xbf\r\n\x00"))
	path := filepath.Join(f.TempDir(), "keys")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := auth.New(auth.Config{APIKeyFile: path})
		hidesWords(t, err, path, text)
		if err == nil {
			keyOfFirstLineWorks(t, a, text)
		}
		_, err = auth.New(auth.Config{TokenKeyFile: path})
		hidesWords(t, err, path, text)
	})
}

func keyOfFirstLineWorks(t *testing.T, a *auth.Auth, text []byte) {
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		columns := strings.Fields(line)
		if len(columns) < 3 || strings.HasPrefix(columns[0], "#") {
			continue
		}
		if caller, err := a.API(columns[2]); err != nil || caller.Name != columns[0] || caller.Scopes == 0 {
			t.Fatalf("key of %q: %+v, %v", columns[0], caller, err)
		}
		return
	}
	t.Fatal("no error, but no key either")
}

func hidesWords(t *testing.T, err error, path string, text []byte) {
	if err == nil {
		return
	}
	if !strings.Contains(err.Error(), path) || errors.Is(err, auth.ErrNoKeys) {
		t.Fatalf("%q does not name the file", err)
	}
	said := strings.ReplaceAll(err.Error(), path, "")
	for line := range strings.Lines(string(text)) {
		for i, word := range strings.Fields(line) {
			// The first column is the name, which errors may show.
			if i > 0 && len(word) >= 16 && strings.Contains(said, word) {
				t.Fatalf("%q shows %q", err, word)
			}
		}
	}
}
