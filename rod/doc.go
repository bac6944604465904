// Package rod is the protocol of Lightning Rod: holding a payment at the payer's own channel peer until the payee says,
// through that peer, that it is ready. PROTOCOL.md is its specification, testdata/vectors its test vectors.
//
// The package is values in, values out: no clock, no randomness, no I/O. It sees the bytes of TLV streams and knows their
// coding; it knows neither channels nor onions. Time comes as Tick and Block, secrets come as arguments, and everything that
// must survive a restart leaves as rows.
//
//	payer A             LSP_a (Table)                          LSP_b (Mailbox)        payee B (Payee)
//	(Payer)
//	  | rod_hold  ------->| request Armed
//	  |<--- rod_hold_ack -|
//	  | update_add_htlc ->| member: Judge = Hold
//	  | rod_notice -------|------------------------------------> kept, B is woken ---->|
//	  | (asleep)          |<--- onion message for A, payment_unblock = pid ------------| rod_ready
//	  |                   | request Released, Judge = Pass ----- update_add_htlc ----->|
//	  |<-- woken ---------|<---------------------------------- update_fulfill_htlc ----|
//
// Life of a request (Table):
//
//	           HTLC committed: member         unblock (all parts there, or 60 s)        last member has an outcome
//	Armed ---------------------------> Armed ------------------------------> Released ---------------------------> tombstone
//	  |  cancel, shutdown, on chain: Withdrawn    deadline, TTL: Expired                                              ^
//	  +---------------------------------> members are given up, also after a restart ---------------------------------+
//
// What the caller owes the Table:
//
//   - Every call is under one lock, the one that also covers the index of held HTLCs.
//   - Tick and Block come before anything that depends on them; after Load, one of each comes first.
//   - Judge is asked about an incoming HTLC once it is irrevocably committed, again whenever Released names its peer and hash,
//     and again after a restart. When the verdict says Member, Apply(Member{h}) follows in the same turn, with h already in
//     the index of held HTLCs if the verdict is Hold.
//   - Fulfilled or Failed follows when the outcome of a member is known, Ended when it is irrevocable with the payer. They are
//     harmless for other HTLCs.
//   - Rows of an Output are written in one transaction with what the caller does because of it; Replies, Wakes and Claim
//     leave after that. Released and GiveUp are acted on at once, GiveUp only for HTLCs that have no child.
//   - Nothing released is added to a channel while the tip is stale.
//
// Payer and Payee are the two ends, Mailbox keeps onion messages for a client that is away, Waker decides when a sleeping
// client is woken, Waiting bounds how long an ordinary HTLC waits for that. Package rod/lsps holds the JSON side.
package rod
