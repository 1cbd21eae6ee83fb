package reactor

// deadlines are times by which connections must have done something. All in
// one fifo have the same time to do it, so the first to come is the first due.
// An entry stays until it is due; whether it still means anything is found out
// then.
type deadlines struct {
	after   uint32 // milliseconds
	entries []deadline
	first   int
}

type deadline struct {
	h  Handle
	at uint32
}

func (d *deadlines) add(h Handle, now uint32) {
	if d.first > len(d.entries)/2 {
		d.entries = d.entries[:copy(d.entries, d.entries[d.first:])]
		d.first = 0
	}
	d.entries = append(d.entries, deadline{h, now + d.after})
}

// due takes the next entry that is due.
func (d *deadlines) due(now uint32) (h Handle, ok bool) {
	if d.first == len(d.entries) || int32(now-d.entries[d.first].at) < 0 {
		return 0, false
	}
	h = d.entries[d.first].h
	if d.first++; d.first == len(d.entries) {
		d.entries, d.first = d.entries[:0], 0
	}
	return h, true
}
