package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"lightningrod/channel/onchain"
	"lightningrod/node"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/wire"
)

// This file has the acts in which channels go on chain.

// advance mines blocks and waits until the channels of everybody who is awake have seen them.
func (s *stage) advance(blocks int) error {
	if err := s.mine(blocks); err != nil {
		return err
	}
	height, _ := s.chain.Tip()
	for _, a := range s.actors {
		if !a.awake {
			continue
		}
		err := s.until("blocks", fmt.Sprintf("%s has seen block %d", a.name, height), func() bool {
			return !slices.ContainsFunc(a.node.Channels(), func(c node.ChannelInfo) bool { return c.State.Height() < height })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// advanceTo mines up to a height.
func (s *stage) advanceTo(height uint32) error {
	for {
		tip, _ := s.chain.Tip()
		if tip >= height {
			return nil
		}
		if err := s.advance(int(min(height-tip, 12))); err != nil {
			return err
		}
	}
}

// pooled waits for a transaction in the mempool.
func (s *stage) pooled(check, what string, is func(*wire.MsgTx) bool) error {
	return s.until(check, what+" is published", func() bool { return slices.ContainsFunc(s.chain.Mempool(), is) })
}

// pulls says whether a transaction spends an output of an unconfirmed commitment of a channel.
func (s *stage) pulls(c node.ChannelInfo) func(*wire.MsgTx) bool {
	return func(child *wire.MsgTx) bool {
		return slices.ContainsFunc(s.chain.Mempool(), func(tx *wire.MsgTx) bool {
			return tx.TxIn[0].PreviousOutPoint == c.State.Funding() && child.TxIn[0].PreviousOutPoint.Hash == tx.TxHash()
		})
	}
}

// channelWith is an actor's channel with another.
func (a *actor) channelWith(x *actor) (node.ChannelInfo, error) {
	for _, c := range a.node.Channels() {
		if c.Peer == x.node.ID() {
			return c, nil
		}
	}
	return node.ChannelInfo{}, fmt.Errorf("%s has no channel with %s", a.name, x.name)
}

// closeByForce has an actor publish its commitment of a channel, and confirms it.
func (s *stage) closeByForce(check string, a, with *actor) (*wire.MsgTx, error) {
	c, err := a.channelWith(with)
	if err != nil {
		return nil, err
	}
	if err := a.node.Close(c.ID, true); err != nil {
		return nil, err
	}
	return s.confirmClose(check, c)
}

// confirmClose waits for a commitment, and confirms it.
func (s *stage) confirmClose(check string, c node.ChannelInfo) (*wire.MsgTx, error) {
	spends := func(tx *wire.MsgTx) bool { return tx.TxIn[0].PreviousOutPoint == c.State.Funding() }
	if err := s.pooled(check, "the commitment", spends); err != nil {
		return nil, err
	}
	if err := s.advance(1); err != nil {
		return nil, err
	}
	tx := s.closing(c.State.Funding())
	if tx == nil {
		return nil, fail(check, "the commitment is not in the block")
	}
	return tx, nil
}

// shows says whether a transaction shows the preimage of the payment.
func (s *stage) shows(tx *wire.MsgTx) bool {
	return slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool {
		return slices.ContainsFunc(in.Witness, func(item []byte) bool { return len(item) == 32 && sha256.Sum256(item) == s.invoice.Hash })
	})
}

// expiry is when A's HTLC at LSP_a runs out.
func (s *stage) expiry() (uint32, error) {
	in, err := s.expect("held-at-lsp-a", s.lspA, 1, node.HTLCIn, "hash", s.hash())
	if err != nil {
		return 0, err
	}
	return uint32(number(in[0], "expiry")), nil
}

// claimOnChain has A's phone ring in vain until LSP_a closes the channel and claims the HTLC with the preimage.
func claimOnChain(s *stage) error {
	const check = "claimed-in-time"
	s.want.lost = true
	if err := s.called(s.a, rod.MethodPreimageReady); err != nil {
		return err
	}
	expiry, err := s.expiry()
	if err != nil {
		return err
	}
	limit := expiry - rod.DefaultConfig(s.lspA.node.ID()).ClaimMargin
	if err := s.advanceTo(limit - 1); err != nil {
		return err
	}
	c, err := s.lspA.channelWith(s.a)
	if err != nil {
		return err
	}
	if onChain(c) {
		return fail(check, "LSP_a's channel is %s before block %d", c.State.Phase(), limit)
	}
	if err := s.aside(s.a, "does not hear its phone; until block %d LSP_a waits for it with the preimage", limit-1); err != nil {
		return err
	}
	if err := s.advance(1); err != nil {
		return err
	}
	// With an HTLC to claim the commitment is in a hurry. Its child holds LSP_a's only coins: without it in the same block the claim would come a block later.
	if err := s.pooled(check, "the child that pays for the commitment", s.pulls(c)); err != nil {
		return err
	}
	if _, err := s.confirmClose(check, c); err != nil {
		return err
	}
	if err := s.aside(s.lspA, "closes the channel in block %d, %d blocks before the HTLC runs out, with its own commitment", limit+1, expiry-limit-1); err != nil {
		return err
	}
	if err := s.pooled(check, "the claim", s.shows); err != nil {
		return err
	}
	if err := s.advance(1); err != nil {
		return err
	}
	height, _ := s.chain.Tip()
	if !slices.ContainsFunc(s.transactions(), s.shows) || height >= expiry {
		return fail(check, "at block %d the preimage is not in a block, and the HTLC runs out at %d", height, expiry)
	}
	s.saw(check, "LSP_a claimed the HTLC in block %d, %d blocks before A could have taken it back", height, expiry-height)
	s.saw("preimage", "the claim on chain shows the preimage of the invoice's payment hash %.16s, to A and everybody", s.hash())
	return s.tell(8, s.lspA, "claims the HTLC on chain with the preimage, in block %d; A may sleep on", height)
}

// closeWay has LSP_b close the only channel by which LSP_a could send the payment on.
func closeWay(s *stage) error {
	if _, err := s.closeByForce("way-closed", s.lspB, s.lspA); err != nil {
		return err
	}
	if n := len(s.heldParts()); n != s.parts {
		return fail("way-closed", "LSP_a holds %d HTLCs when its channel with LSP_b is closed, want %d", n, s.parts)
	}
	if err := s.lookDownstream(); err != nil {
		return err
	}
	s.saw("way-closed", "LSP_a still held when its channel with LSP_b, from which nothing was to be had, was closed")
	return s.aside(s.lspB, "closes its channel with LSP_a by force; LSP_a holds on, as another way may come")
}

// closePayer has LSP_a close its channel with A, with the HTLC that it holds.
func closePayer(s *stage) error {
	const check = "hold-void"
	if _, err := s.closeByForce(check, s.lspA, s.a); err != nil {
		return err
	}
	err := s.until(check, "LSP_a holds nothing any more", func() bool { return len(s.heldParts()) == 0 })
	if err != nil {
		return err
	}
	return s.aside(s.lspA, "closes its channel with A by force as well: the hold is void, and the HTLC is in its commitment on chain")
}

// tooLate shows that the unblock which came after the close has released nothing.
func tooLate(s *stage) error {
	const check = "hold-void"
	if err := s.advance(1); err != nil {
		return err
	}
	if err := s.lookDownstream(); err != nil {
		return err
	}
	if n := s.count(s.lspA, node.HTLCForwarded); n > 0 {
		return fail(check, "LSP_a forwarded %d HTLCs of a channel that is on chain", n)
	}
	s.want.expecting = 1
	s.saw(check, "LSP_a's hold ended with the channel; payment_unblock came after that, and released nothing")
	if err := s.b.sleep(); err != nil {
		return err
	}
	return s.aside(s.lspA, "releases nothing: what is on chain is settled on chain")
}

// takeBack has A come back after the HTLC has run out, and take it.
func takeBack(s *stage) error {
	const check = "refunded"
	s.want.refunded = true
	expiry, err := s.expiry()
	if err != nil {
		return err
	}
	if err := s.advanceTo(expiry); err != nil {
		return err
	}
	if err := s.a.wake(); err != nil {
		return err
	}
	if err := s.pooled(check, "A's claim", func(tx *wire.MsgTx) bool { return tx.LockTime == expiry }); err != nil {
		return err
	}
	if err := s.advance(1); err != nil {
		return err
	}
	height, _ := s.chain.Tip()
	const deep = 6 // blocks: from there on the end of an HTLC is told
	if err := s.advance(deep); err != nil {
		return err
	}
	if _, err := s.expect(check, s.a, 1, node.PaymentFailed, "hash", s.hash()); err != nil {
		return err
	}
	detail, err := s.showPreimage()
	if err != nil {
		return fail("preimage", "%v", err)
	}
	s.saw("preimage", "%s", detail)
	s.saw(check, "A took the HTLC back in block %d; it had run out at %d", height, expiry)
	return s.aside(s.a, "comes back, and takes its HTLC from the commitment in block %d", height)
}

// copyFiles keeps A's files as they are while LSP_a holds, for what A does later.
func copyFiles(s *stage) error {
	if s.a.awake {
		return fmt.Errorf("%s is awake", s.a.name)
	}
	if err := os.CopyFS(s.oldFiles(), os.DirFS(s.a.cfg.Dir)); err != nil {
		return err
	}
	return s.aside(s.a, "keeps a copy of its phone's files, in which the payment is not yet made")
}

func (s *stage) oldFiles() string { return filepath.Join(s.dir, "A-copy") }

// nowhere is a network without connections.
type nowhere struct{}

func (nowhere) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("the cable is cut")
}

// cheat has A publish the commitment of its copy. The copy must not meet LSP_a, from whom it would hear that it is old.
func cheat(s *stage) error {
	const check = "revoked"
	detail, err := s.showPreimage()
	if err != nil {
		return fail("preimage", "%v", err)
	}
	s.saw("preimage", "%s", detail)
	if err := s.a.sleep(); err != nil {
		return err
	}
	s.a.cfg.Dir, s.a.cfg.Dialer = s.oldFiles(), nowhere{}
	if err := s.a.wake(); err != nil {
		return err
	}
	c, err := s.a.channelWith(s.lspA)
	if err != nil {
		return err
	}
	if len(c.State.Offered()) != s.parts {
		return fail(check, "the copy has %d HTLCs, want %d", len(c.State.Offered()), s.parts)
	}
	s.want.punished = true
	tx, err := s.closeByForce(check, s.a, s.lspA)
	if err != nil {
		return err
	}
	owner, commitment, height := onchain.Owner(0), uint64(0), uint32(0)
	err = s.until(check, "LSP_a has seen that the channel was closed", func() (ok bool) {
		if now, err := s.lspA.channelWith(s.a); err == nil && now.State.OnChain() != nil {
			owner, commitment, height, ok = now.State.OnChain().Closed()
		}
		return ok
	})
	if err != nil {
		return err
	}
	if owner != onchain.Cheat {
		return fail(check, "A published %v", owner)
	}
	s.saw(check, "commitment %d of A is in block %d; A had revoked it, and it has A's balance of before the payment", commitment, height)
	return s.aside(s.a, "starts from the copy, cut off from everybody, and publishes its commitment of then: %.8s in block %d", tx.TxHash(), height)
}

// punish has LSP_a take every output of the revoked commitment.
func punish(s *stage) error {
	const check = "justice"
	c, err := s.lspA.channelWith(s.a)
	if err != nil {
		return err
	}
	tx := s.closing(c.State.Funding())
	rich := len(tx.TxOut) - len(anchors(tx))
	taken := func(list []*wire.MsgTx) (count int) {
		for _, by := range list {
			mine := slices.ContainsFunc(by.TxOut, func(out *wire.TxOut) bool { return s.lspA.node.Owns(out.PkScript) })
			for _, in := range by.TxIn {
				if mine && in.PreviousOutPoint.Hash == tx.TxHash() && s.output(in.PreviousOutPoint).Value != anchor {
					count++
				}
			}
		}
		return count
	}
	if err := s.until(check, "LSP_a has published its claims", func() bool { return taken(s.chain.Mempool()) == rich }); err != nil {
		return err
	}
	if err := s.advance(1); err != nil {
		return err
	}
	if n := taken(s.transactions()); n != rich {
		return fail(check, "LSP_a has taken %d outputs of the revoked commitment, want %d", n, rich)
	}
	height, _ := s.chain.Tip()
	s.saw(check, "LSP_a took all %d outputs of the revoked commitment in block %d, the first after it", rich, height)
	return s.aside(s.lspA, "has the secret of that commitment, and takes all %d outputs in the next block: A's balance, and the HTLC", rich)
}

// closingText says how far the channels on chain are.
func (s *stage) closingText() (text string) {
	for _, a := range s.actors {
		for _, c := range a.node.Channels() {
			if a.awake && onChain(c) {
				text += fmt.Sprintf("%s: %v; ", a.name, c.State)
			}
		}
	}
	return text + plural(len(s.chain.Mempool()), "transaction") + " in the mempool"
}

// bury lets blocks come until everybody who is awake has forgotten the channels that were closed.
func bury(s *stage) error {
	from, _ := s.chain.Tip()
	over := func() bool {
		for _, a := range s.actors {
			if a.awake && slices.ContainsFunc(a.node.Channels(), onChain) {
				return false
			}
		}
		return len(s.chain.Mempool()) == 0
	}
	for !over() {
		if err := s.advance(6); err != nil {
			return err
		}
		if tip, _ := s.chain.Tip(); tip > from+1000 {
			return fail("buried", "%d blocks later a channel is still not over: %s", tip-from, s.closingText())
		}
	}
	tip, _ := s.chain.Tip()
	return s.aside(s.lspA, "has everything in its wallet, a hundred blocks deep, and forgets the channel; it is block %d", tip)
}
