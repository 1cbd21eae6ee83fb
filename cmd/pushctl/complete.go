package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

const completionMore = `For bash: source <(pushctl completion bash). For zsh the same with zsh, after
compinit. For fish: pushctl completion fish | source.`

// completeCommand is what the scripts call, with the words of the line so far,
// of which the last is to be completed.
const completeCommand = "__complete"

// The scripts call the program by the word that was typed, such as
// build/pushctl, so that what they offer is what that program has.
var completionScripts = map[string]string{
	"bash": `_pushctl() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _pushctl pushctl
`,
	"zsh": `#compdef pushctl
_pushctl() {
    local -a candidates
    candidates=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    candidates=("${(@)candidates:#}")
    if (( $#candidates )); then compadd -a candidates; else _files; fi
}
compdef _pushctl pushctl
`,
	"fish": `function __pushctl_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete $words[2..-1] 2>/dev/null
end
complete -c pushctl -a '(__pushctl_complete)'
`,
}

var shells = []string{"bash", "zsh", "fish"}

func completion(c *call) func(context.Context) error {
	return func(context.Context) error {
		if len(c.args) != 1 || completionScripts[c.args[0]] == "" {
			return usagef("want one of %s, got %q", strings.Join(shells, ", "), c.args)
		}
		_, err := io.WriteString(c.out, completionScripts[c.args[0]])
		return err
	}
}

// values are what flags take that have a fixed set of words.
var values = map[string][]string{
	"send -durability": {"memory", "replicated"},
	"history -kind":    {"unicast", "multicast", "broadcast"},
	"watch -kind":      {"connected", "disconnected", "acked", "delivered", "unacked"},
}

// complete prints what the last of words may become, one candidate a line. It
// prints none where a name or a file belongs: there the shell offers files.
func complete(w io.Writer, words []string) error {
	if len(words) == 0 {
		return nil
	}
	last := words[len(words)-1]
	for _, candidate := range candidates(words[:len(words)-1], last) {
		if strings.HasPrefix(candidate, last) {
			if _, err := fmt.Fprintln(w, candidate); err != nil {
				return err
			}
		}
	}
	return nil
}

func candidates(before []string, last string) []string {
	switch {
	case len(before) == 0 && strings.HasPrefix(last, "-"):
		return []string{"-version", "-h"}
	case len(before) == 0:
		return append(firstWords(), "help")
	case before[0] == "help":
		return candidates(before[1:], "")
	}
	if sub := subcommands(before[0]); len(sub) > 0 && len(before) == 1 {
		return sub
	}
	cmd, rest, err := find(before)
	if err != nil {
		return nil
	}
	c, _ := cmd.newCall(terminal{})
	if len(rest) > 0 {
		if name, isFlag := strings.CutPrefix(rest[len(rest)-1], "-"); isFlag {
			name = strings.TrimPrefix(name, "-")
			if f := c.flags.Lookup(name); f != nil && !isBool(f) {
				return values[cmd.name+" -"+name]
			}
		}
	}
	if cmd.name == "completion" {
		return shells
	}
	if !strings.HasPrefix(last, "-") {
		return nil
	}
	var names []string
	c.flags.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	slices.Sort(names)
	return names
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
