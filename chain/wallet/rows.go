package wallet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lightningrod/chain"
	"lightningrod/chain/octets"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Row is a durable fact of the wallet. A nil Value deletes the row.
type Row struct{ Key, Value []byte }

// The keys of rows, and what their values hold. Every value begins with the version; integers are big-endian.
//
//	a                          birthday (4)
//	t                          fingerprint of the master key (4), height (4), newest block hashes (32 each, oldest first)
//	b branch (1)               next (4), floor (4), top (4)
//	c txid (32) index (4)      value (8), branch (1), index (4), coinbase (1), height (4), spent (4)
//	p txid (32)                flags (1: publish), height (4), dead (4), the transaction
const (
	rowBirthday = 'a'
	rowTip      = 't'
	rowBranch   = 'b'
	rowCoin     = 'c'
	rowPending  = 'p'

	version     = 1
	trailLength = 12 // hashes in the row of the tip
)

const (
	birthdayKey = string(rowBirthday)
	tipKey      = string(rowTip)
)

func branchKey(n uint8) string { return string([]byte{rowBranch, n}) }

func coinKey(op wire.OutPoint) string {
	return string(binary.BigEndian.AppendUint32(append([]byte{rowCoin}, op.Hash[:]...), op.Index))
}

func pendingKey(txid chainhash.Hash) string { return string(append([]byte{rowPending}, txid[:]...)) }

// touch notes that a row has changed.
func (w *Wallet) touch(key string) { w.touched[key] = struct{}{} }

// touchPending does so for a pending transaction, if it has a row at all.
func (w *Wallet) touchPending(txid chainhash.Hash) {
	if p := w.pending[txid]; p != nil && p.own {
		w.touch(pendingKey(txid))
	}
}

// rows are the rows that have changed since the last call, by key.
func (w *Wallet) rows() []Row {
	list := make([]Row, 0, len(w.touched))
	for _, key := range slices.Sorted(maps.Keys(w.touched)) {
		list = append(list, Row{[]byte(key), w.value([]byte(key))})
	}
	clear(w.touched)
	return list
}

// Rows are all rows of the wallet, by key.
func (w *Wallet) Rows() []Row {
	all := []string{tipKey}
	if w.birthday != 0 {
		all = append(all, birthdayKey)
	}
	for n := range branches {
		all = append(all, branchKey(n))
	}
	for op := range w.coins {
		all = append(all, coinKey(op))
	}
	for txid, p := range w.pending {
		if p.own {
			all = append(all, pendingKey(txid))
		}
	}
	slices.Sort(all)
	list := make([]Row, len(all))
	for i, key := range all {
		list[i] = Row{[]byte(key), w.value([]byte(key))}
	}
	return list
}

// Row is a row as it stands now: the one that a method returned may be old, if others were called since.
func (w *Wallet) Row(key []byte) Row { return Row{key, w.value(key)} }

// value is what the row of key holds now, nil if there is none.
func (w *Wallet) value(key []byte) []byte {
	switch u32 := binary.BigEndian.AppendUint32; key[0] {
	case rowBirthday:
		return u32([]byte{version}, w.birthday)
	case rowTip:
		height, _ := w.Tip()
		v := u32(append([]byte{version}, w.fingerprint[:]...), height)
		hashes := w.trail.Hashes()
		for _, h := range hashes[max(0, len(hashes)-trailLength):] {
			v = append(v, h[:]...)
		}
		return v
	case rowBranch:
		b := w.branches[key[1]]
		return u32(u32(u32([]byte{version}, b.next), b.floor), b.top)
	case rowCoin:
		c := w.coins[wire.OutPoint{Hash: chainhash.Hash(key[1:33]), Index: binary.BigEndian.Uint32(key[33:])}]
		if c == nil {
			return nil
		}
		v := binary.BigEndian.AppendUint64([]byte{version}, uint64(c.value))
		v = append(u32(append(v, c.place.branch), c.place.index), flag(c.coinbase))
		return u32(u32(v, c.height), c.spent)
	case rowPending:
		p := w.pending[chainhash.Hash(key[1:])]
		if p == nil || !p.own { // one that was replaced may still be seen in the mempool
			return nil
		}
		buf := bytes.NewBuffer(u32(u32([]byte{version, flag(p.publish)}, p.height), p.dead))
		if err := p.tx.Serialize(buf); err != nil {
			panic(fmt.Sprintf("wallet: %v", err)) // a buffer takes everything
		}
		return buf.Bytes()
	}
	panic(fmt.Sprintf("wallet: no row %x", key))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// load restores the books. Branches come first, since coins refer to their scripts.
func (w *Wallet) load(rows []Row) error {
	order := func(r Row) int {
		return bytes.IndexByte([]byte{rowBranch, rowBirthday, rowTip, rowCoin, rowPending}, r.Key[0])
	}
	for _, r := range rows {
		if len(r.Key) == 0 {
			return errors.New("row without a key")
		}
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Row) int { return order(a) - order(b) })
	for _, r := range rows {
		if err := w.loadRow(r); err != nil {
			return fmt.Errorf("row %x: %w", r.Key, err)
		}
	}
	return nil
}

