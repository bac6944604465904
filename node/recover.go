package node

import (
	"encoding/binary"
	"fmt"

	"lightningrod/chain/wallet"
	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/peer"
	"lightningrod/rod"
	"lightningrod/rod/lsps"
)

// recover makes everything that the rows describe. It is the same whether the node was stopped or its power was cut, and
// for a node without a past.
func (n *Node) recover() error {
	if err := n.loadEvents(); err != nil {
		return err
	}
	asks, durable, err := n.loadChannels()
	if err != nil {
		return err
	}
	if err := n.loadWallet(); err != nil {
		return err
	}
	if err := n.loadTracker(append(asks, n.republish()...)); err != nil {
		return err
	}
	n.gossip = newGossip(n)
	if err := n.gossip.load(n.store); err != nil {
		return err
	}
	for _, in := range n.registry.each(nil) {
		n.gossip.introduce(in)
	}
	if err := n.loadBook(); err != nil {
		return err
	}
	if err := n.loadPeers(); err != nil {
		return err
	}
	if n.postbox, err = newPostbox(n); err != nil {
		return err
	}
	if err := n.loadBrain(durable); err != nil {
		return err
	}
	if err := n.loadSightings(); err != nil {
		return err
	}
	return n.postbox.load(n.store)
}

// loadChannels restores every channel. Asks are the watches and publications that they still need.
func (n *Node) loadChannels() (asks []chainAsk, d forward.Durable, err error) {
	if last, err := n.store.Get(store.Meta, metaLastChannel); err != nil {
		return nil, d, err
	} else if len(last) == 8 {
		n.registry.last = channel.ID(binary.BigEndian.Uint64(last))
	}
	bodies, err := loadBodies(n.store)
	if err != nil {
		return nil, d, err
	}
	err = n.store.Load(store.Channel, func(key, core []byte) error {
		id := channel.ID(binary.BigEndian.Uint64(key))
		s, out, err := channel.Restore(core, bodies[id])
		if err != nil {
			return fmt.Errorf("channel %d: %w", id, err)
		}
		delete(bodies, id)
		if s.ID() != id {
			return fmt.Errorf("channel %d: its row says %d", id, s.ID())
		}
		n.registry.add(newInbox(id, s.Peer(), n.keys.signer(id), s))
		for _, r := range out.Chain {
			asks = append(asks, chainAsk{owner: uint64(id), req: r})
		}
		return nil
	})
	if err != nil {
		return nil, d, err
	}
	for id := range bodies {
		return nil, d, fmt.Errorf("HTLCs of channel %d, which has no row", id)
	}
	return asks, d, nil
}

func (n *Node) loadWallet() error {
	var rows []wallet.Row
	err := n.store.Load(store.Wallet, func(key, value []byte) error {
		rows = append(rows, wallet.Row{Key: key, Value: value})
		return nil
	})
	if err != nil {
		return err
	}
	n.wallet, err = wallet.New(n.cfg.Seed, n.cfg.Params, rows)
	if err != nil || len(rows) > 0 {
		return err
	}
	return n.begin()
}

// loadTracker starts the chain where whoever has seen least of it left off. Facts are told again to the others, which
// is harmless.
func (n *Node) loadTracker(asks []chainAsk) error {
	height, hash := n.wallet.Tip()
	sights := []sight{{owner: walletSight, height: height, hash: hash}}
	for _, in := range n.registry.each(nil) {
		h, block := in.state.Load().SeenBlock()
		sights = append(sights, sight{owner: uint64(in.id), height: h, hash: block})
	}
	n.chainDesk = newChainDesk(n, n.backend, sights)
	n.chainDesk.ask(asks)
	return nil
}

// loadPeers makes the host. It neither listens nor dials yet.
func (n *Node) loadPeers() (err error) {
	n.host, err = peer.New(peer.Config{
		Key: n.keys.identity, Chain: *n.cfg.Params.GenesisHash, Events: dispatch{n}, Features: n.features(), Logger: n.log,
		Dialer: n.cfg.Dialer, MinBackoff: n.cfg.MinBackoff,
	})
	return err
}

func (n *Node) features() peer.Features {
	if n.cfg.LSP {
		return peer.LSPFeatures()
	}
	return peer.DefaultFeatures()
}

// loadBrain rebuilds the forwarder, the ends of Rod payments and the mailbox, and queues what recovery decided.
func (n *Node) loadBrain(d forward.Durable) error {
	rows, err := n.rodRows(store.Request, store.Member, store.Tombstone)
	if err != nil {
		return err
	}
	table, err := rod.Load(n.cfg.Rod, rows...)
	if err != nil {
		return err
	}
	d.Table, d.Now, d.Stale = table, n.cfg.Now().Unix(), true
	d.Height, _ = n.wallet.Tip()
	for _, t := range []store.Table{store.Settled, store.Invoice, store.Payment} {
		rows, err := n.rodRows(t)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := d.Row(r); err != nil {
				return err
			}
		}
	}
	for _, in := range n.registry.each(nil) {
		d.Survey(n.channelEvent(in), in.state.Load(), n.peel)
	}
	if err := n.loadEnds(&d); err != nil {
		return err
	}
	fc := forward.DefaultConfig()
	f, out := forward.Rebuild(fc, d)
	n.brain.forward = f
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	n.carryOut(&turn{}, out)
	return nil
}

// loadEnds loads the payer, the payee, the mailbox and the devices.
func (n *Node) loadEnds(d *forward.Durable) error {
	load := func(t store.Table, f func(rows []rod.Row) error) error {
		rows, err := n.rodRows(t)
		if err != nil {
			return err
		}
		return f(rows)
	}
	n.clients.calls = map[string]chan lsps.Response{}
	err := load(store.Payer, func(rows []rod.Row) (err error) {
		n.paying.Store(len(rows) > 0)
		n.brain.payer, err = rod.LoadPayer(rows...)
		return err
	})
	if err == nil {
		err = load(store.Payee, func(rows []rod.Row) (err error) {
			n.brain.payee, err = rod.LoadPayee(rows...)
			return err
		})
	}
	if err == nil {
		err = load(store.Mailbox, func(rows []rod.Row) (err error) {
			n.brain.mailbox, err = rod.LoadMailbox(rod.DefaultMailboxConfig(), rows...)
			return err
		})
	}
	if err != nil || !n.cfg.LSP {
		return err
	}
	return load(store.Device, func(rows []rod.Row) error {
		cfg := lsps.DefaultDeviceConfig()
		cfg.AllowLoopback = n.cfg.LocalHooks
		devices, err := lsps.LoadDevices(cfg, rows...)
		if err != nil {
			return err
		}
		n.clients.server = &lsps.Server{Devices: devices, Rod: n.cfg.Rod}
		for _, in := range n.registry.each(nil) {
			if len(devices.Of(in.peer)) > 0 {
				d.Devices = append(d.Devices, in.peer)
			}
		}
		return nil
	})
}

func (n *Node) rodRows(tables ...store.Table) (rows []rod.Row, err error) {
	for _, t := range tables {
		err := n.store.Load(t, func(key, value []byte) error {
			rows = append(rows, rod.Row{Table: t.String(), Key: key, Value: value})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}
