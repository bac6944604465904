package commitment

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"sort"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

// slowOutput is an output of slowBuild, with what it is.
type slowOutput struct {
	value  int64
	script []byte
	cltv   uint32
	id     uint64
	what   string
}

// slowBuild follows BOLT 3 "Commitment Transaction Construction" step by step with big numbers and ScriptBuilder.
// It gives no outputs where the opener's shortfall leaves more than the capacity.
func slowBuild(t *testing.T, st Static, k Keys, sp Spec) (*wire.MsgTx, []slowOutput) {
	var outs []slowOutput
	sats := func(m lnwire.MilliSatoshi) *big.Int {
		return new(big.Int).Div(new(big.Int).SetUint64(uint64(m)), big.NewInt(1000))
	}
	dust := big.NewInt(st.DustLimit)
	build := func(b *txscript.ScriptBuilder) []byte {
		s, err := b.Script()
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(s)
		pk, err := txscript.NewScriptBuilder().AddInt64(0).AddData(sum[:]).Script()
		if err != nil {
			t.Fatal(err)
		}
		return pk
	}
	add := func(what string, value *big.Int, cltv uint32, id uint64, b *txscript.ScriptBuilder) {
		outs = append(outs, slowOutput{value.Int64(), build(b), cltv, id, what})
	}

	// 1. input and locktime
	tx := wire.NewMsgTx(2)
	n := sp.Number ^ st.Obscure
	tx.LockTime = uint32(0x20)<<24 + uint32(n%(1<<24))
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: st.Funding, Sequence: uint32(0x80)<<24 + uint32(n/(1<<24))})

	// 2. trimmed HTLCs, 3. base fee and anchors from the opener
	untrimmed := int64(0)
	for _, h := range sp.HTLCs {
		if sats(h.Amount).Cmp(dust) >= 0 {
			untrimmed++
		}
	}
	weight := big.NewInt(1124 + 172*untrimmed)
	fee := new(big.Int).Mul(big.NewInt(int64(sp.FeePerKw)), weight)
	fee.Div(fee, big.NewInt(1000))
	toLocal, toRemote := sats(sp.ToOwner), sats(sp.ToOther)
	payer := toRemote
	if st.OwnerIsOpener {
		payer = toLocal
	}
	payer.Sub(payer, fee).Sub(payer, big.NewInt(2*330))
	if payer.Sign() < 0 {
		payer.SetInt64(0)
	}

	// 4. and 5. HTLCs
	for _, h := range sp.HTLCs {
		if sats(h.Amount).Cmp(dust) < 0 {
			continue
		}
		b := txscript.NewScriptBuilder().
			AddOp(txscript.OP_DUP).AddOp(txscript.OP_HASH160).AddData(btcutil.Hash160(k.Revocation[:])).
			AddOp(txscript.OP_EQUAL).AddOp(txscript.OP_IF).AddOp(txscript.OP_CHECKSIG).AddOp(txscript.OP_ELSE).
			AddData(k.OtherHTLC[:]).AddOp(txscript.OP_SWAP).AddOp(txscript.OP_SIZE).AddInt64(32).AddOp(txscript.OP_EQUAL)
		hash := txscript.NewScriptBuilder().AddOp(txscript.OP_HASH160).AddData(ripemd(h.Hash)).AddOp(txscript.OP_EQUALVERIFY)
		hashScript, _ := hash.Script()
		if h.Offered {
			b.AddOp(txscript.OP_NOTIF).AddOp(txscript.OP_DROP).AddInt64(2).AddOp(txscript.OP_SWAP).
				AddData(k.OwnerHTLC[:]).AddInt64(2).AddOp(txscript.OP_CHECKMULTISIG).AddOp(txscript.OP_ELSE).
				AddOps(hashScript).AddOp(txscript.OP_CHECKSIG).AddOp(txscript.OP_ENDIF)
		} else {
			b.AddOp(txscript.OP_IF).AddOps(hashScript).AddInt64(2).AddOp(txscript.OP_SWAP).AddData(k.OwnerHTLC[:]).
				AddInt64(2).AddOp(txscript.OP_CHECKMULTISIG).AddOp(txscript.OP_ELSE).AddOp(txscript.OP_DROP).
				AddInt64(int64(h.Expiry)).AddOp(txscript.OP_CHECKLOCKTIMEVERIFY).AddOp(txscript.OP_DROP).
				AddOp(txscript.OP_CHECKSIG).AddOp(txscript.OP_ENDIF)
		}
		b.AddInt64(1).AddOp(txscript.OP_CHECKSEQUENCEVERIFY).AddOp(txscript.OP_DROP).AddOp(txscript.OP_ENDIF)
		add("htlc", sats(h.Amount), h.Expiry, h.ID, b)
	}

	// 6. and 7. balances
	hasLocal, hasRemote := toLocal.Cmp(dust) >= 0, toRemote.Cmp(dust) >= 0
	if hasLocal {
		add("to_local", toLocal, 0, 0, txscript.NewScriptBuilder().AddOp(txscript.OP_IF).AddData(k.Revocation[:]).
			AddOp(txscript.OP_ELSE).AddInt64(int64(st.ToSelfDelay)).AddOp(txscript.OP_CHECKSEQUENCEVERIFY).
			AddOp(txscript.OP_DROP).AddData(k.OwnerDelayed[:]).AddOp(txscript.OP_ENDIF).AddOp(txscript.OP_CHECKSIG))
	}
	if hasRemote {
		add("to_remote", toRemote, 0, 0, txscript.NewScriptBuilder().AddData(k.OtherPayment[:]).
			AddOp(txscript.OP_CHECKSIGVERIFY).AddInt64(1).AddOp(txscript.OP_CHECKSEQUENCEVERIFY))
	}

	// 8. anchors
	anchor := func(what string, key PubKey) {
		add(what, big.NewInt(330), 0, 0, txscript.NewScriptBuilder().AddData(key[:]).AddOp(txscript.OP_CHECKSIG).
			AddOp(txscript.OP_IFDUP).AddOp(txscript.OP_NOTIF).AddInt64(16).AddOp(txscript.OP_CHECKSEQUENCEVERIFY).
			AddOp(txscript.OP_ENDIF))
	}
	if hasLocal || untrimmed > 0 {
		anchor("to_local_anchor", k.OwnerFunding)
	}
	if hasRemote || untrimmed > 0 {
		anchor("to_remote_anchor", k.OtherFunding)
	}

	// 9. order
	sort.SliceStable(outs, func(i, j int) bool {
		a, b := outs[i], outs[j]
		switch {
		case a.value != b.value:
			return a.value < b.value
		case !bytes.Equal(a.script, b.script):
			return bytes.Compare(a.script, b.script) < 0
		case a.cltv != b.cltv:
			return a.cltv < b.cltv
		}
		return a.id < b.id
	})
	for _, o := range outs {
		tx.AddTxOut(wire.NewTxOut(o.value, o.script))
	}
	return tx, outs
}

