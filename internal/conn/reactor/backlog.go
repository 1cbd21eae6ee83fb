package reactor

import (
	"math/bits"

	"pushd.example/internal/conn/proto"
)

// backlog holds what connections could not be sent yet: per connection a queue
// of nodes, each a shared frame and how far it was sent. Nothing is copied.
// Queues are also linked by size, so that the largest is found at once.
// References are indexes; 0 is none.
//
// A queue has two lists. Of a long queue, control frames are in one, and pass
// everything else as soon as what is being sent is at the end of a frame; the
// other has the rest, in order. Limits.ClientBacklogBytes bounds the messages that wait: neither the
// head of the queue, which is being sent, nor answers and control frames.
type backlog struct {
	long   int // bytes from which on a queue is long; set once
	bytes  int // of all queues; a frame counts in every queue that it is in
	nodes  []node
	queues []queue
	// Free entries, linked by next.
	freeNode, freeQueue uint32
	// sizes[k] begins the list of queues whose bytes have k bits.
	sizes [33]uint32
}

type node struct {
	frame *Frame
	sent  uint32
	end   uint32 // how much of the frame is sent
	next  uint32
	class class
	waits bool // counts in the queue's waiting
}

// class says what a frame is to the bounds of a backlog.
type class uint8

const (
	// message is what there may be any number of: the bounds are for it.
	message class = iota
	// answer is what the client caused: a pong message, an error. The loop
	// reads no more of a client that leaves too many of them unread.
	answer
	// control is a ping, a pong or a Close frame, which may stand between
	// fragments. Pongs count as answers.
	control
)

// left returns what is left to send.
func (n *node) left() int { return int(n.end - n.sent) }

// nodeBytes is what a node counts beside its frame's bytes, so that many empty
// frames weigh something too.
const nodeBytes = 24

type queue struct {
	socket     uint32
	head, tail uint32
	// Control frames that have to wait for the end of the frame being sent.
	control, controlTail uint32
	bytes                uint32 // of all nodes
	waiting              tally  // messages behind the head
	answers              uint32 // answers and control frames
	moved                uint32 // the loop's clock when the kernel last took something
	prev, next           uint32 // in sizes
	size                 uint8  // which of sizes
}

// longQueue is how much has to wait for a client so that control frames pass it,
// and a Close frame takes its place: at the default limits, where at most a page
// and 64 KiB wait, everything goes out in order.
const longQueue = 256 << 10

// isLong reports whether a queue is long.
func (b *backlog) isLong(r uint32) bool { return int(b.queues[r].bytes) > b.long }

// tally is a number of frames, and their bytes.
type tally struct{ frames, bytes uint32 }

// answersRoom is how many answers and control frames a queue holds beside its
// messages; further answers count as messages. answersPause is at how many the
// loop stops reading the client's messages, which causes them: the room is for
// answers to what was read before.
const (
	answersPause = 64
	answersRoom  = 512
)

func newBacklog() backlog {
	return backlog{long: longQueue, nodes: make([]node, 1), queues: make([]queue, 1)}
}

// open returns an empty queue.
func (b *backlog) open(socket, now uint32) uint32 {
	r := b.freeQueue
	if r != 0 {
		b.freeQueue = b.queues[r].next
	} else {
		b.queues = append(b.queues, queue{})
		r = uint32(len(b.queues) - 1)
	}
	b.queues[r] = queue{socket: socket, moved: now}
	b.link(r)
	return r
}

// push adds f at the end, and a reference to it.
func (b *backlog) push(r uint32, f *Frame, c class) {
	q := &b.queues[r]
	if c == answer && q.answers >= answersRoom {
		c = message
	}
	passes := c == control && (q.control != 0 || b.isLong(r))
	n := b.node(r, f, 0, c)
	if passes {
		b.append(&q.control, &q.controlTail, n)
		return
	}
	if c == message {
		b.wait(r, n, true)
	}
	b.append(&q.head, &q.tail, n)
}

// append links a node to the end of a list.
func (b *backlog) append(head, tail *uint32, n uint32) {
	if *tail == 0 {
		*head = n
	} else {
		b.nodes[*tail].next = n
	}
	*tail = n
}

// pushFront adds f, of which sent bytes are gone, at the front. It is being sent,
// so that no bound counts it.
func (b *backlog) pushFront(r uint32, f *Frame, sent int) {
	n := b.node(r, f, sent, message)
	q := &b.queues[r]
	if q.tail == 0 {
		q.tail = n
	}
	b.nodes[n].next = q.head
	q.head = n
}

// node makes a node for f and weighs it.
func (b *backlog) node(r uint32, f *Frame, sent int, c class) uint32 {
	f.Retain(1)
	n := b.freeNode
	if n != 0 {
		b.freeNode = b.nodes[n].next
	} else {
		b.nodes = append(b.nodes, node{})
		n = uint32(len(b.nodes) - 1)
	}
	b.nodes[n] = node{frame: f, sent: uint32(sent), end: uint32(len(f.B)), class: c}
	if c != message {
		b.queues[r].answers++
	}
	b.weigh(r, len(f.B)-sent+nodeBytes)
	return n
}

// wait makes a message count as waiting, or not any more.
func (b *backlog) wait(r, n uint32, waits bool) {
	q, m := &b.queues[r], &b.nodes[n]
	if m.waits == waits {
		return
	}
	m.waits = waits
	if size := m.end + nodeBytes; waits {
		q.waiting.frames++
		q.waiting.bytes += size
	} else {
		q.waiting.frames--
		q.waiting.bytes -= size
	}
}

