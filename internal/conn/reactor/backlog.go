package reactor

import "math/bits"

// backlog holds what connections could not be sent yet: per connection a queue
// of nodes, each a shared frame and how far it was sent. Nothing is copied.
// Queues are also linked by size, so that the largest is found at once.
// References are indexes; 0 is none.
type backlog struct {
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
	next  uint32
}

// nodeBytes is what a node counts beside its frame's bytes, so that many empty
// frames weigh something too.
const nodeBytes = 24

type queue struct {
	socket     uint32
	head, tail uint32
	frames     uint32
	bytes      uint32
	moved      uint32 // the loop's clock when the kernel last took something
	prev, next uint32 // in sizes
	size       uint8  // which of sizes
}

func newBacklog() backlog {
	return backlog{nodes: make([]node, 1), queues: make([]queue, 1)}
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
func (b *backlog) push(r uint32, f *Frame) {
	n := b.node(r, f, 0)
	q := &b.queues[r]
	if q.tail == 0 {
		q.head = n
	} else {
		b.nodes[q.tail].next = n
	}
	q.tail = n
}

// pushFront adds f, of which sent bytes are gone, at the front.
func (b *backlog) pushFront(r uint32, f *Frame, sent int) {
	n := b.node(r, f, sent)
	q := &b.queues[r]
	if q.tail == 0 {
		q.tail = n
	}
	b.nodes[n].next = q.head
	q.head = n
}

// node makes a node for f and weighs it.
func (b *backlog) node(r uint32, f *Frame, sent int) uint32 {
	f.Retain(1)
	n := b.freeNode
	if n != 0 {
		b.freeNode = b.nodes[n].next
	} else {
		b.nodes = append(b.nodes, node{})
		n = uint32(len(b.nodes) - 1)
	}
	b.nodes[n] = node{frame: f, sent: uint32(sent)}
	b.queues[r].frames++
	b.weigh(r, len(f.B)-sent+nodeBytes)
	return n
}

// gather appends the first buffers of a queue to v, as far as v has room.
func (b *backlog) gather(r uint32, v [][]byte) [][]byte {
	for n := b.queues[r].head; n != 0 && len(v) < cap(v); n = b.nodes[n].next {
		v = append(v, b.nodes[n].frame.B[b.nodes[n].sent:])
	}
	return v
}

// advance takes sent bytes off a queue and returns how many frames that
// completed.
func (b *backlog) advance(r uint32, sent int, now uint32) (frames int) {
	q := &b.queues[r]
	q.moved = now
	for q.head != 0 {
		n := &b.nodes[q.head]
		left := len(n.frame.B) - int(n.sent)
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

// pop drops the first node.
func (b *backlog) pop(r uint32) {
	q := &b.queues[r]
	i := q.head
	n := b.nodes[i]
	q.head = n.next
	if q.head == 0 {
		q.tail = 0
	}
	q.frames--
	b.weigh(r, -(len(n.frame.B) - int(n.sent) + nodeBytes))
	n.frame.Release()
	b.nodes[i] = node{next: b.freeNode}
	b.freeNode = i
}

// cut drops all but a frame that was sent in part, whose rest the client needs
// to find the next frame's beginning.
func (b *backlog) cut(r uint32) {
	q := &b.queues[r]
	var rest node
	if q.head != 0 && b.nodes[q.head].sent > 0 {
		rest = b.nodes[q.head]
		rest.frame.Retain(1)
	}
	for q.head != 0 {
		b.pop(r)
	}
	if rest.frame != nil {
		b.pushFront(r, rest.frame, int(rest.sent))
		rest.frame.Release()
	}
}

// close drops a queue.
func (b *backlog) close(r uint32) {
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
