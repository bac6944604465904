package nodetest

import (
	"errors"
	"math"
	"slices"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// Bug is a mistake put back on purpose: if the simulator does not find it, its silence about others is worth nothing. Each is expressed in
// the simulator's own wiring, so that no production code has a switch for it: those on chain by what a channel hears, and by what of it
// is published. Only BugNearDust is inside a channel; it is there with the build tag rodbugs alone.
type Bug uint8

// The bugs. Bugs has what they are.
const (
	NoBug Bug = iota
	BugReleaseBeforeDurable
	BugUnsynced
	BugOldConnection
	BugClearForgotten
	BugRowsApart
	BugCommandsFirst
	BugSettledLost
	BugFailOnDisconnect
	BugFailOnRemoval
	BugOutcomeIsEnd
	BugChildrenForgotten
	BugReplayed
	BugReleasedTwice
	BugHeldForgotten
	BugMemberLost
	BugHashOnly
	BugAnyPid
	BugEarlyUnblockLost
	BugBlocksUnheard
	BugTicksUnheard
	BugNoticeOrder
	BugOnChainUnheard
	BugInvoiceLost
	BugPaymentLost
	BugRefusedUnheard
	BugForkTrusted
	BugWatchesFirst
	BugRefusalKept
	BugWaitsForever
	BugEndedCommitted
	BugStrandedUnheard
	BugMissingTheirs
	BugMissingOurs
	BugOwnCommitment
	BugHashAndAmount
	BugFirstOfEqual
	BugBatched
	BugFeesReset
	BugNearDust
	BugForkKept
	BugRowEarly
	BugLowestOnly
	endOfBugs
)

// Bugs describes the bugs; ID is the one of the catalogue of known attacks, if it has one there.
var Bugs = [endOfBugs]struct{ ID, Text string }{
	NoBug:                   {"", "none"},
	BugReleaseBeforeDurable: {"P7", "messages leave before their turn is on the disk"},
	BugUnsynced:             {"P2", "a power cut takes back the last write that was thought durable"},
	BugOldConnection:        {"", "messages computed for one connection leave on the next"},
	BugClearForgotten:       {"", "the engine forgets to delete settled rows"},
	BugRowsApart:            {"P7", "what forwarding remembers is written after what the channel forgets"},
	BugCommandsFirst:        {"", "commands run before the rows of their decision are queued"},
	BugSettledLost:          {"", "no settled rows: an outcome between two channels is memory"},
	BugFailOnDisconnect:     {"", "an incoming HTLC is failed because the peer of its outgoing one is gone"},
	BugFailOnRemoval:        {"H27", "an incoming HTLC is failed at update_fail_htlc, not when it is irrevocable"},
	BugOutcomeIsEnd:         {"", "recovery takes an outgoing HTLC with an outcome for ended"},
	BugChildrenForgotten:    {"H6", "recovery does not look for outgoing HTLCs"},
	BugReplayed:             {"H6", "recovery offers every committed HTLC as if it were new"},
	BugReleasedTwice:        {"H7", "a second unblock releases a second time"},
	BugHeldForgotten:        {"H5", "requests to hold are memory"},
	BugMemberLost:           {"H5", "which HTLCs are held is memory"},
	BugHashOnly:             {"H13", "a release finds HTLCs by hash alone"},
	BugAnyPid:               {"H8", "any pid releases"},
	BugEarlyUnblockLost:     {"H10", "an unblock that comes before its HTLC is forgotten"},
	BugBlocksUnheard:        {"H1", "forwarding does not hear of blocks"},
	BugTicksUnheard:         {"H22", "forwarding does not hear the time"},
	BugNoticeOrder:          {"H14", "an HTLC committed in the turn in which its channel goes on chain is forwarded"},
	BugOnChainUnheard:       {"H14", "forwarding does not hear that a channel went on chain"},
	BugInvoiceLost:          {"P7", "that an invoice is paid is memory"},
	BugPaymentLost:          {"", "payments of ours are memory"},
	BugRefusedUnheard:       {"", "an Add that was refused gets no answer"},
	BugForkTrusted:          {"", "after a restart, a block whose hash is not known is taken for one of the best chain"},
	BugWatchesFirst:         {"", "watches are looked up before the tracker has left a fork"},
	BugRefusalKept:          {"", "a payment that cannot be made stays with the payer's side"},
	BugWaitsForever:         {"", "what waits for its LSP is never given up"},
	BugEndedCommitted:       {"", "the payer tells of an HTLC that went on chain and ended before it was irrevocably committed"},
	BugStrandedUnheard:      {"A13", "a claim whose coin a reorganisation has taken away gets no other"},
	BugMissingTheirs:        {"A1", "an HTLC that is not in the peer's confirmed commitment is failed, its preimage known"},
	BugMissingOurs:          {"A2", "an HTLC that is not in our confirmed commitment is failed, its preimage known"},
	BugOwnCommitment:        {"A3", "only preimages of HTLCs in our own commitment are looked for on chain"},
	BugHashAndAmount:        {"A4", "an HTLC on chain is known by its hash and amount"},
	BugFirstOfEqual:         {"A5", "of HTLCs with one hash in a revoked commitment only the first is failed"},
	BugBatched:              {"A6", "penalties are put together, and are lost together"},
	BugFeesReset:            {"A8", "claims are put together, and their fees begin anew whenever one is lost"},
	BugNearDust:             {"C2", "HTLCs a little above dust are left out when fees are reckoned"},
	BugRowEarly:             {"P7", "the row of a revoked commitment is read while it may still be in the queue"},
	BugLowestOnly:           {"A13", "after a restart, only who has seen the fewest blocks is compared with the best chain"},
	BugForkKept:             {"A13", "channels do not hear of blocks that have left the chain"},
}

// rows are the rows of a decision that are written.
func (b Bug) rows(rows []forward.Row) []forward.Row {
	var drop []string
	switch b {
	case BugSettledLost:
		drop = []string{forward.TableSettled}
	case BugHeldForgotten:
		drop = []string{rod.TableRequest, rod.TableMember}
	case BugMemberLost:
		drop = []string{rod.TableMember}
	case BugInvoiceLost:
		drop = []string{forward.TableInvoice}
	case BugPaymentLost:
		drop = []string{forward.TablePayment}
	default:
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r forward.Row) bool { return slices.Contains(drop, r.Table) })
}

