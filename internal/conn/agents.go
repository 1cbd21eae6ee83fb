package conn

import "strings"

// agents keeps what clients call themselves (User-Agent), each text once, for
// as long as a session has it: thousands of clients share a few. One shard's.
type agents struct {
	numbers map[string]uint32
	texts   []agent // by number; 0 is nobody's
	free    []uint32
}

type agent struct {
	text     string
	sessions int
}

// maxAgent is the most bytes of a text that are kept.
const maxAgent = 256

// agentOf returns what is kept of a User-Agent field.
func agentOf(field []byte) string {
	return strings.ToValidUTF8(string(field[:min(len(field), maxAgent)]), "")
}

// join returns the number of text for one more session.
func (a *agents) join(text string) uint32 {
	if text == "" {
		return 0
	}
	n, ok := a.numbers[text]
	if !ok {
		n = a.place()
		a.numbers[text] = n
		a.texts[n].text = text
	}
	a.texts[n].sessions++
	return n
}

func (a *agents) place() uint32 {
	if last := len(a.free) - 1; last >= 0 {
		n := a.free[last]
		a.free = a.free[:last]
		return n
	}
	if len(a.texts) == 0 {
		a.numbers, a.texts = map[string]uint32{}, make([]agent, 1)
	}
	a.texts = append(a.texts, agent{})
	return uint32(len(a.texts) - 1)
}

// leave undoes join.
func (a *agents) leave(n uint32) {
	if n == 0 {
		return
	}
	t := &a.texts[n]
	if t.sessions--; t.sessions == 0 {
		delete(a.numbers, t.text)
		t.text = ""
		a.free = append(a.free, n)
	}
}

// text returns what join was given.
func (a *agents) text(n uint32) string {
	if n == 0 {
		return ""
	}
	return a.texts[n].text
}