func ripemd(hash [32]byte) []byte {
	s := appendHashCheck(nil, hash)
	return s[2:22]
}

// compareBuilds holds Build against slowBuild.
func compareBuilds(t *testing.T, st Static, k Keys, sp Spec) {
	t.Helper()
	want, outs := slowBuild(t, st, k, sp)
	spent := int64(0)
	for _, o := range outs {
		spent += o.value
	}
	c, err := Build(st, k, sp)
	if spent > st.Capacity || len(outs) == 0 {
		if err == nil {
			t.Errorf("built with outputs of %d of %d satoshi", spent, st.Capacity)
		}
		return
	}
	if err != nil {
		t.Errorf("%v, want outputs of %d of %d satoshi", err, spent, st.Capacity)
		return
	}
	if d := cmp.Diff(want, c.Tx); d != "" {
		t.Error(d)
	}
	if c.TxID != want.TxHash() || c.Fee != st.Capacity-spent {
		t.Errorf("txid %s fee %d, want %s and %d", c.TxID, c.Fee, want.TxHash(), st.Capacity-spent)
	}
	at := map[string]int{"to_local": -1, "to_remote": -1, "to_local_anchor": -1, "to_remote_anchor": -1}
	htlcs := 0
	for i, o := range outs {
		if o.what != "htlc" {
			at[o.what] = i
			continue
		}
		h := c.HTLCs[htlcs]
		htlcs++
		if int(h.Index) != i || h.HTLC.ID != o.id && h.HTLC.Expiry != o.cltv {
			t.Errorf("output %d is HTLC %d at %d, want %d", i, h.HTLC.ID, h.Index, o.id)
		}
		checkHTLCTx(t, c, &h)
	}
	if d := cmp.Diff(at, map[string]int{"to_local": c.ToOwner, "to_remote": c.ToOther,
		"to_local_anchor": c.OwnerAnchor, "to_remote_anchor": c.OtherAnchor}); d != "" || htlcs != len(c.HTLCs) {
		t.Errorf("%s and %d HTLCs of %d", d, htlcs, len(c.HTLCs))
	}
}

