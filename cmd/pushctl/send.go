package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	pushv1 "pushd.example/api/push/v1"
)

const sendMore = `Each argument is a message: one JSON value. Without arguments they are read from
stdin, one a line. All are sent over one stream, in order; a message that pushd
refuses fails alone, and the exit status is 1.

  pushctl send -user 42 '{"title":"Hi"}'
  pushctl send -user 42 -user 43 -group staff '"Lunch is ready"'
  pushctl send -everyone -ttl 12h '{"title":"Maintenance at 22:00"}'
  jq -c '.[]' orders.json | pushctl send -user 42 -idempotency-key import-7`

// envelope is what all messages of one send have in common.
type envelope struct {
	users, groups, except []string
	everyone              bool

	key, collapseKey, exclude, durability string
	ephemeral                             bool
	ttl, unackedAfter                     **durationpb.Duration
}

func send(c *call) func(context.Context) error {
	var e envelope
	users := c.list("user", "`NAME` of a recipient; may be repeated")
	groups := c.list("group", "`NAME` of a group whose members are recipients; may be repeated")
	except := c.list("except", "`NAME` of a user who gets nothing although a member of a group; may be repeated")
	c.flags.BoolVar(&e.everyone, "everyone", false, "broadcast: to all users, also those who come later")
	e.ttl = c.duration("ttl", "`TIME` for which the message is kept and shown (default as long as retention allows)")
	c.flags.StringVar(&e.key, "idempotency-key", "", "`KEY` that makes a retry harmless; with several messages, message 2 has KEY-2 and so on")
	c.flags.StringVar(&e.collapseKey, "collapse-key", "", "`KEY` of messages of which only the newest counts")
	c.flags.BoolVar(&e.ephemeral, "ephemeral", false, "only to those who are connected now; kept nowhere")
	e.unackedAfter = c.duration("notify-unacked-after", "`TIME` after which an unacked event tells who has not acked")
	c.flags.StringVar(&e.exclude, "exclude-connection", "", "`ID` of a connection that does not get it live")
	c.flags.StringVar(&e.durability, "durability", "", "`WORD` for what has happened before the answer, with Redis: memory or replicated")
	return func(ctx context.Context) error {
		e.users, e.groups, e.except = *users, *groups, *except
		if err := e.check(); err != nil {
			return err
		}
		source := argumentSource(c.args)
		if len(c.args) == 0 {
			if f, ok := c.in.(*os.File); ok && isTerminal(f) {
				fmt.Fprintln(c.err, "pushctl: reading messages, one JSON value a line; Ctrl-D ends")
			}
			source = lineSource(c.in)
		}
		ctx, cc, err := c.dial(ctx)
		if err != nil {
			return err
		}
		defer cc.Close()
		return c.publish(ctx, pushv1.NewPushServiceClient(cc), e, source)
	}
}

func (e envelope) check() error {
	named := len(e.users) + len(e.groups)
	switch {
	case named == 0 && !e.everyone:
		return usagef("nobody to send to: set -user, -group or -everyone (arguments are messages)")
	case named > 0 && e.everyone:
		return usagef("-everyone and -user or -group: want one or the other")
	case len(e.except) > 0 && len(e.groups) == 0:
		return usagef("-except: there is no -group to leave users out of")
	case e.everyone && *e.unackedAfter != nil:
		return usagef("-notify-unacked-after: not with -everyone")
	}
	return nil
}

// request returns the request of message n, which has the idempotency key key.
func (e envelope) request(n uint64, data []byte, key string) *pushv1.PublishRequest {
	switch {
	case e.everyone:
		return &pushv1.PublishRequest{Number: n, Send: &pushv1.PublishRequest_Broadcast{Broadcast: &pushv1.BroadcastRequest{
			Data: data, IdempotencyKey: key, Ttl: *e.ttl, Durability: e.durability,
			ExcludeConnection: e.exclude, Ephemeral: e.ephemeral, CollapseKey: e.collapseKey,
		}}}
	case len(e.users) == 1 && len(e.groups) == 0:
		return &pushv1.PublishRequest{Number: n, Send: &pushv1.PublishRequest_Unicast{Unicast: &pushv1.UnicastRequest{
			User: e.users[0], Data: data, IdempotencyKey: key, Ttl: *e.ttl, Durability: e.durability,
			ExcludeConnection: e.exclude, Ephemeral: e.ephemeral, CollapseKey: e.collapseKey, NotifyUnackedAfter: *e.unackedAfter,
		}}}
	}
	return &pushv1.PublishRequest{Number: n, Send: &pushv1.PublishRequest_Multicast{Multicast: &pushv1.MulticastRequest{
		Users: e.users, Groups: e.groups, Except: e.except, Data: data, IdempotencyKey: key, Ttl: *e.ttl, Durability: e.durability,
		ExcludeConnection: e.exclude, Ephemeral: e.ephemeral, CollapseKey: e.collapseKey, NotifyUnackedAfter: *e.unackedAfter,
	}}}
}

