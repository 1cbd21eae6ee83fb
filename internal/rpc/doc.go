// Package rpc is the backends' door: PushService over gRPC and, through
// grpc-gateway in the same process, over REST.
//
//	gRPC ────────────────────────▶ ┌ guard ─────────────────────────┐
//	                               │ count, recover, map errors     │   service       history
//	REST ──▶ gateway ──▶ local ──▶ │ who is it? may they?           │──▶ validate ──▶ Append
//	         route      (no hop)   │ (REST: now read query and body)│    reply        Page, Ack
//	                               └────────────────────────────────┘
//
// It only appends and reads; delivery follows the log, and nothing here knows
// of connections.
//
// Both doors pass the same guard. A REST request's body is read behind it, so
// that a caller without a credential cannot make the server hold a body, and
// every refusal is mapped and counted in one place.
//
// In REST, data is any JSON value and passes byte for byte (codec); everything
// else is protojson with the proto's names.
//
// Errors: errors.go alone knows gRPC codes. A handler returns what went wrong
// in its own words, the guard turns it into a status.
package rpc
