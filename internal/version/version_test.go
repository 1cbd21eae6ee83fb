package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	build := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	changed := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for name, c := range map[string]struct {
		stamp string
		info  *debug.BuildInfo
		want  string
	}{
		"stamped":              {"v1.2.0-3-gabc", build("v1.1.0"), "v1.2.0-3-gabc"},
		"installed":            {"", build("v1.1.0"), "v1.1.0"},
		"a commit":             {"", build("(devel)", commit), "0123456789ab"},
		"a commit and changes": {"", build("", commit, changed), "0123456789ab+dirty"},
		"nothing recorded":     {"", build("(devel)"), "unversioned build (make build records the commit)"},
	} {
		if got := choose(c.stamp, c.info); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestStringEndsWithTheGoRelease(t *testing.T) {
	if got := String(); !strings.Contains(got, " go1.") {
		t.Errorf("got %q, want a Go release at the end", got)
	}
}
