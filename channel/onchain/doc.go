// Package onchain is BOLT 5 for one channel, as a pure state machine: from the moment a commitment is to be published, or
// any transaction has spent the funding output, until everything of ours is swept and every HTLC has ended.
//
//	s, err = New(params)               // the channel as it stood when it was closed
//	s, out = Apply(s, crypto, events)  // total: any event in any state
//	s, err = Decode(params, bytes)     // after a restart; then ask for s.Watches()
//
// # How it thinks
//
// A State is facts and nothing else: what spent which output at which height, which preimages forwarding has told, what
// has been told to forwarding, and how much was last bid for an output. A reorganisation is: forget the facts above the
// fork. Everything else is computed from the facts at every turn:
//
//	funding output spent by  -->  whose commitment  -->  its outputs  -->  one claim for each that is ours
//	                                                                         |
//	                                              height, deadline, value ---+--> fee, transaction
//
// so there is nothing to repair when a claim is lost, a preimage comes late, or the chain forks. A claim spends one
// output; claims are never put together, so no spend by the peer can invalidate more than the claim it is about.
//
//	                    our commitment          the peer's              a revoked one of the peer
//	balance             after to_self_delay     after one block         both at once: to_local by penalty
//	HTLC we offered     HTLC-timeout            after cltv_expiry       penalty
//	HTLC we received    HTLC-success            with the preimage       penalty
//	second stage        after to_self_delay     (the peer's)            penalty
//
// # Fees
//
// What a claim pays rises linearly with the height, from the market's rate when the claim is first possible to half of
// its value at its deadline (see fee); a sweep that nobody competes with pays the market's rate, however late. It is never
// lowered, whatever conflicts come and go. Sweeps and penalties pay out of their own value. HTLC transactions have no fee
// and commitments a low one, so these need coins of the wallet: a Bump asks for them, the event Funded brings them. A Bump
// that is not answered is asked again at the next block, and so is one whose coins are gone (chain.Stranded).
//
// # How HTLCs end
//
// An HTLC we offered is Resolved exactly once: with the preimage the moment any spend of any output shows it, be it only in the
// mempool; or as failed, six blocks after it could last be claimed by the peer, and only if no preimage is known. One
// function decides that for every commitment that may confirm. An HTLC the peer offered is claimed once Settle has brought
// its preimage, however late; preimages seen on chain are told to forwarding and never used for another HTLC here, which has a
// record of its own. HTLCs are named by side and id. Hashes only find preimages.
//
// # What the caller owes
//
//   - New once the funding output is spent or ours is to be published, with the channel frozen as it is: no HTLC may be
//     added or removed after it. Then Close if ours is to be published;
//   - every fact of the Requests in Output and Watches, every block (BlockConnected and BlockDisconnected), new FeeRates,
//     spends of watched outputs in the mempool (chain.Spent with Height 0), and with every block the transactions that are Stranded;
//   - Encode durable before Chain and Bumps leave; Resolved and Ended are for inside the node;
//   - the same Params to Decode as to New, but for Stale, Height and Preimage, which only New reads. They are not in the encoding: the
//     channel has all of it in its own rows, frozen;
//   - Settle for every preimage of an HTLC the peer offered, also after the close;
//   - an answer (event Revoked) to Output.Need;
//   - a wallet with a reserve of confirmed coins, for Bumps; and Release told to it. A Bump is a call of wallet.Fund with Input, Outputs,
//     Extra, LockTime and Replaces, see TestBumpByWallet;
//   - publishing that goes on until a conflict is confirmed, whatever the backend says: every block asks again. Transactions in an
//     Output are shared and must not be changed.
//
// BOLT5.md says which requirement is met where, and which test shows it.
package onchain