// order is the order in which a turn's notices are heard.
func (b Bug) order(notices []channel.Notice) []channel.Notice {
	switch b {
	case BugNoticeOrder:
		return notices
	case BugOnChainUnheard, BugRefusedUnheard:
		notices = slices.DeleteFunc(slices.Clone(notices), func(x channel.Notice) bool {
			switch x := x.(type) {
			case channel.OnChain:
				return b == BugOnChainUnheard
			case channel.Refused:
				_, forwarded := x.Origin.(channel.Forward)
				return b == BugRefusedUnheard && forwarded
			}
			return false
		})
	}
	return forward.InOrder(notices)
}

// misheard are events that forwarding hears although nothing of the kind has happened.
func (b Bug) misheard(in *inbox, batch []posted) (evs []forward.Event) {
	fail := func(k channel.Key, origin channel.Origin) {
		if _, ok := origin.(channel.Forward); ok {
			o := channel.Fail{Reason: []byte("gone")}
			evs = append(evs, forward.Resolved{Resolved: channel.Resolved{Key: k, Origin: origin, Outcome: o}})
		}
	}
	if b != BugFailOnDisconnect && b != BugFailOnRemoval {
		return nil
	}
	for _, p := range batch {
		_, gone := p.ev.(channel.Disconnected)
		for _, h := range in.state.Offered() {
			_, failed := h.Outcome.(channel.Fail)
			if b == BugFailOnDisconnect && gone || b == BugFailOnRemoval && failed {
				fail(h.HTLC.Key, h.HTLC.Origin)
			}
		}
	}
	return evs
}

// carryOut queues a decision's rows and posts its commands, in the wrong way.
func (b Bug) carryOut(n *node, t *turn, outs []forward.Output) bool {
	if b != BugRowsApart && b != BugCommandsFirst {
		return false
	}
	var rows turn
	for _, out := range outs {
		rows.rows = append(rows.rows, out.Rows...)
		rows.replies = append(rows.replies, out.Replies...)
		for _, x := range out.Notices {
			n.ledger(&rows, x)
		}
	}
	switch b {
	case BugRowsApart:
		n.put(t)
		n.put(&rows)
		n.commands(outs)
	case BugCommandsFirst:
		n.commands(outs)
		n.runAll()
		t.rows, t.replies, t.mail = append(t.rows, rows.rows...), rows.replies, append(t.mail, rows.mail...)
		n.put(t)
	}
	return true
}