func (w *Wallet) loadRow(r Row) error {
	c := octets.Of(r.Value)
	if c.Version(version); c.Err != nil {
		return c.Err
	}
	switch key := r.Key; {
	case key[0] == rowBirthday && len(key) == 1:
		w.birthday = c.Uint32()
		return c.End()
	case key[0] == rowTip && len(key) == 1:
		return w.loadTip(&c)
	case key[0] == rowBranch && len(key) == 2 && key[1] < branches:
		return w.loadBranch(key[1], &c)
	case key[0] == rowCoin && len(key) == 37:
		return w.loadCoin(wire.OutPoint{Hash: chainhash.Hash(key[1:33]), Index: binary.BigEndian.Uint32(key[33:])}, &c)
	case key[0] == rowPending && len(key) == 33:
		return w.loadPending(chainhash.Hash(key[1:]), &c)
	}
	return errors.New("unknown key")
}

func (w *Wallet) loadTip(c *octets.Reader) error {
	fingerprint, height, raw := c.Take(4), c.Uint32(), c.Rest()
	switch {
	case c.Err != nil:
		return c.Err
	case !bytes.Equal(fingerprint, w.fingerprint[:]):
		return errors.New("the rows belong to another seed")
	case len(raw)%32 != 0 || len(raw) > 32*trailLength:
		return fmt.Errorf("%d bytes of block hashes", len(raw))
	}
	hashes := make([]chainhash.Hash, 0, trailLength)
	for h := range slices.Chunk(raw, 32) {
		hashes = append(hashes, chainhash.Hash(h))
	}
	w.trail = chain.NewTrail(height, hashes...)
	return nil
}

func (w *Wallet) loadBranch(n uint8, c *octets.Reader) error {
	next, floor, top := c.Uint32(), c.Uint32(), c.Uint32()
	switch {
	case c.End() != nil:
		return c.Err
	case top > maxIndex:
		return fmt.Errorf("%d scripts, at most %d", top, maxIndex)
	case floor > top || next > top:
		return fmt.Errorf("next %d or floor %d above top %d", next, floor, top)
	}
	w.extend(n, top)
	w.branches[n].next, w.branches[n].floor = next, floor
	return nil
}

func (w *Wallet) loadCoin(op wire.OutPoint, c *octets.Reader) error {
	n := &coin{
		value: btcutil.Amount(c.Uint64()), place: place{c.Uint8(), c.Uint32()}, coinbase: c.Bool(),
		height: c.Uint32(), spent: c.Uint32(),
	}
	switch {
	case c.End() != nil:
		return c.Err
	case n.value <= 0 || n.value > btcutil.MaxSatoshi:
		return fmt.Errorf("value %d", int64(n.value))
	case w.scripts[n.place] == nil:
		return fmt.Errorf("no script %d of branch %d", n.place.index, n.place.branch)
	case n.height == 0 || n.spent != 0 && n.spent < n.height:
		return fmt.Errorf("made at height %d, spent at %d", n.height, n.spent)
	}
	w.coins[op] = n
	return nil
}

func (w *Wallet) loadPending(txid chainhash.Hash, c *octets.Reader) error {
	p := &pending{own: true, publish: c.Bool(), height: c.Uint32(), dead: c.Uint32(), tx: new(wire.MsgTx)}
	raw := c.Rest()
	if c.Err != nil {
		return c.Err
	}
	r := bytes.NewReader(raw)
	if err := p.tx.Deserialize(r); err != nil {
		return fmt.Errorf("transaction: %w", err)
	}
	switch {
	case r.Len() != 0:
		return fmt.Errorf("%d bytes after the transaction", r.Len())
	case p.tx.TxHash() != txid:
		return fmt.Errorf("holds transaction %v", p.tx.TxHash())
	case p.height != 0 && p.dead != 0:
		return fmt.Errorf("confirmed at height %d and dead at %d", p.height, p.dead)
	}
	var canon bytes.Buffer
	if err := p.tx.Serialize(&canon); err != nil || !bytes.Equal(canon.Bytes(), raw) {
		return errors.New("transaction is not in its one encoding")
	}
	w.pending[txid] = p
	return nil
}
