package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
)

// aUnicast sends a message to ownUser and returns its id.
func (r *rig) aUnicast() string {
	r.t.Helper()
	return r.must(&pushv1.UnicastRequest{User: ownUser, Data: hi}).(*pushv1.UnicastResponse).GetId()
}

func (r *rig) aBroadcast() string {
	r.t.Helper()
	return r.must(&pushv1.BroadcastRequest{Data: hi}).(*pushv1.BroadcastResponse).GetId()
}

func (r *rig) wantMessages(user string, n int) {
	r.t.Helper()
	page := r.must(&pushv1.HistoryRequest{User: user}).(*pushv1.HistoryResponse)
	equal(r.t, "messages of "+user, len(page.GetMessages()), n)
	equal(r.t, "unread of "+user, int(page.GetUnread()), n)
}

func TestRecall(t *testing.T) {
	r := newRig(t, options{})
	c := r.subscribe(keyAll, "42", "")
	unicast, broadcast := r.aUnicast(), r.aBroadcast()
	multicast := r.must(&pushv1.MulticastRequest{Users: []string{"42", "43"}, Data: hi}).(*pushv1.MulticastResponse).GetId()
	r.wantMessages("42", 3)
	c.expect(string(hi), string(hi), string(hi))
	r.must(&pushv1.RecallRequest{Id: unicast})
	r.wantMessages("42", 2)
	re := r.rest(keySend, "DELETE", "/v1/messages/"+multicast, "")
	equal(t, "answer", re.body, "{}")
	r.wantMessages("42", 1)
	r.wantMessages("43", 1)
	equal(t, "status", r.rest(keyBroadcast, "DELETE", "/v1/messages/"+broadcast, "").status, 200)
	r.wantMessages("43", 0)
	for _, want := range []struct{ id, log string }{{unicast, "inbox"}, {multicast, "inbox"}, {broadcast, "broadcast"}} {
		resp, err := c.Recv()
		must(t, err)
		equal(t, "recalled", resp.GetRecall().GetId(), want.id)
		equal(t, "log", resp.GetRecall().GetLog(), want.log)
		equal(t, "cursor", resp.GetCursor(), c.cursor)
	}
	r.must(&pushv1.RecallRequest{Id: unicast}) // again
}

func TestGetReceipt(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := newRig(t, options{now: func() time.Time { return now }})
	id := r.must(&pushv1.MulticastRequest{Users: []string{"b", "42", "c"}, Data: hi}).(*pushv1.MulticastResponse).GetId()
	broadcast := r.aBroadcast()
	page := r.must(&pushv1.HistoryRequest{User: "42"}).(*pushv1.HistoryResponse)
	inbox, err := history.ParseID(id)
	must(t, err)
	all, err := history.ParseID(broadcast)
	must(t, err)
	must(t, r.messages.RecordDelivered(t.Context(), history.Deliveries{
		Inboxes:    []history.UserRange{{User: "42", Range: history.Range{To: inbox, At: now.Add(time.Second)}}, {User: "c", Range: history.Range{To: inbox}}},
		Broadcasts: map[history.ID]int{all: 7},
	}))
	now = now.Add(7500 * time.Millisecond)
	r.must(&pushv1.AckRequest{User: "42", Cursor: page.GetCursor()})
	receipt := r.must(&pushv1.GetReceiptRequest{Id: id}).(*pushv1.GetReceiptResponse)
	equal(t, "recipients", receipt.GetRecipients(), 3)
	equal(t, "delivered", receipt.GetDelivered(), 2)
	equal(t, "acked", receipt.GetAcked(), 1)
	equal(t, "when", receipt.GetUsers()[0].GetAckedAt().AsTime(), now)
	re := r.rest(keyRead, "GET", "/v1/messages/"+id+"/receipt", "")
	equal(t, "receipt", re.body, `{"kind":"multicast","recipients":3,"delivered":2,"acked":1,"users":[`+
		`{"user":"42","delivered":true,"delivered_at":"2026-03-01T12:00:01Z","acked":true,"acked_at":"2026-03-01T12:00:07.500Z"},`+
		`{"user":"b","delivered":false,"acked":false},{"user":"c","delivered":true,"acked":false}]}`)
	re = r.rest(keyRead, "GET", "/v1/messages/"+broadcast+"/receipt", "")
	equal(t, "receipt of a broadcast", re.body, `{"kind":"broadcast","recipients":0,"delivered":7,"acked":1,"users":[]}`)
}

// TestReceiptOfADelivery: what a client gets is delivered, soon after.
func TestReceiptOfADelivery(t *testing.T) {
	r := newRig(t, options{})
	before := r.aUnicast()
	c := r.subscribe(keyAll, ownUser, "")
	id := r.aUnicast()
	c.expect(string(hi))
	for end := time.Now().Add(20 * time.Second); ; {
		receipt := r.must(&pushv1.GetReceiptRequest{Id: id}).(*pushv1.GetReceiptResponse)
		if receipt.GetDelivered() == 1 {
			equal(t, "of the user", receipt.GetUsers()[0].GetDelivered(), true)
			break
		}
		if time.Now().After(end) {
			t.Fatal("the receipt does not know that it was delivered")
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
	equal(t, "delivered before", r.must(&pushv1.GetReceiptRequest{Id: before}).(*pushv1.GetReceiptResponse).GetDelivered(), 0)
}

// TestUnknownMessage: what nobody has, or nobody any more, is not found.
func TestUnknownMessage(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := newRig(t, options{now: func() time.Time { return now }})
	old := r.aUnicast()
	now = now.Add(31 * 24 * time.Hour)
	const message = "id: no message has this id, or retention has dropped it"
	for _, id := range []string{"0", "1", old, history.MaxID.String()} {
		p := grpcProblem(t, r.call(&pushv1.RecallRequest{Id: id}))
		equal(t, "gRPC code", p.Code, codes.NotFound)
		equal(t, "gRPC message", p.Message, message)
		re := r.rest(keyAll, "DELETE", "/v1/messages/"+id, "")
		equal(t, "REST status", re.status, 404)
		equal(t, "REST message", re.problem(t).Message, message)
		equal(t, "receipt", grpcProblem(t, r.call(&pushv1.GetReceiptRequest{Id: id})).Message, message)
		equal(t, "receipt by REST", r.rest(keyAll, "GET", "/v1/messages/"+id+"/receipt", "").status, 404)
	}
}

// TestRecallNeedsTheScopeOfTheSend: who may send one kind may not take back the
// other.
func TestRecallNeedsTheScopeOfTheSend(t *testing.T) {
	r := newRig(t, options{})
	unicast, broadcast := r.aUnicast(), r.aBroadcast()
	p := grpcProblem(t, r.callAs(keySend, &pushv1.RecallRequest{Id: broadcast}))
	equal(t, "message", p.Message, `this needs an API key with scope "broadcast"`)
	p = grpcProblem(t, r.callAs(keyBroadcast, &pushv1.RecallRequest{Id: unicast}))
	equal(t, "message", p.Message, `this needs an API key with scope "send"`)
	r.wantMessages("42", 2)
}
