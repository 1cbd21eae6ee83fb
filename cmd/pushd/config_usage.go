package main

import (
	"fmt"
	"io"
	"strings"
)

const usageHead = `pushd delivers messages from backend services to people: live over WebSocket
when they are connected, from their history when they were not.

  pushd [flags]               serve
  pushd check-config [flags]  check the configuration and print it

pushctl is the program that listens, sends, and reads from a running pushd. In
bash and zsh, pushd alone is a command of the shell: call it by its path.

Every flag can also be set in the environment (-max-data as PUSHD_MAX_DATA) and
in the -config file (max-data: 64KiB). Flags beat the environment, which beats
the file. To try it out, use -dev.
`

// usage prints what -h shows.
func usage(w io.Writer, settings []setting) {
	fmt.Fprint(w, usageHead)
	group := ""
	for _, s := range settings {
		if s.group != group {
			group = s.group
			fmt.Fprintf(w, "\n%s\n", group)
		}
		fmt.Fprintf(w, "  %s\n        %s%s\n", strings.TrimSpace("-"+s.name+" "+s.value.kind), s.usage, inBrackets(s))
	}
	fmt.Fprint(w, "\nOthers\n  -check-config\n        as the command check-config\n  -version\n        print the version\n  -h\n        print this\n")
}

// inBrackets is what follows a setting's usage: its limits and default.
func inBrackets(s setting) string {
	var parts []string
	if s.value.limits != "" {
		parts = append(parts, s.value.limits)
	}
	if s.def != "" && s.value.kind != kindBool {
		parts = append(parts, "default "+s.def)
	}
	if s.dev != "" {
		parts = append(parts, "with -dev "+s.dev)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}
