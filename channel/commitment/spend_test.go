package commitment

import (
	"math/rand/v2"
	"testing"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// built is a world with a commitment that has all kinds of outputs.
type built struct {
	*world
	c                 *Commitment
	script            []byte // funding
	offered, received *HTLCOutput
}

func newBuilt(t *testing.T, r *rand.Rand) *built {
	t.Helper()
	b := &built{world: newWorld(t, r)}
	sp := Spec{Number: 7, FeePerKw: 253}
	for i, offered := range []bool{true, false} {
		h := b.htlc(r, uint64(i), 2_000_000)
		h.Offered = offered
		sp.HTLCs = append(sp.HTLCs, h)
	}
	sp.ToOwner = 400_000_000
	sp.ToOther = msat(b.static.Capacity) - sp.ToOwner - 4_000_000
	var err error
	if b.c, err = Build(b.static, b.keys, sp); err != nil {
		t.Fatal(err)
	}
	b.script, _ = FundingScript(b.keys.OwnerFunding, b.keys.OtherFunding)
	for i := range b.c.HTLCs {
		if h := &b.c.HTLCs[i]; h.HTLC.Offered {
			b.offered = h
		} else {
			b.received = h
		}
	}
	return b
}

// sweep makes a transaction that spends s, signed by signer.
func sweep(s *Spend, signer *Privs) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.LockTime = s.LockTime
	tx.AddTxIn(s.Input())
	tx.AddTxOut(wire.NewTxOut(s.Amount-200, P2WSH([]byte{1})))
	complete(s, tx, signer)
	return tx
}

func complete(s *Spend, tx *wire.MsgTx, signer *Privs) {
	if !s.NeedsSignature() {
		tx.TxIn[0].Witness = s.Witness(lnwire.Sig{})
		return
	}
	m := NewMidstate(tx)
	tx.TxIn[0].Witness = s.Witness(SignWith(s.Job(&m, tx, 0), signer))
}

// witnessWeight is what the witnesses of tx weigh beyond marker and flag.
func witnessWeight(tx *wire.MsgTx) int64 {
	return int64(tx.SerializeSize() - tx.SerializeSizeStripped() - 2)
}

