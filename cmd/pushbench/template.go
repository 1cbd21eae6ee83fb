//go:build linux

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// template is text with variables in braces, such as "/push?user={user}". A
// brace that does not enclose a known name is plain text, as JSON needs.
type template struct {
	literals []string // one more than vars
	vars     []variable
}

type variable string

const (
	varIndex variable = "i"     // the connection's number, from 0
	varUser  variable = "user"  // a user's name
	varUsers variable = "users" // a JSON array of users' names
	varData  variable = "data"  // a message's data, a JSON string
	varToken variable = "token" // a client token for the user
	varN     variable = "n"     // a number
)

// parseTemplate finds the variables of text, which must be among allowed.
func parseTemplate(text string, allowed ...variable) (template, error) {
	var t template
	known := []variable{varIndex, varUser, varUsers, varData, varToken, varN}
	literal := ""
	for {
		open := strings.IndexByte(text, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(text[open:], '}')
		name := variable("")
		if end > 0 {
			name = variable(text[open+1 : open+end])
		}
		switch {
		case slices.Contains(allowed, name):
			t.literals = append(t.literals, literal+text[:open])
			t.vars = append(t.vars, name)
			literal, text = "", text[open+end+1:]
		case slices.Contains(known, name):
			return t, fmt.Errorf("{%s} has no meaning here; possible are %s", name, braced(allowed))
		default:
			literal, text = literal+text[:open+1], text[open+1:]
		}
	}
	t.literals = append(t.literals, literal+text)
	return t, nil
}

func braced(vars []variable) string {
	var s []string
	for _, v := range vars {
		s = append(s, "{"+string(v)+"}")
	}
	return strings.Join(s, ", ")
}

func (t template) has(v variable) bool { return slices.Contains(t.vars, v) }

// append renders t; value appends what a variable stands for.
func (t template) append(dst []byte, value func([]byte, variable) []byte) []byte {
	for i, v := range t.vars {
		dst = append(dst, t.literals[i]...)
		dst = value(dst, v)
	}
	return append(dst, t.literals[len(t.vars)]...)
}

// userNames makes users' names: a template with one {n}.
type userNames struct{ t template }

func parseUserNames(text string) (userNames, error) {
	t, err := parseTemplate(text, varN)
	if err == nil && !t.has(varN) {
		err = fmt.Errorf("want {n} in it, or all users have one name")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !isNameRune(r) }); err == nil && i >= 0 {
		err = fmt.Errorf("%q: only letters, digits and -._~ need no escaping everywhere", text[i:])
	}
	return userNames{t}, err
}

func isNameRune(r rune) bool {
	return strings.ContainsRune("-._~{}", r) || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

func (u userNames) append(dst []byte, n int) []byte {
	return u.t.append(dst, func(dst []byte, _ variable) []byte {
		return strconv.AppendInt(dst, int64(n), 10)
	})
}

func (u userNames) name(n int) string { return string(u.append(nil, n)) }
