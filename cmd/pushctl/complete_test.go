package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain is pushctl itself when a completion script calls the test's binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == completeCommand {
		main()
	}
	os.Exit(m.Run())
}

var lines = map[string][]string{
	"":                       append(firstWords(), "help"),
	"l":                      {"listen"},
	"groups ":                {"list", "add", "remove", "delete", "of"},
	"groups re":              {"remove"},
	"groups add -gr":         {"-group", "-grpc"},
	"watch -kind ":           {"connected", "disconnected", "acked", "delivered", "unacked"},
	"watch -kind acked -kin": {"-kind"},
	"history --kind b":       {"broadcast"},
	"send -js":               {"-json"},
	"send -json -ev":         {"-everyone"},
	"completion z":           {"zsh"},
	"help gr":                {"groups"},
	"nonsense -":             nil,
	"history -user ":         nil, // a name: the shell may offer files
}

func TestComplete(t *testing.T) {
	for line, want := range lines {
		var out bytes.Buffer
		if err := complete(&out, strings.Split(line, " ")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Fields(out.String()); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// TestCompletionInShells asks the shells themselves, as far as they are here,
// what their scripts offer. bash is everywhere.
func TestCompletionInShells(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "pushctl")); err != nil {
		t.Fatal(err)
	}
	for shell, ask := range map[string]string{
		"bash": `COMP_WORDS=(%[2]s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); source %[1]s; _pushctl; printf '%%s\n' "${COMPREPLY[@]}"`,
		"zsh":  `compdef() { :; }; compadd() { print -l -- "${(@P)2}"; }; _files() { :; }; source %[1]s; words=(%[2]s); CURRENT=$#words; _pushctl`,
		"fish": `source %[1]s; complete -C %[3]s | string match -v -- '*/*' | cut -f1`,
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil && shell != "bash" {
				t.Skip(shell, " is not installed")
			}
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, []byte(completionScripts[shell]), 0o644); err != nil {
				t.Fatal(err)
			}
			for line, want := range lines {
				if want == nil {
					continue // the shell's own files
				}
				words := []string{"pushctl"}
				for word := range strings.SplitSeq(line, " ") {
					words = append(words, "'"+word+"'")
				}
				cmd := exec.Command(shell, "-c", fmt.Sprintf(ask, script, strings.Join(words, " "), "'pushctl "+line+"'"))
				cmd.Dir = t.TempDir()
				cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+cmd.Dir)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%q: %v\n%s", line, err, out)
				}
				got := strings.Fields(string(out))
				if shell == "fish" { // it sorts
					slices.Sort(got)
					want = slices.Sorted(slices.Values(want))
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q: got %q, want %q", line, got, want)
				}
			}
		})
	}
}
