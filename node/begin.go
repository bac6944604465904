package node

import (
	"encoding/binary"
	"fmt"
	"io"

	"lightningrod/channel"
	"lightningrod/node/store"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// SeedOrigin is where a seed comes from. It matters to a node that has no rows yet, and only to that.
type SeedOrigin uint8

const (
	// SeedGiven: nothing is assumed. The chain is read from its first block, and channels are numbered from 1: for a seed that had
	// no earlier life with channels, such as a test's.
	SeedGiven SeedOrigin = iota
	// SeedNew: it was drawn just now, so that nothing on the chain can be its.
	SeedNew
	// SeedRestored: it had an earlier life, whose channels are not known any more. See safeNumber.
	SeedRestored
)

// CaughtUp says how many blocks the wallet has seen, and how many the chain has. They meet when Start has returned.
func (n *Node) CaughtUp() (at, of uint32) {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	at, _ = n.wallet.Tip()
	of, _ = n.backend.Tip()
	return at, of
}

// begin is the start of a node without rows: where its wallet looks from, and which channel numbers are free.
func (n *Node) begin() error {
	if n.cfg.Origin == SeedGiven {
		return nil
	}
	rows, err := n.firstBlock()
	if err != nil {
		return err
	}
	if n.cfg.Origin == SeedRestored {
		if n.registry.last, err = safeNumber(n.cfg.Rand); err != nil {
			return err
		}
		rows = append(rows, store.Op{Table: store.Meta, Key: metaLastChannel, Value: u64(uint64(n.registry.last))})
	}
	return n.store.Commit([]store.Write{rows})
}

// firstBlock has the wallet of a new seed begin with the newest block, and that of a restored one above its birthday.
func (n *Node) firstBlock() (store.Write, error) {
	height, hash := n.cfg.Birthday, chainhash.Hash{}
	if n.cfg.Origin == SeedNew {
		tip, _ := n.backend.Tip()
		height = 0
		if tip > 0 {
			b, err := n.backend.Block(tip)
			if err != nil {
				return nil, fmt.Errorf("block %d: %w", tip, err)
			}
			height, hash = tip-1, b.Prev
		}
	}
	rows, err := n.wallet.Begin(height, hash)
	return walletRows(rows), err
}

// Channel numbers that are drawn lie between these: far above any that was counted up to, and below what aliasOf can spell.
const (
	drawnNumbers = 1 << 42
	endOfNumbers = 1 << 43
)

// safeNumber is a channel number from which on none was ever used with this seed, as far as chance goes (an earlier life opened n channels:
// n in 2^42). A channel's keys come from its number: one that is given twice to the same peer has per-commitment secrets that this peer
// knows, and it could take the channel's money when we publish.
func safeNumber(random io.Reader) (channel.ID, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("random source: %w", err)
	}
	return channel.ID(drawnNumbers + binary.BigEndian.Uint64(b[:])%(endOfNumbers-drawnNumbers)), nil
}
