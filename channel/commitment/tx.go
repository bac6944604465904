package commitment

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

const (
	// MaxHTLCs is the most HTLCs on one commitment: BOLT 2 has max_accepted_htlcs up to 483 for each side.
	MaxHTLCs = 2 * 483

	// maxSatoshi is all the bitcoin there will be; a thousand times as much fits into 63 bits.
	maxSatoshi = 21_000_000 * 100_000_000

	// BOLT 2 "Adding an HTLC": from here on cltv_expiry would be read as a time.
	maxExpiry = 500_000_000 - 1
)

// output is an output of a commitment before ordering. htlc is the index of its HTLC in the Spec, or one of the
// negative constants below.
type output struct {
	value    int64
	pkScript []byte
	script   []byte // witness script
	expiry   uint32 // of an HTLC, to break ties
	htlc     int
}

const (
	toOwner = -1 - iota
	toOther
	ownerAnchor
	otherAnchor
)

// Build makes the commitment transaction of the owner: BOLT 3 "Commitment Transaction Construction". Where the opener
// cannot pay the base fee and the anchors its output is not there at all, and if the transaction would then spend more
// than the capacity it is refused.
func Build(st Static, k Keys, sp Spec) (*Commitment, error) {
	if err := check(&st, &sp); err != nil {
		return nil, err
	}
	c := &Commitment{Keys: k, Static: st, Spec: sp, ToOwner: -1, ToOther: -1, OwnerAnchor: -1, OtherAnchor: -1}
	outs, untrimmed := c.htlcOutputs()
	c.BaseFee = FeeFor(sp.FeePerKw, untrimmed)
	outs = c.balanceOutputs(outs, untrimmed)
	slices.SortFunc(outs, func(a, b output) int { return a.compare(&b, sp.HTLCs) })

	spent := int64(0)
	for i := range outs {
		spent += outs[i].value
	}
	switch {
	case len(outs) == 0:
		return nil, fmt.Errorf("no output reaches dust_limit_satoshis %d", st.DustLimit)
	case spent > st.Capacity:
		return nil, fmt.Errorf("opener cannot pay fee %d and anchors: outputs of %d satoshi exceed capacity %d",
			c.BaseFee, spent, st.Capacity)
	}
	c.Fee = st.Capacity - spent
	c.assemble(outs, untrimmed)
	return c, nil
}

// check refuses what no commitment can have. After it no sum overflows.
func check(st *Static, sp *Spec) error {
	switch {
	case st.Capacity <= 0 || st.Capacity > maxSatoshi:
		return fmt.Errorf("capacity %d satoshi not in 1..%d", st.Capacity, int64(maxSatoshi))
	case st.DustLimit < 1 || st.DustLimit > maxSatoshi:
		return fmt.Errorf("dust_limit_satoshis %d not in 1..%d", st.DustLimit, int64(maxSatoshi))
	case sp.Number > MaxNumber:
		return fmt.Errorf("commitment number %d above %d", sp.Number, uint64(MaxNumber))
	case len(sp.HTLCs) > MaxHTLCs:
		return fmt.Errorf("%d HTLCs above maximum %d", len(sp.HTLCs), MaxHTLCs)
	}
	capacity := msat(st.Capacity)
	left, ok := capacity, true
	take := func(amount lnwire.MilliSatoshi) {
		ok = ok && amount <= left
		left -= amount
	}
	take(sp.ToOwner)
	take(sp.ToOther)
	for i := range sp.HTLCs {
		h := &sp.HTLCs[i]
		if h.Expiry > maxExpiry {
			return fmt.Errorf("cltv_expiry %d above maximum %d", h.Expiry, maxExpiry)
		}
		take(h.Amount)
	}
	switch {
	case !ok:
		return fmt.Errorf("balances %d and %d msat and %d HTLCs exceed capacity %d msat",
			uint64(sp.ToOwner), uint64(sp.ToOther), len(sp.HTLCs), uint64(capacity))
	case left != 0:
		return fmt.Errorf("balances %d and %d msat and %d HTLCs are %d msat short of capacity %d msat",
			uint64(sp.ToOwner), uint64(sp.ToOther), len(sp.HTLCs), uint64(left), uint64(capacity))
	}
	return nil
}