// full reports whether a queue that holds at most so many frames and bytes has
// no room for another message. An empty one has room for a message of any size.
func (b *backlog) full(r uint32, size, frames, bytes int) bool {
	w := b.queues[r].waiting
	return w.frames > 0 && (int(w.frames) >= frames || int(w.bytes)+size > bytes)
}

// empty reports whether a queue has nothing to send.
func (b *backlog) empty(r uint32) bool { return b.queues[r].head == 0 && b.queues[r].control == 0 }

// gather appends the first buffers of a queue to v, as far as v has room. Control
// frames come first, or as soon as the frame is complete that was sent in part.
func (b *backlog) gather(r uint32, v [][]byte) [][]byte {
	q := &b.queues[r]
	if q.control != 0 {
		if n := &b.nodes[q.head]; q.head != 0 {
			if end := b.frameEnd(n); end > n.sent {
				return append(v, n.frame.B[n.sent:end])
			}
		}
		b.letControlPass(q)
	}
	b.wait(r, q.head, false)
	for n := q.head; n != 0 && len(v) < cap(v); n = b.nodes[n].next {
		v = append(v, b.nodes[n].frame.B[b.nodes[n].sent:b.nodes[n].end])
	}
	return v
}

// frameEnd returns where something else may come between the bytes of a node.
func (b *backlog) frameEnd(n *node) uint32 {
	return min(n.end, uint32(proto.FrameEnd(n.frame.B, int(n.sent))))
}

// letControlPass puts the control frames before everything else, but behind
// those that passed before.
func (b *backlog) letControlPass(q *queue) {
	at := &q.head
	for *at != 0 && b.nodes[*at].class == control {
		at = &b.nodes[*at].next
	}
	b.nodes[q.controlTail].next = *at
	if *at == 0 {
		q.tail = q.controlTail
	}
	*at = q.control
	q.control, q.controlTail = 0, 0
}

// advance takes sent bytes off a queue and returns how many frames that
// completed.
func (b *backlog) advance(r uint32, sent int, now uint32) (frames int) {
	q := &b.queues[r]
	q.moved = now
	for q.head != 0 {
		n := &b.nodes[q.head]
		left := n.left()
		if sent < left {
			n.sent += uint32(sent)
			b.weigh(r, -sent)
			break
		}
		sent -= left
		b.pop(r)
		frames++
	}
	return frames
}

// pop drops the first node. The next one is being sent from now on.
func (b *backlog) pop(r uint32) {
	q := &b.queues[r]
	i := q.head
	b.wait(r, i, false)
	n := b.nodes[i]
	q.head = n.next
	if q.head == 0 {
		q.tail = 0
	} else {
		b.wait(r, q.head, false)
	}
	if n.class != message {
		q.answers--
	}
	b.weigh(r, -(n.left() + nodeBytes))
	n.frame.Release()
	b.nodes[i] = node{next: b.freeNode}
	b.freeNode = i
}

// cut drops all but the rest of a frame that was sent in part, which the client
// needs to find the next frame's beginning.
func (b *backlog) cut(r uint32) {
	q := &b.queues[r]
	if q.control != 0 { // they are dropped too
		b.letControlPass(q)
	}
	var rest node
	for q.head != 0 {
		if n := &b.nodes[q.head]; n.sent > 0 && b.frameEnd(n) > n.sent {
			rest = *n
			rest.end = b.frameEnd(n)
			rest.frame.Retain(1)
		}
		b.pop(r)
	}
	if rest.frame != nil {
		b.pushFront(r, rest.frame, int(rest.sent))
		b.nodes[q.head].end = rest.end
		b.weigh(r, int(rest.end)-len(rest.frame.B))
		rest.frame.Release()
	}
}

// close drops a queue.
func (b *backlog) close(r uint32) {
	if q := &b.queues[r]; q.control != 0 {
		b.letControlPass(q)
	}
	for b.queues[r].head != 0 {
		b.pop(r)
	}
	b.unlink(r)
	b.queues[r] = queue{next: b.freeQueue}
	b.freeQueue = r
}

// largest returns the socket of a queue that has at least half the bytes of
// any other.
func (b *backlog) largest() (socket uint32, ok bool) {
	for k := len(b.sizes) - 1; k >= 0; k-- {
		if r := b.sizes[k]; r != 0 {
			return b.queues[r].socket, true
		}
	}
	return 0, false
}

// weigh adds to a queue's bytes.
func (b *backlog) weigh(r uint32, bytes int) {
	q := &b.queues[r]
	b.bytes += bytes
	q.bytes = uint32(int(q.bytes) + bytes)
	if uint8(bits.Len32(q.bytes)) != q.size {
		b.unlink(r)
		b.link(r)
	}
}

func (b *backlog) link(r uint32) {
	q := &b.queues[r]
	q.size = uint8(bits.Len32(q.bytes))
	q.prev, q.next = 0, b.sizes[q.size]
	if q.next != 0 {
		b.queues[q.next].prev = r
	}
	b.sizes[q.size] = r
}

func (b *backlog) unlink(r uint32) {
	q := &b.queues[r]
	if q.prev != 0 {
		b.queues[q.prev].next = q.next
	} else {
		b.sizes[q.size] = q.next
	}
	if q.next != 0 {
		b.queues[q.next].prev = q.prev
	}
}
