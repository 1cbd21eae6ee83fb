//go:build linux

package main

import "time"

// Connections are held by child processes (see [fleet]), which obey orders from
// their standard input and report on their standard output, both as gob. A
// child ends when its input does, so none outlives its parent.

// holdConfig is the first thing that a child is told.
type holdConfig struct {
	// Part and Parts: of all connections, numbered from 0, this process holds
	// Part, Part+Parts, Part+2·Parts and so on.
	Part, Parts int
	// First is the number of the first of them, instead of 0.
	First int
	// URL is a template: ws://HOST:PORT/PATH.
	URL string
	// Headers are added to the handshake: "Name: value" templates.
	Headers []string
	// Compression offers permessage-deflate.
	Compression bool
	// Send is the text of a message that a connection sends once upgraded;
	// empty for none.
	Send string
	// Hello is how many messages the server sends before a connection counts
	// as open.
	Hello int
	// UserNames names users; connection i < Conns belongs to user i mod Users,
	// the others to users that are sent nothing.
	UserNames string
	Users     int
	// TokenKeyFile, Issuer and Audience are what tokens are made from, if a
	// template asks for them.
	TokenKeyFile, Issuer, Audience string
	// Sources are the addresses to connect from, in turn; none: the kernel
	// chooses.
	Sources []string
	// InFlight is how many connections this process opens side by side.
	InFlight int
	// Rate is how many it opens a second at most; 0 for no limit.
	Rate float64
	// Stuck connections, spread evenly over Conns, never read once open.
	Stuck, Conns int
}

// stuck says whether connection i is one that never reads.
func (c *holdConfig) stuck(i int) bool {
	return c.Stuck > 0 && i < c.Conns && i*c.Stuck/c.Conns != (i+1)*c.Stuck/c.Conns
}

// user returns which user connection i belongs to.
func (c *holdConfig) user(i int) int {
	if i < c.Conns {
		return i % c.Users
	}
	return c.Users + i - c.Conns
}

// order tells a child what to do; a zero field asks for nothing.
type order struct {
	// Open: hold your share of the first so many of all connections.
	Open int
	// Run: begin to count the messages of this run, from nothing.
	Run uint32
	// Report: send a result.
	Report bool
}

// status is what a child says when something changed, a few dozen times a
// second at most.
type status struct {
	Tally  tally
	Result *result // the answer to order.Report
}

// tally is where a child stands; tallies of several can be added up.
type tally struct {
	// Run is the run that is counted.
	Run uint32
	// Open connections, those upgraded that still wait for hello, those that
	// could not be opened, and those that ended after they were open.
	Open, Greeting, Failed, Closed int
	// Retried counts the handshakes that the server put off.
	Retried int
	// Deliveries of the run, and the bytes that came with them, headers of
	// WebSocket frames not counted.
	Deliveries, Bytes uint64
	// Last is when the last delivery came.
	Last int64
}

func (t *tally) add(o tally) {
	t.Open += o.Open
	t.Greeting += o.Greeting
	t.Failed += o.Failed
	t.Closed += o.Closed
	t.Retried += o.Retried
	t.Deliveries += o.Deliveries
	t.Bytes += o.Bytes
	t.Last = max(t.Last, o.Last)
}

// result is what a child measured.
type result struct {
	// Connect: from the beginning of a connection until it was open.
	Connect histogram
	// Delivery: from when a message was due to be sent until it was here.
	Delivery histogram
	// Counts says how often each message of the run was delivered.
	Counts []uint32
	// Errors says what went wrong with connections, and how often.
	Errors errorCounts
	// CPU is what this process has used since it began.
	CPU time.Duration
}

func (r *result) add(o *result) {
	r.Connect.add(&o.Connect)
	r.Delivery.add(&o.Delivery)
	r.CPU += o.CPU
	if more := len(o.Counts) - len(r.Counts); more > 0 {
		r.Counts = append(r.Counts, make([]uint32, more)...)
	}
	for i, n := range o.Counts {
		r.Counts[i] += n
	}
	r.Errors.add(o.Errors)
}

// errorCounts counts errors by their texts.
type errorCounts map[string]int

// note counts err. There are only so many kinds of errors: one that makes its
// text unique must not fill the memory.
func (e errorCounts) note(err error) {
	const most = 32
	text := err.Error()
	if _, known := e[text]; !known && len(e) >= most {
		text = "other errors"
	}
	e[text]++
}

func (e errorCounts) add(o errorCounts) {
	for text, n := range o {
		e[text] += n
	}
}
