// Package lsps is the JSON side of an LSP: the envelope of bLIP 50 (LSPS0), the webhook registrations of bLIP 55 (LSPS5), the rod.* methods of rod/PROTOCOL.md,
// and the text and signature of a notification. Like package rod it is pure: a request goes in, a response and rows come out.
//
// The caller carries payloads in peer message 37913, hands Handle every one a client sends, writes Result.Rows before it sends the response (bLIP 55: a webhook is
// persisted before the call is answered), and for rod.hold and rod.cancel applies Result.Event to the rod.Table and sends what Answer makes of the outcome.
package lsps

// MessageType is the type of the peer message that carries all this, both ways.
const MessageType = 37913

// FeatureBit is option_supports_lsps, set by an LSP in init and node_announcement, never by a client.
const FeatureBit = 729
