package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"pushd.example/internal/auth"
)

// runCheckConfig is `pushd check-config`, which is the same as -check-config.
func runCheckConfig(args []string, getenv func(string) string, stdout io.Writer) error {
	l := newLoader()
	if err := l.load(args, getenv, stdout); err != nil {
		return err
	}
	return l.check(stdout)
}

// check prints the effective configuration as a file that -config reads, or
// returns what is wrong with it. It reads the credential files and tries to
// write to the data directory. It binds no address and leaves nothing behind.
func (l *loader) check(stdout io.Writer) error {
	var warnings bytes.Buffer
	log := slog.New(slog.NewTextHandler(&warnings, withoutTime))
	if _, err := auth.New(l.cfg.auth(log)); err != nil {
		return err
	}
	for _, text := range l.cfg.warnings() {
		log.Warn(text)
	}
	if _, err := l.cfg.redisWithPassword(); err != nil {
		return err
	}
	if l.cfg.Redis == "" {
		if err := checkWritable(l.cfg.Data); err != nil {
			return fmt.Errorf("%s: data directory: %w", l.source["data"], err)
		}
	}
	return l.print(stdout, warnings.String())
}

var withoutTime = &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}}

// print writes every setting with where it came from, warnings first.
func (l *loader) print(w io.Writer, warnings string) error {
	fmt.Fprintln(w, "# The effective configuration of pushd, to be used with -config.")
	for line := range strings.Lines(warnings) {
		fmt.Fprint(w, "# ", line)
	}
	group := ""
	for _, s := range l.settings {
		if s.name == configSetting {
			continue
		}
		if s.group != group {
			group = s.group
			fmt.Fprintf(w, "\n# %s\n", group)
		}
		scalar, err := yamlScalar(s.value)
		if err != nil {
			return fmt.Errorf("printing %s: %w", s.name, err)
		}
		if _, err := fmt.Fprintf(w, "%-40s # %s\n", s.name+": "+scalar, l.source[s.name]); err != nil {
			return fmt.Errorf("printing the configuration: %w", err)
		}
	}
	return nil
}

func yamlScalar(v value) (string, error) {
	if v.kind == kindBool || v.kind == kindNumber {
		return v.get(), nil
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v.get()}
	if strings.ContainsFunc(n.Value, unicode.IsControl) {
		n.Style = yaml.DoubleQuotedStyle // one line, whatever is in it
	}
	b, err := yaml.Marshal(&n)
	return strings.TrimSuffix(string(b), "\n"), err
}

// checkWritable returns why files cannot be made in dir, or, if it is missing,
// dir in the nearest directory above it. Trying is the only check that holds
// for every user and file system.
func checkWritable(dir string) error {
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	probe, err := os.MkdirTemp(dir, ".pushd-check-")
	if err != nil {
		return err
	}
	return os.Remove(probe)
}
