package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	testKey    = "kZ0pWQ3vYx8b5uFh2LrT9s"
	testSecret = "a secret of thirty-two bytes, yes"
)

// The output of check-config is a configuration file with the same effect, and
// shows no secret.
func TestCheckConfigPrintsAFile(t *testing.T) {
	var args []string
	for name, value := range samples(t) {
		args = append(args, "-"+name+"="+value)
	}
	for name, args := range map[string][]string{
		"defaults":       {"-dev"},
		"all set":        args,
		"one file only":  {"-api-key-file", writeFile(t, "api", "shop * "+testKey), "-data", t.TempDir()},
		"odd characters": append(args, "-token-issuer", "a\nb\t\u0085c: # 'd'", "-ready-file", " x ", "-token-audience", "true"),
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := runCheckConfig(args, environ("PUSHD_MAX_USERS=77"), &out); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), testKey) || strings.Contains(out.String(), testSecret) {
				t.Errorf("a secret is shown:\n%s", &out)
			}
			file := writeFile(t, "again.yaml", out.String())
			want, got := mustLoad(t, environ("PUSHD_MAX_USERS=77"), args...), mustLoad(t, environ(), "-config", file)
			want.Config, got.Config = "", ""
			if want.Node != "n-1" {
				want.Node, got.Node = "", "" // made up at each start
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v\nfrom\n%s", got, want, &out)
			}
		})
	}
}

func TestCheckConfigWarns(t *testing.T) {
	keys := writeFile(t, "api", "shop * "+testKey)
	if err := os.Chmod(keys, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := runCheckConfig([]string{"-api-key-file", keys, "-data", t.TempDir()}, environ(), &out); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"-token-key-file is not set", "0644", "# flag -api-key-file"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("no %q in\n%s", word, &out)
		}
	}
}

// Settings that do not work well together are warned of, by name; the defaults
// are not.
func TestCheckConfigWarnsOfCombinations(t *testing.T) {
	for _, row := range []struct {
		args []string
		want []string // nil: no warning
	}{
		{nil, nil},
		{[]string{"-max-data", "1MiB", "-max-backlog", "1MiB"}, nil},
		{[]string{"-max-data", "1MiB"}, []string{"-max-data (1MiB)", "-max-backlog (64KiB)", "4100"}},
		{[]string{"-max-data", "16MiB", "-max-backlog", "64MiB"}, []string{"-max-data is 16MiB", "16 slow clients", "256MiB"}},
		{[]string{"-compression-min", "1MiB"}, []string{"-compression-min (1MiB)", "-max-data 64KiB"}},
		{[]string{"-compression-min", "1MiB", "-compression", "off"}, nil},
		{[]string{"-upgrade-rate", "10", "-upgrade-rate-per-ip", "20"}, []string{"-upgrade-rate-per-ip (20)", "-upgrade-rate (10)"}},
		{[]string{"-upgrade-rate-per-ip", "20"}, nil},
		{[]string{"-max-connections", "10", "-max-connections-per-ip", "20"}, []string{"-max-connections-per-ip (20)", "-max-connections (10)"}},
	} {
		var out bytes.Buffer
		if err := runCheckConfig(append([]string{"-dev", "-data", t.TempDir()}, row.args...), environ(), &out); err != nil {
			t.Fatal(err)
		}
		var warned []string
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "# level=WARN") && !strings.Contains(line, "-dev") {
				warned = append(warned, line)
			}
		}
		if len(warned) != min(1, len(row.want)) {
			t.Errorf("%v: warned of %q", row.args, warned)
			continue
		}
		for _, word := range row.want {
			if !strings.Contains(warned[0], word) {
				t.Errorf("%v: no %q in %s", row.args, word, warned[0])
			}
		}
	}
}

func TestCheckConfigRefuses(t *testing.T) {
	file := writeFile(t, "file", "")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no credentials": {nil, []string{"-api-key-file", "-token-key-file", "-dev"}},
		"bad setting":    {[]string{"-max-users", "x"}, []string{"-max-users"}},
		"bad key file":   {[]string{"-api-key-file", writeFile(t, "api", "shop\n")}, []string{"api:1", "three columns"}},
		"bad token keys": {[]string{"-dev", "-token-key-file", writeFile(t, "s", "short")}, []string{"s:1", "5 bytes"}},
		"data is a file": {[]string{"-dev", "-data", file}, []string{"flag -data", file, "not a directory"}},
		"below a file":   {[]string{"-dev", "-data", file + "/a/b"}, []string{file, "not a directory"}},
		"not writable":   {[]string{"-dev", "-data", "/proc/pushd"}, []string{"/proc"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			wantError(t, runCheckConfig(c.args, environ(), &out), c.want...)
			if out.Len() > 0 {
				t.Errorf("printed besides:\n%s", &out)
			}
		})
	}
	if err := runCheckConfig([]string{"-h"}, environ(), io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestCheckConfigLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	for _, data := range []string{dir, filepath.Join(dir, "not", "yet")} {
		if err := runCheckConfig([]string{"-dev", "-data", data}, environ(), io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The flag -check-config does what the command does, and serves nothing.
func TestCheckConfigFlag(t *testing.T) {
	var flagged, command bytes.Buffer
	args := []string{"-dev", "-data", t.TempDir()}
	if err := run(t.Context(), append(args, "-check-config"), environ(), &flagged); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), append([]string{"check-config"}, args...), environ(), &command); err != nil {
		t.Fatal(err)
	}
	if flagged.String() != command.String() || !strings.Contains(command.String(), "listen: 127.0.0.1:8080") {
		t.Errorf("-check-config printed\n%s\ncheck-config\n%s", &flagged, &command)
	}
}
