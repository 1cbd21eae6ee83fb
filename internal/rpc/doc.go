// Package rpc is the API for backends: the services of api/push/v1 over gRPC and,
// through grpc-gateway in the same process, over REST.
//
//	gRPC ────────────────────────────▶ ┌ interceptor ─────────────────┐
//	                                   │ count, recover, map errors   │   service       history
//	REST ──▶ gateway ──▶ inProcess ──▶ │ authenticate, authorize      │──▶ check    ──▶ Append
//	         route       (no copy)     │ (REST: read query and body)  │    reply        Page, Ack
//	                                   └──────────────────────────────┘
//
// The package only appends to the history and reads it. Delivery follows the
// history; it is the work of package conn.
//
// gRPC and REST pass the same interceptor. It reads the body of a REST request
// only after it has admitted the caller, so that a caller without a credential
// cannot make the server hold a body, and every refusal is mapped and counted in
// one place.
//
// In REST, data is any JSON value and passes byte for byte (codec); everything
// else is protojson with the proto's names.
//
// Only errors.go knows gRPC codes. A service returns plain errors, which the
// interceptor maps to statuses.
//
// Publish carries many sends on one stream (publish.go); a sequencer keeps the
// sends to each user in order.
package rpc
