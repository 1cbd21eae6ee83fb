package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImportsPointOneWay holds the arrows of the architecture:
// cmd -> rpc -> conn -> history, with auth beside.
func TestImportsPointOneWay(t *testing.T) {
	below := map[string][]string{ // a room, and the rooms it may look into
		"internal/history":  {},
		"internal/auth":     {},
		"internal/conn":     {"internal/history", "internal/auth"},
		"internal/rpc":      {"internal/conn", "internal/history", "internal/auth", "api"},
		"internal/nodes":    {"internal/conn", "internal/history", "internal/auth", "internal/redistest"},
		"internal/netlimit": {},
		"internal/testkit":  {},
		"api":               {},
		"internal/version":  {},
		// A client of the API, which knows nothing of the server.
		"cmd/pushctl": {"api", "internal/version"},
	}
	for room, allowed := range below {
		out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Deps}} {{.}}{{end}}`, "pushd.example/"+room+"/...").Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for line := range strings.Lines(string(out)) {
			pkg, deps, _ := strings.Cut(strings.TrimSpace(line), " ")
			for dep := range strings.FieldsSeq(deps) {
				if strings.HasPrefix(dep, "pushd.example/") && !inRooms(dep, append(allowed, room)) {
					t.Errorf("%s depends on %s; %s may depend on %v only", pkg, dep, room, allowed)
				}
			}
		}
	}
}

func inRooms(pkg string, rooms []string) bool {
	for _, room := range rooms {
		if pkg == "pushd.example/"+room || strings.HasPrefix(pkg, "pushd.example/"+room+"/") {
			return true
		}
	}
	return false
}
