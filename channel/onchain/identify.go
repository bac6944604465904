package onchain

import (
	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// kind is what an output is to us, and so how it is claimed.
type kind uint8

const (
	kindIgnored        kind = iota // the peer's, or an anchor
	kindToLocal                    // our balance in our commitment
	kindToRemote                   // our balance in a commitment of the peer
	kindOfferedOurs                // an HTLC we offered, in our commitment: HTLC-timeout
	kindReceivedOurs               // one the peer offered, in our commitment: HTLC-success
	kindOfferedTheirs              // one we offered, in the peer's commitment: by timeout
	kindReceivedTheirs             // one the peer offered, in the peer's commitment: by preimage
	kindSecond                     // of an HTLC transaction of ours
	kindCheatBalance               // the peer's balance in a revoked commitment
	kindCheatHTLC                  // any HTLC of a revoked commitment
	kindCheatSecond                // of an HTLC transaction of the peer, of a revoked commitment
	kindUnknown                    // perhaps an HTLC: cannot be claimed, but may show a preimage
	kinds
)

var kindText = [kinds]string{
	"ignored", "to_local", "to_remote", "offered htlc", "received htlc", "offered htlc", "received htlc", "second stage",
	"revoked to_local", "revoked htlc", "revoked second stage", "unknown output",
}

func (k kind) String() string { return kindText[k] }

// output is an output that may concern us.
type output struct {
	out    wire.OutPoint
	kind   kind
	amount int64
	script []byte // pkScript
	height uint32 // of its transaction
	// Of an HTLC: as the owner of the commitment sees it, and its number in commitment.Commitment.HTLCs.
	htlc *commitment.HTLC
	nth  int
}

func (o *output) watch() chain.Request {
	return chain.WatchSpend{Out: o.out, Script: o.script, Since: o.height}
}

// closing is what the transaction that spent the funding output is.
type closing struct {
	txid    chainhash.Hash
	owner   Owner
	number  uint64
	live    *live // Local and Remote
	keys    commitment.Keys
	secret  [32]byte // Cheat: per-commitment secret
	outputs []output // of the transaction, in order
	second  []byte   // pkScript of the outputs of its HTLC transactions, nil: not known
}

// identify says whose transaction tx is. It is the very transaction of an unrevoked commitment, or it is not: the txid decides.
func (f *fixed) identify(tx *wire.MsgTx, height uint32, row *Revoked) *closing {
	c := &closing{txid: tx.TxHash(), owner: Foreign}
	for i := range f.live {
		if l := &f.live[i]; l.TxID == c.txid {
			c.owner, c.number, c.live, c.keys = l.owner, l.Spec.Number, l, l.Keys
			c.findLive(tx, height)
			c.setSecond(f.p.static(l.owner).ToSelfDelay)
			return c
		}
	}
	number, isCommitment := commitment.Number(tx, f.p.obscure())
	if !isCommitment {
		return c
	}
	c.owner, c.number = Unknown, number
	if secret, ok := f.p.Secrets.Lookup(number); ok {
		if k, err := f.p.keys(Cheat, commitment.PointOf(secret)); err == nil {
			c.owner, c.secret, c.keys = Cheat, secret, k
			c.setSecond(f.p.RemoteDelay)
		}
	}
	c.findByScript(f, tx, height)
	if c.owner == Cheat && row != nil && row.Number == number {
		c.matchHTLCs(row.HTLCs)
	}
	return c
}

func (c *closing) setSecond(delay uint16) {
	c.second = commitment.P2WSH(commitment.DelayedScript(c.keys.Revocation, c.keys.OwnerDelayed, delay))
}

// findLive lists the outputs of a commitment that we know.
func (c *closing) findLive(tx *wire.MsgTx, height uint32) {
	c.list(tx, height)
	set := func(index int, k kind) {
		if index >= 0 {
			c.outputs[index].kind = k
		}
	}
	if c.owner == Local {
		set(c.live.ToOwner, kindToLocal)
	} else {
		set(c.live.ToOther, kindToRemote)
	}
	kinds := map[bool][2]kind{ // by: offered by us
		true:  {kindOfferedOurs, kindOfferedTheirs},
		false: {kindReceivedOurs, kindReceivedTheirs},
	}
	for i := range c.live.HTLCs {
		h := &c.live.HTLCs[i]
		o := &c.outputs[h.Index]
		o.kind = kinds[keyOf(c.owner, &h.HTLC).offered][c.owner]
		o.htlc, o.nth = &h.HTLC, i
	}
}

func (c *closing) list(tx *wire.MsgTx, height uint32) {
	c.outputs = make([]output, len(tx.TxOut))
	for i, out := range tx.TxOut {
		c.outputs[i] = output{
			out: wire.OutPoint{Hash: c.txid, Index: uint32(i)}, amount: out.Value, script: out.PkScript, height: height,
		}
	}
}

// findByScript lists the outputs of a commitment of which we only know the number: revoked, or newer than our state.
func (c *closing) findByScript(f *fixed, tx *wire.MsgTx, height uint32) {
	known := map[string]kind{
		string(commitment.P2WSH(commitment.AnchorScript(f.p.Local.Funding))):   kindIgnored,
		string(commitment.P2WSH(commitment.AnchorScript(f.p.Remote.Funding))):  kindIgnored,
		string(commitment.P2WSH(commitment.ToRemoteScript(f.p.Local.Payment))): kindToRemote,
	}
	if c.owner == Cheat {
		known[string(c.second)] = kindCheatBalance
	}
	c.list(tx, height)
	for i := range c.outputs {
		k, ok := known[string(c.outputs[i].script)]
		if !ok {
			k = kindUnknown
		}
		c.outputs[i].kind = k
	}
}

// matchHTLCs finds the outputs of the HTLCs of a revoked commitment. Which of two equal ones an output is does not matter.
func (c *closing) matchHTLCs(hs []commitment.HTLC) {
	type match struct {
		script string
		amount int64
	}
	open := make(map[match][]int)
	for i := range c.outputs {
		if o := &c.outputs[i]; o.kind == kindUnknown {
			m := match{string(o.script), o.amount}
			open[m] = append(open[m], i)
		}
	}
	for i := range hs {
		h := &hs[i]
		script := commitment.ReceivedHTLCScript(&c.keys, h.Hash, h.Expiry)
		if h.Offered {
			script = commitment.OfferedHTLCScript(&c.keys, h.Hash)
		}
		m := match{string(commitment.P2WSH(script)), int64(h.Amount / 1000)}
		if at := open[m]; len(at) > 0 {
			o := &c.outputs[at[0]]
			o.kind, o.htlc = kindCheatHTLC, h
			open[m] = at[1:]
		}
	}
}

// outputs are those of the closing transaction and those of the HTLC transactions that spent them.
func (s *State) outputs() []output {
	all := s.closing.outputs[:len(s.closing.outputs):len(s.closing.outputs)]
	k := kindSecond
	if s.closing.owner == Cheat {
		k = kindCheatSecond
	}
	for i := range s.spent {
		f := &s.spent[i]
		for _, sec := range f.second {
			all = append(all, output{
				out: wire.OutPoint{Hash: f.by, Index: sec.index}, kind: k, amount: sec.amount,
				script: s.closing.second, height: f.height,
			})
		}
	}
	return all
}

// seconds are the outputs of tx that pay what HTLC transactions of the closing transaction pay. The peer's signature of an HTLC transaction
// leaves room for more inputs and outputs, so any place will do; only the script says what an output is.
func (c *closing) seconds(tx *wire.MsgTx) []second {
	if c.owner != Local && c.owner != Cheat {
		return nil
	}
	var list []second
	for i, out := range tx.TxOut {
		if string(out.PkScript) == string(c.second) {
			list = append(list, second{uint32(i), out.Value})
		}
	}
	return list
}