// TestSpends runs every way to spend an output through the script engine, and what must not work.
func TestSpends(t *testing.T) {
	b := newBuilt(t, newRand(t))
	c, k, delay := b.c, &b.keys, b.static.ToSelfDelay
	output := func(index int) (wire.OutPoint, *wire.TxOut) { return c.OutPoint(index), c.Tx.TxOut[index] }
	toLocal, toLocalOut := output(c.ToOwner)
	toRemote, toRemoteOut := output(c.ToOther)
	anchorA, anchorOutA := output(c.OwnerAnchor)
	anchorB, anchorOutB := output(c.OtherAnchor)
	offered, offeredOut := output(int(b.offered.Index))
	received, receivedOut := output(int(b.received.Index))
	second := wire.OutPoint{Hash: b.offered.Tx.TxHash()}
	secondOut := b.offered.Tx.TxOut[0]
	preimage := b.preimages[b.offered.HTLC.Hash]

	for _, p := range []struct {
		name   string
		spend  Spend
		prev   *wire.TxOut
		signer *Privs
		wrong  *Privs // whose key must not do; nil: needs no key
	}{
		{"to_local by the owner", SpendDelayed(k, delay, toLocal, toLocalOut.Value), toLocalOut, &b.owner, &b.other},
		{"to_local revoked", SpendRevoked(k, delay, b.secret, toLocal, toLocalOut.Value), toLocalOut, &b.other, &b.owner},
		{"second stage by the owner", SpendDelayed(k, delay, second, secondOut.Value), secondOut, &b.owner, &b.other},
		{"second stage revoked", SpendRevoked(k, delay, b.secret, second, secondOut.Value), secondOut, &b.other, &b.owner},
		{"to_remote", SpendToRemote(k.OtherPayment, toRemote, toRemoteOut.Value), toRemoteOut, &b.other, &b.owner},
		{"anchor of the owner", SpendAnchor(k.OwnerFunding, anchorA), anchorOutA, &b.owner, &b.other},
		{"anchor of the other", SpendAnchor(k.OtherFunding, anchorB), anchorOutB, &b.other, &b.owner},
		{"anchor by anyone", SpendAnchorAnyone(k.OtherFunding, anchorB), anchorOutB, nil, nil},
		{"offered HTLC with preimage", SpendPreimage(k, b.offered.HTLC, preimage, offered), offeredOut, &b.other, &b.owner},
		{"received HTLC after its expiry", SpendTimeout(k, b.received.HTLC, received), receivedOut, &b.other, &b.owner},
		{"offered HTLC revoked", SpendRevokedHTLC(k, b.offered.HTLC, b.secret, offered), offeredOut, &b.other, &b.owner},
		{"received HTLC revoked", SpendRevokedHTLC(k, b.received.HTLC, b.secret, received), receivedOut, &b.other, &b.owner},
	} {
		t.Run(p.name, func(t *testing.T) {
			s := p.spend
			tx := sweep(&s, p.signer)
			mustSpend(t, tx, 0, p.prev)
			// The weight holds, and is close: at most two bytes of signature and three of numbers less.
			if w := witnessWeight(tx); w > s.Weight || w < s.Weight-8 {
				t.Errorf("witness weight %d, expected %d", w, s.Weight)
			}
			if got, want := blockchain.GetTransactionWeight(btcutil.NewTx(tx)), TxWeight([]int64{s.Weight}, tx.TxOut[0].PkScript); got > want {
				t.Errorf("transaction weight %d, expected %d", got, want)
			}
			if p.wrong != nil {
				fails(t, "wrong key", sweep(&s, p.wrong), p.prev)
			}
			early := s
			if s.Sequence < sequenceFree {
				early.Sequence--
				fails(t, "too early", sweep(&early, p.signer), p.prev)
			}
			early = s
			if s.LockTime > 0 {
				early.LockTime--
				fails(t, "before the expiry", sweep(&early, p.signer), p.prev)
			}
			if s.NeedsSignature() {
				changed := tx.Copy()
				changed.TxOut[0].Value--
				fails(t, "changed after signing", changed, p.prev)
			}
		})
	}

	t.Run("preimage in a witness", func(t *testing.T) {
		s := SpendPreimage(k, b.offered.HTLC, preimage, offered)
		tx := sweep(&s, &b.other)
		if got, ok := PreimageIn(tx, b.offered.HTLC.Hash); !ok || got != preimage {
			t.Error("preimage not found")
		}
		if _, ok := PreimageIn(tx, b.received.HTLC.Hash); ok {
			t.Error("another preimage found")
		}
	})
	t.Run("wrong preimage", func(t *testing.T) {
		s := SpendPreimage(k, b.offered.HTLC, [32]byte{1}, offered)
		fails(t, "wrong preimage", sweep(&s, &b.other), offeredOut)
	})
	for name, s := range map[string]Spend{
		"to_local":      SpendRevoked(k, delay, [32]byte{9}, toLocal, toLocalOut.Value),
		"offered HTLC":  SpendRevokedHTLC(k, b.offered.HTLC, [32]byte{9}, offered),
		"received HTLC": SpendRevokedHTLC(k, b.received.HTLC, [32]byte{9}, received),
	} {
		t.Run("wrong secret, "+name, func(t *testing.T) {
			fails(t, "wrong secret", sweep(&s, &b.other), c.Tx.TxOut[s.Prev.Index])
		})
	}
}

func fails(t *testing.T, what string, tx *wire.MsgTx, prev *wire.TxOut) {
	t.Helper()
	if runScript(tx, 0, prev) == nil {
		t.Errorf("%s: spent", what)
	}
}

