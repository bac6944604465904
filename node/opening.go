package node

import (
	"context"
	"fmt"

	"lightningrod/chain"
	"lightningrod/chain/wallet"
	"lightningrod/channel"
	"lightningrod/node/store"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// OpenChannel is a wish to open a channel with a connected peer.
type OpenChannel struct {
	Peer     [33]byte
	Capacity uint64 // satoshi
	Push     lnwire.MilliSatoshi
	Private  bool           // not announced; short_channel_ids are aliases
	FeePerKw chain.FeePerKw // of the commitments; 0: by the estimates
}

// Open opens a channel and returns its number once its funding transaction is published.
func (n *Node) Open(ctx context.Context, o OpenChannel) (channel.ID, error) {
	p := n.host.Peer(o.Peer)
	if p == nil {
		return 0, fmt.Errorf("peer %s is not connected", shortNode(o.Peer))
	}
	if o.FeePerKw == 0 {
		o.FeePerKw = n.commitmentRate()
	}
	temp, err := n.random32()
	if err != nil {
		return 0, err
	}
	in := n.newChannel(o.Peer, temp, true, !o.Private)
	done := make(chan error, 1)
	n.openMu.Lock()
	n.opening[in.id] = done
	n.openMu.Unlock()
	n.engine.post(in, posted{ev: channel.Connected{Features: p.Features()}, conn: p},
		posted{ev: channel.Open{Capacity: o.Capacity, Push: o.Push, FeePerKw: o.FeePerKw}})
	gone := p.Done()
	for {
		select {
		case err := <-done:
			return in.id, err
		case <-gone:
			// The connection may have ended before the channel was known to those who are told.
			if gone = nil; !in.state.Load().Durable() {
				n.engine.postEvent(in, channel.Disconnected{})
			}
		case <-ctx.Done():
			n.engine.postEvent(in, channel.ForceClose{Reason: "opening was given up"})
			return 0, ctx.Err()
		case <-n.stopping:
			return 0, ErrStopped
		}
	}
}

// opened answers whoever waits in Open.
func (n *Node) opened(in *inbox, err error) {
	n.openMu.Lock()
	done := n.opening[in.id]
	delete(n.opening, in.id)
	n.openMu.Unlock()
	if done != nil {
		done <- err
	}
}

// openers are whoever waits in Open for the channel to be durable, and the rows of the coins that are locked for it: they are
// durable in the same write, or the transaction is as if it had never been.
func (n *Node) openers(id channel.ID) ([]chan<- error, store.Write) {
	n.openMu.Lock()
	defer n.openMu.Unlock()
	done := n.opening[id]
	if done == nil {
		return nil, nil
	}
	rows := n.funded[id].rows
	delete(n.opening, id)
	delete(n.funded, id) // it is going to be published
	return []chan<- error{done}, rows
}

// commitmentRate is the fee rate we open channels with. With anchors it only has to get the commitment into a mempool;
// it is paid for by CPFP when that counts.
func (n *Node) commitmentRate() chain.FeePerKw { return commitmentRate(n.backend.FeeRates().Sane()) }

func commitmentRate(r chain.FeeRates) chain.FeePerKw { return min(max(r.Normal, r.Floor), 2500) }

// adjustFees has the channels we opened follow the estimates, if they are far off: BOLT 2 "Updating Fees: update_fee".
func (n *Node) adjustFees(r chain.FeeRates) {
	want := commitmentRate(r)
	for _, in := range n.registry.each(nil) {
		s := in.state.Load()
		have := s.FeePerKw()
		if _, _, usable := s.Usable(); s.Opener() && usable && (want > have+have/4 || want < have-have/4) {
			n.engine.postEvent(in, channel.UpdateFee{FeePerKw: want})
		}
	}
}

// newChannel makes a channel that is about to be opened, and gives it a number that is durable before its first message.
func (n *Node) newChannel(peer [33]byte, temp [32]byte, opener, announce bool) *inbox {
	n.queue.reserve()
	script, rows := n.payoutScript()
	id := n.registry.next()
	crypto := n.keys.signer(id)
	height, hash := n.backend.Tip()
	c := n.cfg.Channel
	s := channel.New(channel.Params{
		ID: id, Local: n.id, Remote: peer, Opener: opener,
		Limits: channel.Limits{
			ToSelfDelay: c.ToSelfDelay, MaxAcceptedHTLCs: c.MaxAcceptedHTLCs, HTLCMinimum: 1,
		},
		BasePoints: crypto.basePoints(), Announce: announce, Alias: aliasOf(id), ShutdownScript: script,
		TempID: temp, ChainHash: *n.cfg.Params.GenesisHash, MinDepth: c.MinDepth, Height: height, Block: hash,
		MinCapacity: int64(c.MinCapacity), MaxCapacity: int64(c.MaxCapacity), FulfillMargin: c.FulfillMargin, Grace: n.grace(),
	})
	in := newInbox(id, peer, crypto, s)
	n.registry.add(in)
	n.put(&turn{rows: append(rows, store.Op{Table: store.Meta, Key: metaLastChannel, Value: u64(uint64(id))})})
	n.engine.postEvent(in, channel.Chain{Event: n.backend.FeeRates()})
	return in
}

var metaLastChannel = []byte("last channel")

// grace is how many blocks past its expiry an HTLC of ours may stay before the channel goes on chain. A client that sleeps
// may find HTLCs that its LSP failed long ago: it asks before it closes.
func (n *Node) grace() uint32 {
	if n.cfg.LSP {
		return 3
	}
	return rod.GraceBlocks
}

// aliasOf is the short_channel_id by which a peer may call channel n before it is confirmed, or instead. Blocks from
// 16,000,000 on are centuries away.
func aliasOf(n channel.ID) lnwire.ShortChannelID {
	return lnwire.ShortChannelID{BlockHeight: 16_000_000 + uint32(n>>24), TxIndex: uint32(n) & 0xffffff}
}

// payoutScript is a fresh script of the wallet.
func (n *Node) payoutScript() ([]byte, store.Write) {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	script, _, rows := n.wallet.NewAddress(wallet.P2TR)
	return script, walletRows(rows)
}

func walletRows(rows []wallet.Row) store.Write {
	w := make(store.Write, len(rows))
	for i, r := range rows {
		w[i] = store.Op{Table: store.Wallet, Key: r.Key, Value: r.Value}
	}
	return w
}

// fund answers NeedFunding with a transaction of the wallet, or ends the attempt.
func (n *Node) fund(in *inbox, need channel.NeedFunding) {
	// All channels count, and this one: each may need a coin to be closed with.
	reserve := wallet.AnchorReserve(len(n.registry.each(nil)))
	n.walletMu.Lock()
	tx, rows, err := n.wallet.Fund([]*wire.TxOut{wire.NewTxOut(need.Amount, need.Script)}, n.commitmentRate(), wallet.Options{Reserve: reserve})
	n.walletMu.Unlock()
	if err != nil {
		n.opened(in, fmt.Errorf("funding: %w", err))
		n.engine.postEvent(in, channel.ForceClose{Reason: "no funding"})
		return
	}
	n.openMu.Lock()
	n.funded[in.id] = funding{tx, walletRows(rows)}
	n.openMu.Unlock()
	for i, out := range tx.TxOut {
		if out.Value == need.Amount && string(out.PkScript) == string(need.Script) {
			n.engine.postEvent(in, channel.Funding{Tx: tx, Index: uint32(i)})
			return
		}
	}
	panic("the funding transaction lacks its output")
}

// funding is a funding transaction that is not to be published yet, and the rows that lock its coins.
type funding struct {
	tx   *wire.MsgTx
	rows store.Write
}

// unfund gives back the coins of a funding transaction that will never be published.
func (n *Node) unfund(in *inbox) {
	n.openMu.Lock()
	tx := n.funded[in.id].tx
	delete(n.funded, in.id)
	n.openMu.Unlock()
	if tx != nil {
		n.unlock(tx)
	}
}

// Close closes a channel: together with the peer, or by publishing our commitment.
func (n *Node) Close(id channel.ID, force bool) error {
	in := n.registry.get(id)
	if in == nil {
		return fmt.Errorf("no channel %d", id)
	}
	switch s := in.state.Load(); {
	case s.OnChain() != nil:
		return fmt.Errorf("channel %d is on chain already", id)
	case force && s.Phase() == channel.PhaseWaiting:
		return fmt.Errorf("channel %d waits for its peer to close it: its state may be old, so our commitment is never published", id)
	}
	var ev channel.Event = channel.Close{}
	if force {
		ev = channel.ForceClose{Reason: reasonOperator}
	}
	n.engine.postEvent(in, ev)
	return nil
}

// blockConnected is every block, for the wallet and the graph. Its rows ride with the next group.
func (n *Node) blockConnected(b chain.Block) {
	n.walletMu.Lock()
	rows, err := n.wallet.Connect(b)
	n.walletMu.Unlock()
	if err != nil {
		n.log.Debug("block is known to the wallet", "height", b.Height, "error", err)
	}
	w := walletRows(rows)
	w = append(w, store.Op{Table: store.Meta, Key: metaTip, Value: append(u64(uint64(b.Height)), b.Hash[:]...)})
	n.put(&turn{rows: w, events: []Event{event(BlockSeen, "height", b.Height)}})
	n.gossip.block(b)
}

func (n *Node) blockDisconnected(height uint32) {
	n.walletMu.Lock()
	rows := n.wallet.Disconnect(height)
	n.walletMu.Unlock()
	n.put(&turn{rows: walletRows(rows)})
}

var metaTip = []byte("tip")

// NewAddress is a fresh address of the wallet.
func (n *Node) NewAddress() (string, []byte, error) {
	n.walletMu.Lock()
	script, addr, rows := n.wallet.NewAddress(wallet.P2TR)
	n.walletMu.Unlock()
	return addr, script, n.durably(&turn{rows: walletRows(rows)})
}

// WalletBalance is what the wallet has on chain, in satoshi.
func (n *Node) WalletBalance() (confirmed, unconfirmed btcutil.Amount) {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	return n.wallet.Balance()
}

// Owns says whether a script pays the wallet.
func (n *Node) Owns(script []byte) bool {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	return n.wallet.Owns(script)
}

// durably queues a turn and waits until it is on the disk.
func (n *Node) durably(t *turn) error {
	done := make(chan error, 1)
	t.done = append(t.done, done)
	n.put(t)
	return <-done
}
