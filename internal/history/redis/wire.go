package redis

import (
	"fmt"
	"strings"
	"time"

	"pushd.example/internal/history"
)

// parameters are what a script is called with. Their declare method is the only
// place that knows the order of KEYS and ARGV: it runs for each call, to write the
// values, and once on the zero value, to write the Lua that names them. So it
// declares the same parameters whatever their values are.
type parameters interface {
	declare(w *wire, k *keys)
}

// wire is the parameters of one call as EVALSHA takes them: first single values,
// in any order, then lists.
//
// A list of KEYS follows the list of ARGV to whose items its keys belong. In ARGV
// each list follows its length.
type wire struct {
	keys, args []any

	lua *names // nil in a call
}

// key declares a key. Names of keys are upper case.
func (w *wire) key(name, key string) {
	if w.lua != nil {
		w.lua.key(name)
	}
	w.keys = append(w.keys, key)
}

// value declares a value of ARGV; format makes Lua's value of it.
func (w *wire) value(name, format string, v any) {
	if w.lua != nil {
		w.lua.value(name, format)
	}
	w.args = append(w.args, v)
}

// text declares a string.
func (w *wire) text(name, v string) { w.value(name, "%s", v) }

// bytes declares a string.
func (w *wire) bytes(name string, v []byte) { w.value(name, "%s", v) }

// number declares a number, of at most 53 bits.
func (w *wire) number(name string, v int64) { w.value(name, "%s + 0", v) }

// id declares the number of an id.
func (w *wire) id(name string, id history.ID) { w.number(name, int64(id)) }

// duration declares a duration, in Lua a number of whole milliseconds, rounded up.
func (w *wire) duration(name string, d time.Duration) { w.number(name, millis(d)) }

// condition is a flag of a call.
type condition struct {
	name string
	v    bool
}

// flag declares a boolean.
func (w *wire) flag(name string, v bool) condition {
	w.value(name, "%s == '1'", bit(v))
	return condition{name, v}
}

// time declares "time", the milliseconds since history.Epoch: Redis's own, or the
// test's that Store.clock returns.
func (w *wire) time(clock any) { w.value("time", "now(%s)", clock) }

// list declares a list of n strings. Numbers among them are strings in Lua.
func (w *wire) list(name string, n int, item func(i int) any) {
	if w.lua != nil {
		w.lua.list(name)
	}
	w.args = append(w.args, n)
	for i := range n {
		w.args = append(w.args, item(i))
	}
}

// texts declares a list of strings.
func (w *wire) texts(name string, items []string) {
	w.list(name, len(items), func(i int) any { return items[i] })
}

// keyEach declares a key for each item of the list before it, or of lists of the
// same length.
func (w *wire) keyEach(name string, items []string, key func(item string) string) {
	w.keyEachIf(condition{"true", true}, name, items, key)
}

// keyEachIf is keyEach if a condition holds; else the list is empty.
func (w *wire) keyEachIf(c condition, name string, items []string, key func(item string) string) {
	if w.lua != nil {
		w.lua.keyEach(name, c.name)
	}
	for i := 0; c.v && i < len(items); i++ {
		w.keys = append(w.keys, key(items[i]))
	}
}

// names writes the Lua that names the parameters of one script.
type names struct {
	declared   []string
	keys, args int // single ones so far
	lists      bool
	text       strings.Builder
}

func (l *names) local(name, format string, args ...any) {
	l.declared = append(l.declared, name)
	fmt.Fprintf(&l.text, "local "+name+" = "+format+"\n", args...)
}

func (l *names) key(name string) {
	l.single(name)
	l.keys++
	l.local(name, "KEYS[%d]", l.keys)
}

func (l *names) value(name, format string) {
	l.single(name)
	l.args++
	l.local(name, format, fmt.Sprintf("ARGV[%d]", l.args))
}

func (l *names) single(name string) {
	if l.lists {
		panic(name + " is declared after a list")
	}
}

func (l *names) list(name string) {
	if !l.lists {
		fmt.Fprintf(&l.text, "local keys_read, args_read, length = %d, %d\n", l.keys, l.args)
	}
	l.lists = true
	l.text.WriteString("length = ARGV[args_read + 1] + 0\n")
	l.local(name, "{unpack(ARGV, args_read + 2, args_read + 1 + length)}")
	l.text.WriteString("args_read = args_read + 1 + length\n")
}

func (l *names) keyEach(name, condition string) {
	if condition == "true" {
		l.local(name, "{unpack(KEYS, keys_read + 1, keys_read + length)}")
		l.text.WriteString("keys_read = keys_read + length\n")
		return
	}
	l.local(name, "%s and {unpack(KEYS, keys_read + 1, keys_read + length)} or nil", condition)
	fmt.Fprintf(&l.text, "if %s then keys_read = keys_read + length end\n", condition)
}