// keyOf returns the idempotency key of message n: the key alone for the first,
// so that one message has the key as it was given.
func (e envelope) keyOf(n uint64) string {
	if e.key == "" || n == 1 {
		return e.key
	}
	return fmt.Sprintf("%s-%d", e.key, n)
}

// source gives the messages one after the other, and io.EOF after the last; name
// is what people call the message.
type source func() (data []byte, name string, err error)

func argumentSource(args []string) source {
	n := 0
	return func() ([]byte, string, error) {
		if n == len(args) {
			return nil, "", io.EOF
		}
		n++
		return []byte(args[n-1]), fmt.Sprintf("argument %d", n), nil
	}
}

// maxLine is above the most that pushd can be set to take (-max-data 16MiB).
const maxLine = 20 << 20

func lineSource(r io.Reader) source {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine)
	n := 0
	return func() ([]byte, string, error) {
		for scan.Scan() {
			n++
			if line := bytes.TrimSpace(scan.Bytes()); len(line) > 0 {
				return bytes.Clone(line), fmt.Sprintf("stdin line %d", n), nil
			}
		}
		name := fmt.Sprintf("stdin line %d", n+1)
		switch err := scan.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, name, fmt.Errorf("%s is longer than %d MiB: pushd takes no message of that size", name, maxLine>>20)
		case err != nil:
			return nil, name, fmt.Errorf("reading %s: %w", name, err)
		}
		return nil, name, io.EOF
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// answer prints the reply to a message. In JSON a refusal is an object, too, so
// that line n of the output belongs to message n.
func (c *call) answer(name string, r *pushv1.PublishResponse) (refused bool, err error) {
	switch reply := r.GetReply().(type) {
	case *pushv1.PublishResponse_Unicast:
		m := reply.Unicast
		return false, c.result(m, "%s", sent(m.GetId(), m.GetDuplicate(), m.GetRecipients(), m.GetOnline(), m.GetUnknown()))
	case *pushv1.PublishResponse_Multicast:
		m := reply.Multicast
		return false, c.result(m, "%s", sent(m.GetId(), m.GetDuplicate(), m.GetRecipients(), m.GetOnline(), m.GetUnknown()))
	case *pushv1.PublishResponse_Broadcast:
		m := reply.Broadcast
		if m.GetDuplicate() {
			return false, c.result(m, "%s", sent(m.GetId(), true, 0, 0, 0))
		}
		return false, c.result(m, "sent %s to everyone, %s online", m.GetId(), count(m.GetOnline(), "connection"))
	}
	e := r.GetError()
	hint := ""
	if strings.Contains(e.GetMessage(), "not valid JSON") {
		hint = `; a text needs double quotes of its own, as in '"hello"'`
	}
	fmt.Fprintf(c.err, "pushctl: send: %s: %s%s\n", name, e.GetMessage(), hint)
	if !c.json {
		return true, nil
	}
	text, err := encode(map[string]any{"error": map[string]any{"code": e.GetCode(), "message": e.GetMessage()}})
	if err != nil {
		return true, err
	}
	return true, c.line("%s", text)
}

// sent is the answer to a unicast or multicast for people.
func sent(id string, duplicate bool, recipients, online, unknown int32) string {
	switch {
	case duplicate:
		return "sent before as " + id + "; nothing stored now"
	case id == "":
		return "sent to nobody: the groups have no members"
	}
	text := fmt.Sprintf("sent %s to %s, %s online", id, count(recipients, "user"), count(online, "connection"))
	if unknown > 0 {
		text += fmt.Sprintf("; %s never got a message before", count(unknown, "user"))
	}
	return text
}