// TestHTLCTransactions runs HTLC-success and HTLC-timeout, alone and with inputs and outputs added for a fee.
func TestHTLCTransactions(t *testing.T) {
	b := newBuilt(t, newRand(t))
	theirs := SignAll(b.c.SignJobs(b.script), &b.other)
	jobs, err := b.c.VerifyJobs(b.script, theirs)
	if err != nil || !VerifyAll(jobs) {
		t.Fatalf("signatures do not hold: %v", err)
	}
	for i := range b.c.HTLCs {
		h := &b.c.HTLCs[i]
		prev := b.c.Tx.TxOut[h.Index]
		name, weight := "HTLC-success", int64(HTLCSuccessWitness)
		preimage := b.preimages[h.HTLC.Hash]
		stack := func(other, owner lnwire.Sig) wire.TxWitness {
			return HTLCSuccessStack(h.Script, other, owner, preimage)
		}
		if h.HTLC.Offered {
			name, weight = "HTLC-timeout", HTLCTimeoutWitness
			stack = func(other, owner lnwire.Sig) wire.TxWitness { return HTLCTimeoutStack(h.Script, other, owner) }
		}
		sign := func(tx *wire.MsgTx, in int) wire.TxWitness {
			m := NewMidstate(tx)
			job := SignJob{Key: KeyHTLC, Point: b.keys.PerCommitmentPoint, Digest: m.Digest(tx, in, h.Script, prev.Value)}
			return stack(theirs[1+i], SignWith(job, &b.owner))
		}
		t.Run(name, func(t *testing.T) {
			tx := h.Tx.Copy()
			tx.TxIn[0].Witness = sign(tx, 0)
			mustSpend(t, tx, 0, prev)
			if w := witnessWeight(tx); w > weight || w < weight-8 {
				t.Errorf("witness weight %d, expected %d", w, weight)
			}
		})
		t.Run(name+" with a fee", func(t *testing.T) {
			tx := h.Tx.Copy()
			tx.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Index: 3}})
			tx.AddTxOut(wire.NewTxOut(1000, prev.PkScript))
			tx.TxIn[0].Witness = sign(tx, 0)
			mustSpend(t, tx, 0, prev)
		})
		t.Run(name+" refused", func(t *testing.T) {
			tx := h.Tx.Copy()
			tx.TxOut[0].Value-- // the other signed the first output
			tx.TxIn[0].Witness = sign(tx, 0)
			fails(t, "changed output", tx, prev)

			tx = h.Tx.Copy()
			tx.LockTime ^= 1 // both sign the locktime
			tx.TxIn[0].Witness = sign(tx, 0)
			fails(t, "changed locktime", tx, prev)

			tx = h.Tx.Copy()
			tx.TxIn[0].Sequence = 0
			tx.TxIn[0].Witness = sign(tx, 0)
			fails(t, "too early", tx, prev)

			tx = h.Tx.Copy()
			own := SignWith(SignJob{Key: KeyHTLC, Point: b.keys.PerCommitmentPoint,
				Digest: HTLCDigest(tx, 0, h.Script, prev.Value)}, &b.owner)
			tx.TxIn[0].Witness = stack(own, own)
			fails(t, "without the other", tx, prev)

			if !h.HTLC.Offered {
				preimage[0] ^= 1
				tx = h.Tx.Copy()
				tx.TxIn[0].Witness = sign(tx, 0)
				fails(t, "wrong preimage", tx, prev)
				preimage[0] ^= 1
			}
		})
	}
}

// TestCombinedPenalty spends all outputs of a revoked commitment in one transaction.
func TestCombinedPenalty(t *testing.T) {
	b := newBuilt(t, newRand(t))
	c, k := b.c, &b.keys
	spends := []Spend{
		SpendRevoked(k, b.static.ToSelfDelay, b.secret, c.OutPoint(c.ToOwner), c.Tx.TxOut[c.ToOwner].Value),
		SpendRevokedHTLC(k, b.offered.HTLC, b.secret, c.OutPoint(int(b.offered.Index))),
		SpendRevokedHTLC(k, b.received.HTLC, b.secret, c.OutPoint(int(b.received.Index))),
		SpendToRemote(k.OtherPayment, c.OutPoint(c.ToOther), c.Tx.TxOut[c.ToOther].Value),
	}
	tx := wire.NewMsgTx(2)
	var weights []int64
	for i := range spends {
		tx.AddTxIn(spends[i].Input())
		weights = append(weights, spends[i].Weight)
	}
	tx.AddTxOut(wire.NewTxOut(500_000, P2WSH([]byte{1})))
	m := NewMidstate(tx)
	var jobs []SignJob
	for i := range spends {
		jobs = append(jobs, spends[i].Job(&m, tx, i))
	}
	for i, sig := range SignAll(jobs, &b.other) {
		tx.TxIn[i].Witness = spends[i].Witness(sig)
	}
	for i := range spends {
		mustSpend(t, tx, i, c.Tx.TxOut[spends[i].Prev.Index])
	}
	if got, want := blockchain.GetTransactionWeight(btcutil.NewTx(tx)), TxWeight(weights, tx.TxOut[0].PkScript); got > want || got < want-40 {
		t.Errorf("weight %d, expected %d", got, want)
	}
}
