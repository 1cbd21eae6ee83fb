package reactor

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"pushd.example/internal/conn/proto"
)

// Refuse answers a request that becomes no WebSocket, and ends the connection. A
// client that is refused with 503 is told to come back after some seconds.
func (l *Loop) Refuse(h Handle, e *proto.HTTPError) {
	retry := 0
	if e.Status == proto.ErrBusy.Status {
		retry = jitter()
	}
	if s := l.lookup(h); s != nil && (s.state == pending || s.state == head) {
		l.refuse(h, s, e, retry, e.Code)
	}
}

// RefuseFor refuses as Refuse does, and tells the client to come back after so
// long.
func (l *Loop) RefuseFor(h Handle, e *proto.HTTPError, d time.Duration) {
	if s := l.lookup(h); s != nil && s.state == pending {
		l.refuse(h, s, e, int((d+time.Second-1)/time.Second), e.Code)
	}
}

// refuse answers with e; retryAfter, in seconds, is told to the client unless
// it is 0. reason is for the log. A browser page gets a WebSocket that is closed
// with a code, as long as few of them are open; it counts as a refusal too.
func (l *Loop) refuse(h Handle, s *slot, e *proto.HTTPError, retryAfter int, reason string) {
	page := l.takePage(h)
	l.logRefusal(h, page, e, reason)
	l.count.Handshakes[outcomeOf(e.Status)]++
	f := l.NewFrame(512)
	told, early := false, s.input != 0 || h == l.asking && len(l.leftover) > 0
	if page != nil && !early && l.told < max(1, maxTold/l.cfg.Loops) {
		f.B, told = proto.AppendPageRefusal(f.B, page, e, retryAfter)
	}
	if told {
		l.told++
		s.flags |= toldPage
		s.window = 0
	} else {
		f.B = proto.AppendHTTPError(f.B, e, retryAfter)
		s.flags |= deaf
		if h == l.asking && !early && !s.has(registered) {
			s.flags |= silent
		}
	}
	l.dropInput(s)
	l.become(s, closing)
	s.spent = 0
	l.send(h, s, f, answer)
	l.Drop(f)
	l.lingers.add(h, l.clock)
}

// maxTold is how many pages may be told at one time why they are refused. Each
// has Limits.CloseTimeout to answer the Close frame. Further ones are answered
// with a status.
const maxTold = 1024

// takePage returns the page that a pending connection comes from, nil if it comes
// from none, and forgets it.
func (l *Loop) takePage(h Handle) *proto.Page {
	page := l.pages[h]
	delete(l.pages, h)
	return page
}

func (l *Loop) logRefusal(h Handle, page *proto.Page, e *proto.HTTPError, reason string) {
	origin := ""
	switch {
	case page != nil:
		origin = page.Origin
	case h == l.asking:
		origin = string(l.request.Origin)
	}
	l.reactor.refusalLog.write(reason, e, origin, func() netip.Addr { return l.net.Peer(int(h.Socket())).Addr() })
}

// refusalLog writes a line for each handshake that is refused: for the first of
// each reason in a minute at level info, with the number of those since the last
// such line, and for the others at level debug.
type refusalLog struct {
	log *slog.Logger // set once

	mu      sync.Mutex // guards reasons
	reasons map[string]sample
}

// sample is what is known of one reason.
type sample struct {
	next   time.Time // when a line is due
	others int       // refusals since the last line
}

// sampleEvery is the least time between two lines of a reason at level info.
const sampleEvery = time.Minute

func (r *refusalLog) write(reason string, e *proto.HTTPError, origin string, address func() netip.Addr) {
	level, others := r.sample(time.Now(), reason)
	if !r.log.Enabled(context.Background(), level) {
		return
	}
	args := []any{"reason", reason, "message", e.Message, "status", e.Status, "origin", origin, "address", address()}
	if level == slog.LevelInfo {
		args = append(args, "others", others)
	}
	r.log.Log(context.Background(), level, "refused a handshake", args...)
}

// sample returns the level of a line, and at info how many refusals there were
// since the last one.
func (r *refusalLog) sample(now time.Time, reason string) (level slog.Level, others int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.reasons[reason]
	if now.Before(s.next) {
		s.others++
		r.reasons[reason] = s
		return slog.LevelDebug, 0
	}
	r.reasons[reason] = sample{next: now.Add(sampleEvery)}
	return slog.LevelInfo, s.others
}
