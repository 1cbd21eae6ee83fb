// Package version tells which build of pushd's programs this is.
package version

import "runtime/debug"

// stamp is set by the Makefile: -ldflags "-X …/internal/version.stamp=…". The Go
// tool itself records no commit if GOFLAGS has -buildvcs=false.
var stamp string

// String returns the version and the Go release of this build, such as
// "v1.2.0 go1.26.0". It is never empty.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: "unknown Go release"}
	}
	return choose(stamp, info) + " " + info.GoVersion
}

// choose prefers what the Makefile stamped, then the version of the module that
// `go install …@VERSION` and `go build` in a clone record, then the commit.
func choose(stamp string, info *debug.BuildInfo) string {
	if stamp != "" {
		return stamp
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if revision == "" {
		return "unversioned build (make build records the commit)"
	}
	return revision[:min(12, len(revision))] + dirty
}
