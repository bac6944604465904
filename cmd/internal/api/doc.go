// Package api is the node as HTTP and JSON under /v1: on a unix socket, whose permissions are its only lock, and on TLS with bearer
// tokens of three scopes.
//
//	rod, curl ----> Server: token, body limit, idempotency ----> route: decode and check In ----> Control ----> node.Node
//	                                                                                             (node.go)
//
// One table of routes (routes.go) is the whole surface. A route's In and Out are plain structs; their tags are read by three
// readers, so that none can differ from the others: decode.go fills and checks an In, openapi.go describes both, errors name the field
// and its bound. That reflection is some 200 lines over net/http, which has patterns and path values of its own; a framework
// would bring a router, a second way to write a handler and a dozen modules for the same document.
//
// Amounts are integers with their unit in the name: amount_msat, capacity_sat. Identifiers are lower-case hex, except channel
// and payment numbers, which are decimal strings, because a JSON number above 2^53 does not survive JavaScript.
package api