func checkHTLCTx(t *testing.T, c *Commitment, h *HTLCOutput) {
	t.Helper()
	tx := wire.NewMsgTx(2)
	if h.HTLC.Offered {
		tx.LockTime = h.HTLC.Expiry
	}
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: c.OutPoint(int(h.Index)), Sequence: 1})
	tx.AddTxOut(wire.NewTxOut(int64(h.HTLC.Amount)/1000,
		P2WSH(DelayedScript(c.Keys.Revocation, c.Keys.OwnerDelayed, c.Static.ToSelfDelay))))
	if d := cmp.Diff(tx, h.Tx); d != "" {
		t.Error(d)
	}
}

func TestBuildAgainstSlow(t *testing.T) {
	r := newRand(t)
	for i := range 100 {
		w := newWorld(t, r)
		sp := w.spec(r, r.IntN(1+i%40))
		if i%10 == 0 {
			sp.FeePerKw = r.Uint32() // beyond what the opener has
		}
		compareBuilds(t, w.static, w.keys, sp)
	}
}

func FuzzBuild(f *testing.F) {
	f.Add(uint64(1), uint64(100_000_000), uint64(900_000_000), uint32(253), int64(354), uint8(3), true)
	f.Add(uint64(2), uint64(0), uint64(1_000_000_000), uint32(0), int64(354), uint8(0), true)
	f.Add(uint64(3), uint64(353_999), uint64(354_000), uint32(0), int64(354), uint8(0), false)
	f.Add(uint64(4), uint64(1_784_000), uint64(354_000), uint32(1000), int64(354), uint8(1), true)
	f.Fuzz(func(t *testing.T, seed, toOwner, toOther uint64, feePerKw uint32, dust int64, n uint8, opener bool) {
		r := seeded(seed)
		w := newWorld(t, r)
		const most = uint64(maxSatoshi / 2 * 1000)
		sp := Spec{Number: r.Uint64N(MaxNumber + 1), FeePerKw: feePerKw,
			ToOwner: lnwire.MilliSatoshi(toOwner % most), ToOther: lnwire.MilliSatoshi(toOther % most / 2)}
		sum := sp.ToOwner + sp.ToOther
		for i := range int(n) {
			h := w.htlc(r, uint64(i), lnwire.MilliSatoshi(r.Uint64N(5_000_000)))
			sp.HTLCs = append(sp.HTLCs, h)
			sum += h.Amount
		}
		// Round up to a whole capacity.
		short := (1000 - sum%1000) % 1000
		sp.ToOwner += short
		w.static.Capacity = sat(sum + short)
		w.static.OwnerIsOpener = opener
		w.static.DustLimit = 1 + int64(uint64(dust)%100_000)
		if w.static.Capacity > 0 {
			compareBuilds(t, w.static, w.keys, sp)
		}
	})
}

