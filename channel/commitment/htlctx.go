package commitment

import "github.com/btcsuite/btcd/wire"

// buildHTLCTxs makes the HTLC-success transactions of received and the HTLC-timeout transactions of offered HTLCs:
// BOLT 3 "HTLC-Timeout and HTLC-Success Transactions". They have no fee; who publishes one adds inputs.
func (c *Commitment) buildHTLCTxs() {
	n := len(c.HTLCs)
	if n == 0 {
		return
	}
	pkScript := P2WSH(DelayedScript(c.Keys.Revocation, c.Keys.OwnerDelayed, c.Static.ToSelfDelay))
	// All parts of all transactions in one allocation each.
	type parts struct {
		tx   wire.MsgTx
		in   wire.TxIn
		out  wire.TxOut
		ins  [1]*wire.TxIn
		outs [1]*wire.TxOut
	}
	slab := make([]parts, n)
	for i := range c.HTLCs {
		h, p := &c.HTLCs[i], &slab[i]
		p.in = wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: c.TxID, Index: h.Index}, Sequence: 1}
		p.out = wire.TxOut{Value: sat(h.HTLC.Amount), PkScript: pkScript}
		p.ins[0], p.outs[0] = &p.in, &p.out
		p.tx = wire.MsgTx{Version: 2, TxIn: p.ins[:], TxOut: p.outs[:]}
		if h.HTLC.Offered {
			p.tx.LockTime = h.HTLC.Expiry
		}
		h.Tx = &p.tx
	}
}
