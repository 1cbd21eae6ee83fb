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

// flag declares a boolean.
func (w *wire) flag(name string, v bool) { w.value(name, "%s == '1'", bit(v)) }

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
	w.keyEachIf(true, "true", name, items, key)
}

// keyEachIf is keyEach if a condition holds, which is also given in Lua; else the
// list is nil.
func (w *wire) keyEachIf(condition bool, inLua, name string, items []string, key func(item string) string) {
	if w.lua != nil {
		w.lua.keyEach(name, inLua)
	}
	for i := 0; condition && i < len(items); i++ {
		w.keys = append(w.keys, key(items[i]))
	}
}

// names are those of the parameters of one script.
type names struct {
	declared []string
	keyOf    map[string]string // Lua of single keys
	text     strings.Builder   // Lua of the other parameters
	args     int               // single ones so far
	lists    bool
}

func (l *names) local(name, format string, args ...any) {
	l.declared = append(l.declared, name)
	fmt.Fprintf(&l.text, "local "+name+" = "+format+"\n", args...)
}

func (l *names) key(name string) {
	l.single(name)
	l.declared = append(l.declared, name)
	l.keyOf[name] = fmt.Sprintf("KEYS[%d]", len(l.keyOf)+1)
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
		fmt.Fprintf(&l.text, "local keys_read, args_read, length = %d, %d\n", len(l.keyOf), l.args)
	}
	l.lists = true
	l.text.WriteString("length = ARGV[args_read + 1] + 0\n")
	l.local(name, "{unpack(ARGV, args_read + 2, args_read + 1 + length)}")
	l.text.WriteString("args_read = args_read + 1 + length\n")
}

func (l *names) keyEach(name, condition string) {
	l.declared = append(l.declared, name)
	take := name + " = {unpack(KEYS, keys_read + 1, keys_read + length)}\nkeys_read = keys_read + length\n"
	if condition == "true" {
		l.text.WriteString("local " + take)
		return
	}
	fmt.Fprintf(&l.text, "local %s\nif %s then\n%send\n", name, condition, take)
}
