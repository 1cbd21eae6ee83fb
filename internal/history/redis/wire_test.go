package redis_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history/redis"
)

// TestWireGivesLuaTheValuesOfACall: a script has by name what the call has, with
// lists of any length, and with lists that are left out.
func TestWireGivesLuaTheValuesOfACall(t *testing.T) {
	for _, users := range [][]string{{"ann"}, {"ann", "bob", "cid"}} {
		for _, nodes := range [][]string{nil, {"1", "2"}} {
			for ttl, collapse := range map[time.Duration]string{0: "", 1500 * time.Microsecond: "", time.Hour: "key"} {
				t.Run(fmt.Sprintf("users=%d/nodes=%d/ttl=%v", len(users), len(nodes), ttl), func(t *testing.T) {
					command, key := redis.EchoAppend(users, nodes, ttl, collapse)
					var got map[string]any
					if err := json.Unmarshal([]byte(do(t, shared, command...).(string)), &got); err != nil {
						t.Fatal(err)
					}
					want := map[string]any{
						"DUE": key("DUE", ""), "PUSH": key("PUSH", "again"), "time": 5, "floor": 1 << 40, "partition": 3, "partitions": 4,
						"remember": 60000, "data": "body", "exclude": "a socket", "collapse": collapse, "id": 1 << 39, "inline": false,
						"chunks": 2, "keep": 3, "backlog": 7, "recipients": "r", "ttl": (ttl + time.Millisecond - 1).Milliseconds(),
						"users": users, "nodes": nodes, "INBOXES": each(users, "INBOXES", key), "STREAMS": each(nodes, "STREAMS", key),
						"METAS": nil, "COLLAPSE_INDEXES": nil,
					}
					if ttl > 0 {
						want["METAS"] = each(users, "METAS", key)
					}
					if collapse != "" {
						want["COLLAPSE_INDEXES"] = each(users, "COLLAPSE_INDEXES", key)
					}
					for name, v := range want {
						if list, ok := v.([]string); ok && len(list) == 0 {
							v = struct{}{} // Lua has one kind of empty table
						}
						if a, b := asJSON(t, got[name]), asJSON(t, v); a != b {
							t.Errorf("%s is %s, want %s", name, a, b)
						}
					}
				})
			}
		}
	}
}

func each(users []string, name string, key func(name, user string) string) (keys []string) {
	for _, user := range users {
		keys = append(keys, key(name, user))
	}
	return keys
}

// asJSON writes a value as numbers of JSON are read: as doubles.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var doubles any
	if err := json.Unmarshal(text, &doubles); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(doubles)
}
