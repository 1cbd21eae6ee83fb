package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

// command is one thing that pushctl does.
type command struct {
	// name is one word or two: "groups add".
	name string
	// args is what follows the flags, for people; "" takes no arguments.
	args  string
	about string
	// more explains what a reader of -h may need beyond the flags.
	more string
	// setup declares the command's flags on c and returns what it does, which is
	// called once flags, settings and arguments are in c.
	setup func(c *call) func(ctx context.Context) error
}

// call is one run of a command.
type call struct {
	terminal
	*settings
	flags *flag.FlagSet
	args  []string
}

// commands are in the order in which help lists them.
var commands = []command{
	{"listen", "", "print what a user receives, live", listenMore, listen},
	{"send", "[JSON...]", "send messages to users, groups or everyone", sendMore, send},
	{"history", "", "print a page of a user's history", "Without -after, -before and -since the page is the newest.", history},
	{"ack", "[CURSOR]", "move a user's read mark to a cursor", "Without CURSOR everything is read that the history has now.", ack},
	{"receipt", "ID", "show to whom a message was delivered and who acked it", "", receipt},
	{"recall", "ID...", "take messages back from everybody", "", recall},
	{"watch", "", "print who connects, disconnects and acks, live", watchMore, watch},
	{"presence", "", "show who is connected", "Without -user it lists everybody who is.", presence},
	{"kick", "", "close a user's connections", "The clients get close code 4002, which tells them not to reconnect.", kick},
	{"groups list", "", "list the members of a group", "", groupsList},
	{"groups add", "", "add users to a group, all or none", "", groupsAdd},
	{"groups remove", "", "remove users from a group, all or none", "", groupsRemove},
	{"groups delete", "", "remove all users from a group", "", groupsDelete},
	{"groups of", "", "list the groups of a user", "", groupsOf},
	{"token", "", "make a client token", tokenMore, token},
	{"completion", "bash|zsh|fish", "print a script that completes pushctl's commands and flags", completionMore, completion},
}

// find returns the command that args begin with, and what follows its name.
func find(args []string) (command, []string, error) {
	for words := min(2, len(args)); words > 0; words-- {
		name := strings.Join(args[:words], " ")
		for _, c := range commands {
			if c.name == name {
				return c, args[words:], nil
			}
		}
	}
	if sub := subcommands(args[0]); len(sub) > 0 {
		return command{}, nil, usagef("%s: want one of %s after it; pushctl help %[1]s explains them", args[0], strings.Join(sub, ", "))
	}
	return command{}, nil, usagef("unknown command %q: want one of %s", args[0], commandNames())
}

// subcommands returns the second words of commands that begin with first.
func subcommands(first string) (second []string) {
	for _, c := range commands {
		if word, ok := strings.CutPrefix(c.name, first+" "); ok {
			second = append(second, word)
		}
	}
	return second
}

// firstWords returns the first words of all commands, each once.
func firstWords() []string {
	var names []string
	for _, c := range commands {
		first, _, _ := strings.Cut(c.name, " ")
		names = append(names, first)
	}
	return slices.Compact(names)
}

func commandNames() string { return strings.Join(firstWords(), ", ") }

// newCall declares c's flags and settings on a call.
func (c command) newCall(t terminal) (*call, func(context.Context) error) {
	fs := flag.NewFlagSet("pushctl "+c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	k := &call{terminal: t, settings: newSettings(fs), flags: fs}
	return k, c.setup(k)
}

func (c command) exec(ctx context.Context, args []string, t terminal) error {
	k, run := c.newCall(t)
	if err := k.parse(args); errors.Is(err, flag.ErrHelp) {
		return errors.Join(err, c.printHelp(t.out))
	} else if err != nil {
		return usagef("%s: %s; pushctl %[1]s -h lists the flags", c.name, strings.Replace(err.Error(), "flag provided but not defined:", "unknown flag", 1))
	}
	if c.args == "" && len(k.args) > 0 {
		return usagef("%s: unexpected argument %q; pushctl %[1]s -h lists the flags", c.name, k.args[0])
	}
	if err := k.load(t.getenv); err != nil {
		return usageError{err}
	}
	if err := run(ctx); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// parse reads flags also behind arguments, as people type them.
func (c *call) parse(args []string) error {
	for {
		if err := c.flags.Parse(args); err != nil {
			return err
		}
		rest := c.flags.Args()
		if len(rest) == 0 {
			return nil
		}
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			c.args = append(c.args, rest...) // nothing behind -- is a flag
			return nil
		}
		c.args, args = append(c.args, rest[0]), rest[1:]
	}
}

// list is a flag that may be given more than once.
func (c *call) list(name, usage string) *[]string {
	values := new([]string)
	c.flags.Func(name, usage, func(s string) error {
		*values = append(*values, s)
		return nil
	})
	return values
}

// duration is a flag that stays nil unless it is given, so that 0 can be told
// from unset.
func (c *call) duration(name, usage string) **durationpb.Duration {
	value := new(*durationpb.Duration)
	c.flags.Func(name, usage, func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return errors.New("want a time such as 90s or 24h")
		}
		*value = durationpb.New(d)
		return nil
	})
	return value
}

// oneUser is the flag of commands that are about one user; the user's name is
// there once the command runs.
func (c *call) oneUser() func() (string, error) {
	user := c.flags.String("user", "", "`NAME` of the user")
	return func() (string, error) {
		if *user == "" {
			return "", usagef("set -user, the name of the user")
		}
		return *user, nil
	}
}

func help(w io.Writer, args []string) error {
	if len(args) == 0 {
		return printHelp(w)
	}
	if sub := subcommands(args[0]); len(args) == 1 && len(sub) > 0 {
		for _, word := range sub {
			c, _, err := find([]string{args[0], word})
			if err != nil {
				return err
			}
			if err := c.printHelp(w); err != nil {
				return err
			}
		}
		return nil
	}
	c, _, err := find(args)
	if err != nil {
		return err
	}
	return c.printHelp(w)
}

func printHelp(w io.Writer) error {
	var b strings.Builder
	b.WriteString("pushctl talks to a running pushd.\n\nCommands:\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-14s %s\n", c.name, c.about)
	}
	b.WriteString("  help COMMAND   explain a command\n\n")
	b.WriteString(settingsHelp())
	b.WriteString("\nThe exit status is 0 if all went well, 1 if pushd refused or was not reached,\nand 2 if the command line, the environment or the configuration is wrong.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (c command) printHelp(w io.Writer) error {
	k, _ := c.newCall(terminal{})
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s.\n", strings.TrimSpace("pushctl "+c.name+" [flags] "+c.args), strings.ToUpper(c.about[:1])+c.about[1:])
	if c.more != "" {
		fmt.Fprintf(&b, "%s\n", c.more)
	}
	own := ""
	k.flags.VisitAll(func(f *flag.Flag) {
		if !isSetting(f.Name) {
			own += flagHelp(f)
		}
	})
	if own != "" {
		b.WriteString("\nFlags:\n" + own)
	}
	b.WriteString("\n" + settingsHelp() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func flagHelp(f *flag.Flag) string {
	kind, usage := flag.UnquoteUsage(f)
	return fmt.Sprintf("  %s\n        %s\n", strings.TrimSpace("-"+f.Name+" "+kind), usage)
}