func TestAnchorsAndDust(t *testing.T) {
	const capacity, dust = 100_000, 354
	// At 1000 sat/kw a commitment without HTLCs costs the opener 1124 + 660 satoshi, one with an HTLC 172 more.
	const cost, costHTLC = 1784, 1956
	htlc := func(amount lnwire.MilliSatoshi) []HTLC { return []HTLC{{Amount: amount, Expiry: 500}} }
	for _, c := range []struct {
		name           string
		owner          int64 // msat to the owner; the rest is the other's
		opener         bool
		htlcs          []HTLC
		ownerOut       bool
		otherOut       bool
		ownerAnchor    bool
		otherAnchor    bool
		fee            int64
		trimmed        lnwire.MilliSatoshi
		wantHTLCOutput int
	}{
		{"both", 50_000_000, true, nil, true, true, true, true, 1124, 0, 0},
		{"owner has nothing, other is opener", 0, false, nil, false, true, false, true, 1124 + 330, 0, 0},
		{"owner just below dust", 353_999, false, nil, false, true, false, true, 1124 + 330 + 354, 0, 0},
		{"owner at dust", 354_000, false, nil, true, true, true, true, 1124, 0, 0},
		{"opener just below dust after the fee", (cost+dust)*1000 - 1, true, nil, false, true, false, true,
			1124 + 330 + 354, 0, 0},
		{"opener at dust after the fee", (cost + dust) * 1000, true, nil, true, true, true, true, 1124, 0, 0},
		{"HTLC brings both anchors", 0, false, htlc(354_999), false, true, true, true, 1124 + 172 + 1, 0, 1},
		{"HTLC below dust is fee", 0, false, htlc(353_999), false, true, false, true, 1124 + 330 + 354, 353_999, 0},
		{"opener pays for the HTLC output", (costHTLC + dust) * 1000, true, htlc(400_000), true, true, true, true,
			1124 + 172, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, seeded(1))
			w.static.Capacity, w.static.DustLimit, w.static.OwnerIsOpener = capacity, dust, c.opener
			sp := Spec{FeePerKw: 1000, HTLCs: c.htlcs, ToOwner: lnwire.MilliSatoshi(c.owner)}
			sp.ToOther = msat(capacity) - sp.ToOwner
			for _, h := range c.htlcs {
				sp.ToOther -= h.Amount
			}
			b, err := Build(w.static, w.keys, sp)
			if err != nil {
				t.Fatal(err)
			}
			got := []bool{b.ToOwner >= 0, b.ToOther >= 0, b.OwnerAnchor >= 0, b.OtherAnchor >= 0}
			want := []bool{c.ownerOut, c.otherOut, c.ownerAnchor, c.otherAnchor}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("outputs (to_local, to_remote, anchors): %s", d)
			}
			if b.Fee != c.fee || b.Trimmed != c.trimmed || len(b.HTLCs) != c.wantHTLCOutput {
				t.Errorf("fee %d trimmed %d HTLC outputs %d, want %d, %d, %d",
					b.Fee, b.Trimmed, len(b.HTLCs), c.fee, c.trimmed, c.wantHTLCOutput)
			}
			if b.BaseFee != FeeFor(1000, len(b.HTLCs)) {
				t.Errorf("base fee %d, want %d", b.BaseFee, FeeFor(1000, len(b.HTLCs)))
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Static, *Spec)
	}{
		{"capacity 0 satoshi not in 1..", func(st *Static, _ *Spec) { st.Capacity = 0 }},
		{"capacity 9223372036854775807 satoshi", func(st *Static, _ *Spec) { st.Capacity = 1<<63 - 1 }},
		{"dust_limit_satoshis 0 not in 1..", func(st *Static, _ *Spec) { st.DustLimit = 0 }},
		{"dust_limit_satoshis -1 ", func(st *Static, _ *Spec) { st.DustLimit = -1 }},
		{"commitment number 281474976710656 above 281474976710655", func(_ *Static, sp *Spec) { sp.Number = 1 << 48 }},
		{"967 HTLCs above maximum 966", func(_ *Static, sp *Spec) { sp.HTLCs = make([]HTLC, 967) }},
		{"cltv_expiry 500000000 above maximum 499999999", func(_ *Static, sp *Spec) {
			sp.HTLCs = []HTLC{{Expiry: 500_000_000}}
		}},
		{"and 0 HTLCs exceed capacity 1000000000 msat", func(_ *Static, sp *Spec) { sp.ToOwner++ }},
		{"and 2 HTLCs exceed capacity", func(_ *Static, sp *Spec) { // a sum that wraps around to the right one
			sp.HTLCs = []HTLC{{Amount: 1 << 63}, {Amount: 1 << 63}}
		}},
		{"and 0 HTLCs are 1 msat short of capacity 1000000000 msat", func(_ *Static, sp *Spec) { sp.ToOther-- }},
		{"no output reaches dust_limit_satoshis", func(st *Static, _ *Spec) { st.DustLimit = 1_000_001 }},
		{"opener cannot pay fee 1124 and anchors: outputs of 1000330 satoshi exceed capacity 1000000",
			func(_ *Static, sp *Spec) { sp.ToOwner, sp.ToOther = 0, 1_000_000_000 }},
	} {
		t.Run(c.want, func(t *testing.T) {
			w := newWorld(t, seeded(1))
			w.static.Capacity, w.static.OwnerIsOpener, w.static.DustLimit = 1_000_000, true, 354
			sp := Spec{FeePerKw: 1000, ToOwner: 500_000_000, ToOther: 500_000_000}
			c.change(&w.static, &sp)
			if _, err := Build(w.static, w.keys, sp); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
