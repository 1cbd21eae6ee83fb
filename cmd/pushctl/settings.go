package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// settings say where pushd is and who the caller is. They are the same for all
// commands, and each comes from a flag, else from the environment (-key-file as
// PUSHCTL_KEY_FILE), else from the configuration file.
type settings struct {
	flags  *flag.FlagSet
	getenv func(string) string

	grpc      string
	url       string
	tls       bool
	keyFile   string
	tokenFile string
	timeout   time.Duration
	json      bool
	config    string
}

var settingNames = []string{"grpc", "url", "tls", "key-file", "token-file", "timeout", "json", "config"}

func isSetting(name string) bool { return slices.Contains(settingNames, name) }

// newSettings declares the settings as flags of fs.
func newSettings(fs *flag.FlagSet) *settings {
	s := &settings{flags: fs}
	fs.StringVar(&s.grpc, "grpc", "127.0.0.1:9090", "`HOST:PORT` where pushd serves gRPC (default 127.0.0.1:9090)")
	fs.StringVar(&s.url, "url", "ws://127.0.0.1:8080/push", "`URL` where pushd serves clients; used by listen (default ws://127.0.0.1:8080/push)")
	fs.BoolVar(&s.tls, "tls", false, "gRPC with TLS; certificates are checked against the system's (listen: a wss:// URL)")
	fs.StringVar(&s.keyFile, "key-file", "", "`FILE` that holds the API key and nothing else; $PUSHCTL_KEY is the key itself")
	fs.StringVar(&s.tokenFile, "token-file", "", "`FILE` that holds the client token, read again for each connection; $PUSHCTL_TOKEN is the token itself")
	fs.DurationVar(&s.timeout, "timeout", 10*time.Second, "`TIME` that pushd has for an answer (default 10s)")
	fs.BoolVar(&s.json, "json", false, "print JSON, one object a line")
	fs.StringVar(&s.config, "config", "", "`FILE` with settings, YAML (default "+configHelp+")")
	return s
}

const configHelp = "pushctl/config.yaml in the user's configuration directory, such as ~/.config"

func settingsHelp() string {
	var b strings.Builder
	b.WriteString("Settings of all commands. Each is a flag, else a variable of the environment\n(-key-file is PUSHCTL_KEY_FILE), else a line of the configuration file\n(key-file: /etc/pushctl.key):\n")
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	newSettings(fs)
	for _, name := range settingNames {
		b.WriteString(flagHelp(fs.Lookup(name)))
	}
	return b.String()
}

func envName(name string) string {
	return "PUSHCTL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// load fills what no flag has set.
func (s *settings) load(getenv func(string) string) error {
	s.getenv = getenv
	if s.config == "" {
		s.config = getenv(envName("config"))
	}
	file, err := s.readConfig()
	if err != nil {
		return err
	}
	for _, name := range settingNames {
		if s.given(name) || name == "config" {
			continue
		}
		text, source := getenv(envName(name)), envName(name)
		if text == "" {
			text, source = file[name], s.config+": "+name
		}
		if text == "" {
			continue
		}
		if err := s.flags.Lookup(name).Value.Set(text); err != nil {
			want := "true or false"
			if name == "timeout" {
				want = "a time such as 10s"
			}
			return fmt.Errorf("%s: want %s, got %q", source, want, text)
		}
	}
	if s.timeout <= 0 {
		return fmt.Errorf("timeout: want more than 0s, got %v", s.timeout)
	}
	return nil
}

// given reports whether a flag of the command line set name.
func (s *settings) given(name string) (given bool) {
	s.flags.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

// readConfig reads the configuration file. Only one that was asked for must
// exist.
func (s *settings) readConfig() (map[string]string, error) {
	asked := s.config != ""
	if !asked {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, nil // no home directory, so no file in it
		}
		s.config = filepath.Join(dir, "pushctl", "config.yaml")
	}
	text, err := os.ReadFile(s.config)
	if !asked && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var values map[string]yaml.Node
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("%s: want lines of the form name: value: %w", s.config, err)
	}
	file := map[string]string{}
	for name, v := range values {
		if !isSetting(name) || name == "config" {
			return nil, fmt.Errorf("%s:%d: unknown setting %q: want one of %s", s.config, v.Line, name, strings.Join(settingNames, ", "))
		}
		file[name] = v.Value
	}
	return file, nil
}

// apiKey returns the API key, or "" if there is none.
func (s *settings) apiKey() (string, error) { return s.secret("key-file", "PUSHCTL_KEY", s.keyFile) }

// clientToken returns the client token, or "" if there is none.
func (s *settings) clientToken() (string, error) {
	return s.secret("token-file", "PUSHCTL_TOKEN", s.tokenFile)
}

// secret returns what the file of the setting called name holds, or the variable
// env, which a flag beats. No flag holds a secret itself: every user of the
// machine can read command lines.
func (s *settings) secret(name, env, path string) (string, error) {
	if text := s.getenv(env); text != "" && !s.given(name) {
		return checkSecret(env, text)
	}
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", usagef("-%s: %w", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", usagef("-%s: %w", name, err)
	}
	return checkSecret("-"+name+" "+path, string(text))
}

// checkSecret finds files that are something else, such as pushd's own file of
// API keys, before a server refuses their content without saying why.
func checkSecret(source, text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", usagef("%s: it is empty", source)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usagef("%s: want the secret alone, got more than one word; in pushd's -api-key-file it is the third column", source)
	}
	return text, nil
}