// htlcOutputs makes the outputs of the untrimmed HTLCs and adds up the others.
func (c *Commitment) htlcOutputs() (outs []output, untrimmed int) {
	htlcs := c.Spec.HTLCs
	untrimmed = Untrimmed(htlcs, c.Static.DustLimit)
	outs = make([]output, 0, untrimmed+4)
	if untrimmed == len(htlcs) && untrimmed == 0 {
		return outs, 0
	}
	revocation160 := hash160(c.Keys.Revocation)
	// One allocation for all scripts; it never grows.
	slab := make([]byte, 0, untrimmed*(receivedHTLCScriptSize+p2wshSize))
	for i := range htlcs {
		h := &htlcs[i]
		if Trimmed(*h, c.Static.DustLimit) {
			c.Trimmed += h.Amount
			continue
		}
		start := len(slab)
		if h.Offered {
			slab = appendOfferedHTLC(slab, &c.Keys, revocation160, h.Hash)
		} else {
			slab = appendReceivedHTLC(slab, &c.Keys, revocation160, h.Hash, h.Expiry)
		}
		mid := len(slab)
		slab = appendP2WSH(slab, slab[start:mid])
		outs = append(outs, output{
			value:    sat(h.Amount),
			script:   slab[start:mid:mid],
			pkScript: slab[mid:len(slab):len(slab)],
			expiry:   h.Expiry,
			htlc:     i,
		})
	}
	return outs, untrimmed
}

// balanceOutputs adds to_local, to_remote and the anchors.
func (c *Commitment) balanceOutputs(outs []output, untrimmed int) []output {
	k, st := &c.Keys, &c.Static
	owner, other := sat(c.Spec.ToOwner), sat(c.Spec.ToOther)
	cost := c.BaseFee + 2*AnchorAmount
	if st.OwnerIsOpener {
		owner = max(0, owner-cost)
	} else {
		other = max(0, other-cost)
	}
	add := func(value int64, script []byte, which int) {
		outs = append(outs, output{value: value, script: script, pkScript: P2WSH(script), htlc: which})
	}
	hasOwner, hasOther := owner >= st.DustLimit, other >= st.DustLimit
	if hasOwner {
		add(owner, DelayedScript(k.Revocation, k.OwnerDelayed, st.ToSelfDelay), toOwner)
	}
	if hasOther {
		add(other, ToRemoteScript(k.OtherPayment), toOther)
	}
	// BOLT 3 "to_local_anchor": with HTLCs both have an anchor, without only who has an output.
	if hasOwner || untrimmed > 0 {
		add(AnchorAmount, AnchorScript(k.OwnerFunding), ownerAnchor)
	}
	if hasOther || untrimmed > 0 {
		add(AnchorAmount, AnchorScript(k.OtherFunding), otherAnchor)
	}
	return outs
}

// compare is BOLT 3 "Transaction Output Ordering". HTLCs that are equal in all of it are interchangeable on chain;
// their ids make the order one.
func (o *output) compare(p *output, htlcs []HTLC) int {
	if d := cmp.Compare(o.value, p.value); d != 0 {
		return d
	}
	if d := bytes.Compare(o.pkScript, p.pkScript); d != 0 {
		return d
	}
	if d := cmp.Compare(o.expiry, p.expiry); d != 0 {
		return d
	}
	if o.htlc >= 0 && p.htlc >= 0 {
		return cmp.Compare(htlcs[o.htlc].ID, htlcs[p.htlc].ID)
	}
	return cmp.Compare(o.htlc, p.htlc)
}

// assemble makes the transaction of the ordered outputs, and the HTLC transactions.
func (c *Commitment) assemble(outs []output, untrimmed int) {
	lockTime, sequence := obscured(c.Spec.Number, c.Static.Obscure)
	txOuts := make([]wire.TxOut, len(outs))
	tx := &wire.MsgTx{
		Version:  2,
		TxIn:     []*wire.TxIn{{PreviousOutPoint: c.Static.Funding, Sequence: sequence}},
		TxOut:    make([]*wire.TxOut, len(outs)),
		LockTime: lockTime,
	}
	c.HTLCs = make([]HTLCOutput, 0, untrimmed)
	for i := range outs {
		o := &outs[i]
		txOuts[i] = wire.TxOut{Value: o.value, PkScript: o.pkScript}
		tx.TxOut[i] = &txOuts[i]
		switch o.htlc {
		case toOwner:
			c.ToOwner = i
		case toOther:
			c.ToOther = i
		case ownerAnchor:
			c.OwnerAnchor = i
		case otherAnchor:
			c.OtherAnchor = i
		default:
			c.HTLCs = append(c.HTLCs, HTLCOutput{HTLC: c.Spec.HTLCs[o.htlc], Index: uint32(i), Script: o.script})
		}
	}
	c.Tx, c.TxID = tx, tx.TxHash()
	c.buildHTLCTxs()
}

// OutPoint is the outpoint of an output of the commitment.
func (c *Commitment) OutPoint(index int) wire.OutPoint {
	return wire.OutPoint{Hash: c.TxID, Index: uint32(index)}
}

func sat(m lnwire.MilliSatoshi) int64    { return int64(m / 1000) }
func msat(sat int64) lnwire.MilliSatoshi { return lnwire.MilliSatoshi(sat) * 1000 }