// survey changes what recovery finds.
func (b Bug) survey(n *node, d *forward.Durable) {
	switch b {
	case BugOutcomeIsEnd:
		d.Outgoing = slices.DeleteFunc(d.Outgoing, func(h channel.HTLC) bool {
			live := find(n.get(h.Key.Channel).state.Offered(), h.Key.HTLC)
			return live.Outcome != nil
		})
	case BugChildrenForgotten:
		d.Outgoing = slices.DeleteFunc(d.Outgoing, func(h channel.HTLC) bool { _, ok := h.Origin.(channel.Forward); return ok })
	case BugReplayed:
		d.Incoming = slices.DeleteFunc(d.Incoming, func(i forward.Incoming) bool { return i.Outcome == nil })
	}
}

// trusts says whether what somebody has seen before a restart is not compared with the best chain.
func (b Bug) trusts(s tip, all []tip) bool {
	switch b {
	case BugForkTrusted:
		return s.hash == chainhash.Hash{}
	case BugLowestOnly:
		return slices.ContainsFunc(all, func(o tip) bool { return o.height < s.height })
	}
	return false
}

// started is after recovery.
func (b Bug) started(n *node) {
	if b != BugReplayed {
		return
	}
	for _, in := range n.inboxes {
		for _, h := range in.state.Received() {
			if h.Stage == channel.Irrevocable && h.Outcome == nil {
				n.think(forward.Hear(in.id, in.state.Peer(), channel.Committed{HTLC: *h.HTLC}, peel))
			}
		}
	}
}

// unblock treats an unblock in the wrong way; right and armed are what it is.
func (b Bug) unblock(p *payment, right, armed bool) bool {
	lsp := p.lsp()
	release := func(o *payment) {
		lsp.think(forward.Rod{Event: rod.Unblock{Pid: o.pid, Next: o.payer.id}})
	}
	switch {
	case b == BugAnyPid && !right:
		before := lsp.forward.Rod().Requests()
		release(p)
		lsp.w.must(invPid, len(before) == 0 || p.unblocked || !armed, "a wrong pid has released")
	case b == BugHashOnly && right && armed:
		for _, o := range lsp.w.heldOnes() {
			if o != p && o.hash == p.hash && o.lsp() == lsp {
				release(o)
			}
		}
		return false // and its own
	case b == BugReleasedTwice && right && !armed:
		for _, add := range lsp.adds {
			if o, _ := lsp.w.partOf(&add.HTLC); o == p {
				lsp.command(add)
			}
		}
	case b == BugEarlyUnblockLost && right && armed && p.early():
		p.unblocked = true
	default:
		return false
	}
	return true
}

// refusal is the answer to an Add nobody can take.
func refusal(h channel.HTLC) forward.Event {
	return forward.Refused{Refused: channel.Refused{Origin: h.Origin, HTLC: h, Err: errors.New("no such channel")}}
}

const all = math.MaxInt

// foundBy is a seed that finds a bug, the first from 1 on when it was looked for, so that a run of the tests need not look for one. Where it finds nothing any more TestBugs
// fails: look for another with -bugseeds.
var foundBy = [endOfBugs]int64{
	BugReleaseBeforeDurable: 370,
	BugUnsynced:             1,
	BugOldConnection:        11,
	BugClearForgotten:       1,
	BugRowsApart:            183,
	BugCommandsFirst:        1,
	BugSettledLost:          36,
	BugFailOnDisconnect:     1,
	BugFailOnRemoval:        2,
	BugOutcomeIsEnd:         333,
	BugChildrenForgotten:    1,
	BugReplayed:             1,
	BugReleasedTwice:        3,
	BugHeldForgotten:        12,
	BugMemberLost:           6,
	BugHashOnly:             4,
	BugAnyPid:               3,
	BugEarlyUnblockLost:     4,
	BugBlocksUnheard:        4,
	BugTicksUnheard:         6,
	BugNoticeOrder:          219,
	BugOnChainUnheard:       103,
	BugInvoiceLost:          1,
	BugPaymentLost:          6,
	BugRefusedUnheard:       33,
	BugForkTrusted:          1,
	BugWatchesFirst:         6,
	BugRefusalKept:          12,
	BugWaitsForever:         17,
	BugEndedCommitted:       259698,
	BugStrandedUnheard:      684850,
	BugMissingTheirs:        1164,
	BugMissingOurs:          112,
	BugOwnCommitment:        247,
	BugHashAndAmount:        7,
	BugFirstOfEqual:         240,
	BugBatched:              65,
	BugFeesReset:            6,
	BugNearDust:             86,
	BugForkKept:             78,
	BugRowEarly:             420,
	BugLowestOnly:           2027,
}
