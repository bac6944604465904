// Package onion is BOLT 4: it opens and builds the onions that travel with HTLCs and with onion messages, makes and
// follows blinded paths, and carries failures back to the origin of a payment.
//
//	update_add_htlc ──► Router.Peel ──► Hop        forward Hop.Next, or accept (Hop.Final)
//	                         │
//	                         └────────► Failure    answer with Router.Fail, or malformed
//
//	update_fail_htlc ─► Router.Wrap ─► reason      one layer, towards the origin
//	                    Secrets.Decode              at the origin
//
//	onion_message ────► Router.PeelMessage ──► MessageHop: forward Next, or Contents and Reply (Final)
//	a reply or request ► JoinPath / PathTo / NewBlindedPath ──► BuildMessage
//
//	an invoice ────────► NewPaymentPath ──► Encode: the field b of bLIP 39
//	the payer of one ──► DecodePaymentPath ──► Fee, the hops of Build; AdvancePayment where we are its first node
//
// The Sphinx packets themselves are those of lightning-onion. The payloads are read and written here, because this
// node must see what other codecs drop: unknown odd records of a payload, of encrypted_recipient_data and of an
// onion message are kept, and unknown even ones refused, as BOLT 1 asks.
//
// Everything is a value in and a value out. Nothing is remembered between calls: what Fail and Wrap need is derived
// again from the onion as it arrived, so the caller keeps that onion for as long as it keeps the HTLC. What the caller
// owes beyond that:
//
//   - Replay protection. The same HTLC onion must not be acted on twice. A message may be.
//   - Amounts and expiries. Peel reads what the payload says; whether the HTLC satisfies it is the caller's to check,
//     for a hop in a blinded path after Hop.Resolve.
//   - Failures in blinded paths. Whatever goes wrong with a blinded Hop after Peel, here or further on, is
//     passed through Hop.Refuse first, which hides it as BOLT 4 requires. An introduction node also delays its answer.
//   - Randomness. Session keys are arguments, 32 bytes of a cryptographic source each, never used twice.
//   - The meaning of path_id. It must be compared with what was issued, as must a message that does not carry one.
//
// A Router is immutable and may be used by many goroutines at once.
package onion
