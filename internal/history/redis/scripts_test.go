package redis

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	luaString = regexp.MustCompile(`'[^']*'`)
	luaNumber = regexp.MustCompile(`\b\d+(\.\d+)?\b`)
)

// luaCode returns a Lua file without comments and strings.
func luaCode(file string) string {
	var code strings.Builder
	for line := range strings.Lines(readLua(file)) {
		before, _, _ := strings.Cut(luaString.ReplaceAllString(line, "''"), "--")
		code.WriteString(before + "\n")
	}
	return code.String()
}

func luaSources(t *testing.T) (files []string) {
	t.Helper()
	for _, pattern := range []string{"lua/*.lua", "lua/lib/*.lua"} {
		found, err := fs.Glob(luaFiles, pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	return files
}

// TestLuaHasNoNumbersOfItsOwn: Lua has every limit, flag, code and size from Go. It
// writes only the numbers of counting and halving, and 1000 for units of time.
func TestLuaHasNoNumbersOfItsOwn(t *testing.T) {
	for _, file := range luaSources(t) {
		for line := range strings.Lines(luaCode(file)) {
			for _, number := range luaNumber.FindAllString(line, -1) {
				if !slices.Contains([]string{"0", "1", "2", "1000"}, number) {
					t.Errorf("%s has the number %s in %q; make it a constant in lua.go", file, number, strings.TrimSpace(line))
				}
			}
		}
	}
}

// TestConstantsAreUsed: no constant stands in lua.go for nothing.
func TestConstantsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, file := range luaSources(t) {
		for _, name := range wordOrString.FindAllString(luaCode(file), -1) {
			used[name] = true
		}
	}
	for name := range constants {
		if !used[name] {
			t.Errorf("no script uses the constant %s", name)
		}
	}
}

// TestScriptsNameTheirParameters: a script uses every parameter that its Go type
// declares, by that name only.
func TestScriptsNameTheirParameters(t *testing.T) {
	for _, s := range scripts {
		uses := map[string]int{}
		for _, name := range regexp.MustCompile(`KEYS\[\d+\]|\w+`).FindAllString(s.text, -1) {
			uses[name]++
		}
		for _, name := range s.declared {
			if key := s.keyOf[name]; key != "" && uses[key] < 1 || key == "" && uses[name] < 2 {
				t.Errorf("%s.lua does not use the parameter %s", s.name, name)
			}
			if definitions[name] != "" || constants[name] != 0 {
				t.Errorf("%s.lua has a parameter %s, which is also defined in lua/lib or lua.go", s.name, name)
			}
		}
	}
	for _, s := range scripts {
		for _, name := range wordOrString.FindAllString(luaString.ReplaceAllString(s.text, "''"), -1) {
			if name == strings.ToUpper(name) && len(name) > 1 && name[0] != '\'' && !slices.Contains(s.declared, name) && name != "KEYS" && name != "ARGV" {
				t.Errorf("%s.lua uses %s, which is neither a parameter nor defined", s.name, name)
			}
		}
	}
	for _, file := range luaSources(t) {
		if code := luaCode(file); regexp.MustCompile(`\b(KEYS|ARGV)\b`).MatchString(code) {
			t.Errorf("%s reads KEYS or ARGV by position; declare a parameter in Go", file)
		}
	}
}
