package historytest

import (
	"cmp"
	"slices"

	"pushd.example/internal/history"
)

// inOrder makes what an engine of several processes delivers comparable with
// what one process would have: in order of id over all logs, and a multicast
// whose users lie in several partitions as one delivery.
func (e *Engine) inOrder(got []history.Delivery) []history.Delivery {
	if e.Settle == nil {
		return got
	}
	got = slices.Clone(got)
	slices.SortStableFunc(got, func(a, b history.Delivery) int { return cmp.Compare(a.Message.ID, b.Message.ID) })
	out := got[:0]
	for _, d := range got {
		if n := len(out); n > 0 && out[n-1].Message.ID == d.Message.ID && out[n-1].Recall == d.Recall && d.Message.Kind == history.Multicast {
			out[n-1].Recipients = slices.Concat(out[n-1].Recipients, d.Recipients)
		} else {
			out = append(out, d)
		}
	}
	return out
}

// forNobody leaves out what may have been delivered while nobody was
// attached: broadcasts, where several processes share the data.
func (e *Engine) forNobody(got []history.Delivery) []history.Delivery {
	if e.Settle == nil {
		return got
	}
	return slices.DeleteFunc(got, func(d history.Delivery) bool { return d.Message.Kind == history.Broadcast })
}
