package onchain

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// side is one party of a channel with its keys.
type side struct {
	privs commitment.Privs
	seed  [32]byte
}

func newSide(name string) side {
	key := func(what string) *btcec.PrivateKey {
		h := sha256.Sum256([]byte(name + "/" + what))
		k, _ := btcec.PrivKeyFromBytes(h[:])
		return k
	}
	return side{
		privs: commitment.Privs{
			Funding: key("funding"), Revocation: key("revocation"), Payment: key("payment"),
			DelayedPayment: key("delayed"), HTLC: key("htlc"),
		},
		seed: sha256.Sum256([]byte(name + "/seed")),
	}
}

func (s *side) Sign(jobs []commitment.SignJob) []lnwire.Sig {
	return commitment.SignAll(jobs, &s.privs)
}

func (s *side) secret(n uint64) [32]byte {
	return commitment.SecretFromSeed(s.seed, commitment.SecretIndex(n))
}

var sides = [2]side{newSide("us"), newSide("them")}

// Which commitments an HTLC is in.
const (
	inOurs  = 1 << iota
	inOlder // the peer's, when it owes a revoke_and_ack for it
	inNewer // the peer's newest
	inOld   // one that the peer has revoked
	inAll   = inOurs | inOlder | inNewer | inOld
)

// testHTLC is an HTLC of a world.
type testHTLC struct {
	offered  bool // by us
	sat      int64
	expiry   uint32
	secret   string // gives the preimage; equal ones give equal hashes
	in       int
	known    bool   // the preimage, at the close
	deadline uint32 // Params
}

func preimageOf(secret string) [32]byte { return sha256.Sum256([]byte("preimage " + secret)) }

// Numbers of the commitments of a world.
const (
	ourNumber   = 7
	olderNumber = 8
	newerNumber = 9
	oldNumber   = 3
)

// world is a channel, and all that both sides could publish.
type world struct {
	us, them   *side
	p          Params
	htlcs      []testHTLC
	commits    map[int]*commitment.Commitment // by one of the in bits
	script     []byte                         // of the funding output
	fundingOut *wire.TxOut
}

// config of a world.
type config struct {
	funding  wire.OutPoint
	capacity int64 // default 1,000,000
	local    int64 // sat, our balance before HTLCs, default half of it
	opener   bool  // we are
	rate     uint32
	delay    uint16 // ours and theirs, default 10
	height   uint32
	single   bool // only one commitment of the peer is unrevoked: the newer
	sweep    []byte
	stale    bool
}

const testDust = 354

var sweepScript = commitment.P2WSH([]byte{txscript.OP_TRUE, txscript.OP_NOP})

func newWorld(t testing.TB, c config, htlcs ...testHTLC) *world {
	t.Helper()
	orDefault(&c.capacity, 1_000_000)
	orDefault(&c.local, c.capacity/2)
	orDefault(&c.rate, 253)
	orDefault(&c.delay, 10)
	if c.sweep == nil {
		c.sweep = sweepScript
	}
	w := &world{us: &sides[0], them: &sides[1], htlcs: htlcs, commits: make(map[int]*commitment.Commitment)}
	local, remote := w.us.privs.BasePoints(), w.them.privs.BasePoints()
	w.script, _ = commitment.FundingScript(local.Funding, remote.Funding)
	_, pkScript := commitment.FundingScript(local.Funding, remote.Funding)
	w.fundingOut = &wire.TxOut{Value: c.capacity, PkScript: pkScript}
	w.p = Params{
		Funding: c.funding, Capacity: c.capacity, Opener: c.opener, Local: local, Remote: remote,
		LocalDustLimit: testDust, RemoteDustLimit: testDust, LocalDelay: c.delay, RemoteDelay: c.delay,
		Sweep: c.sweep, Height: c.height, Stale: c.stale,
	}
	for n := uint64(0); n < olderNumber; n++ {
		must(t, w.p.Secrets.Add(n, w.them.secret(n)))
	}
	ids := map[bool]uint64{}
	for i := range htlcs {
		h := &htlcs[i]
		preimage := preimageOf(h.secret)
		e := HTLC{
			ID: ids[h.offered], Offered: h.offered, Amount: lnwire.MilliSatoshi(h.sat * 1000), Hash: sha256.Sum256(preimage[:]),
			Expiry: h.expiry, Deadline: h.deadline,
		}
		ids[h.offered]++
		if h.known {
			e.Preimage = &preimage
		}
		w.p.HTLCs = append(w.p.HTLCs, e)
	}
	if c.single {
		must(t, w.p.Secrets.Add(olderNumber, w.them.secret(olderNumber)))
	}
	for _, which := range []struct {
		in     int
		number uint64
		owner  Owner
	}{{inOurs, ourNumber, Local}, {inOlder, olderNumber, Remote}, {inNewer, newerNumber, Remote}, {inOld, oldNumber, Cheat}} {
		of := w.commit(c, which.owner, which.number, which.in)
		k, err := w.p.keys(which.owner, of.Point)
		must(t, err)
		cm, err := commitment.Build(w.p.static(which.owner), k, of.Spec)
		must(t, err)
		w.commits[which.in] = cm
		switch {
		case which.owner == Local:
			sigs := w.them.Sign(cm.SignJobs(w.script))
			of.Sig, of.HTLCSigs = sigs[0], sigs[1:]
			w.p.Ours = of
		case which.owner == Remote && !(c.single && which.in == inOlder):
			w.p.Theirs = append(w.p.Theirs, of)
		}
	}
	return w
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// commit is what a commitment pays: HTLCs come out of the balance of who offered them.
func (w *world) commit(c config, owner Owner, number uint64, in int) Commit {
	local, remote := c.local*1000, (c.capacity-c.local)*1000
	sp := commitment.Spec{Number: number, FeePerKw: c.rate}
	for i := range w.p.HTLCs {
		h := &w.p.HTLCs[i]
		if w.htlcs[i].in&in == 0 {
			continue
		}
		if h.Offered {
			local -= int64(h.Amount)
		} else {
			remote -= int64(h.Amount)
		}
		sp.HTLCs = append(sp.HTLCs, commitment.HTLC{ID: h.ID, Offered: h.Offered == (owner == Local), Amount: h.Amount, Hash: h.Hash, Expiry: h.Expiry})
	}
	s := w.them
	sp.ToOwner, sp.ToOther = lnwire.MilliSatoshi(remote), lnwire.MilliSatoshi(local)
	if owner == Local {
		s = w.us
		sp.ToOwner, sp.ToOther = sp.ToOther, sp.ToOwner
	}
	return Commit{Spec: sp, Point: commitment.PointOf(s.secret(number))}
}

// tx is a commitment signed by both.
func (w *world) tx(in int) *wire.MsgTx {
	cm := w.commits[in]
	job := commitment.SignJob{Key: commitment.KeyFunding, Digest: cm.Digest(w.script)}
	owner, other := w.them, w.us
	if in == inOurs {
		owner, other = other, owner
	}
	return cm.Signed(w.script, owner.Sign([]commitment.SignJob{job})[0], other.Sign([]commitment.SignJob{job})[0])
}

// row is what is remembered of the revoked commitment.
func (w *world) row() []commitment.HTLC {
	var hs []commitment.HTLC
	for _, h := range w.commits[inOld].Spec.HTLCs {
		if !commitment.Trimmed(h, w.p.RemoteDustLimit) {
			hs = append(hs, h)
		}
	}
	return hs
}

// output finds the output of HTLC i of the world in a commitment, nil if it has none.
func (w *world) output(in, i int) *commitment.HTLCOutput {
	cm := w.commits[in]
	h := &w.p.HTLCs[i]
	owner := Remote
	if in == inOurs {
		owner = Local
	}
	for n := range cm.HTLCs {
		if keyOf(owner, &cm.HTLCs[n].HTLC) == h.key() {
			return &cm.HTLCs[n]
		}
	}
	return nil
}

// peerSpend is the peer's transaction for one output, at this fee.
func (w *world) peerSpend(s commitment.Spend, fee int64) *wire.MsgTx {
	tx := &wire.MsgTx{
		Version: 2, TxIn: []*wire.TxIn{s.Input()}, LockTime: s.LockTime,
		TxOut: []*wire.TxOut{{Value: s.Amount - fee, PkScript: peerScript}},
	}
	m := commitment.NewMidstate(tx)
	tx.TxIn[0].Witness = s.Witness(w.them.Sign([]commitment.SignJob{s.Job(&m, tx, 0)})[0])
	return tx
}

var peerScript = commitment.P2WSH([]byte{txscript.OP_TRUE, txscript.OP_NOP, txscript.OP_NOP})

// coin is an output that anyone can spend, for fees.
type coin struct {
	out   wire.OutPoint
	value int64
}

var (
	anyoneScript  = []byte{txscript.OP_TRUE}
	anyonePk      = commitment.P2WSH(anyoneScript)
	anyoneWitness = wire.TxWitness{anyoneScript}
)

// peerHTLC is how the peer takes HTLC i: of our commitment by preimage or timeout, of its own with an HTLC transaction.
func (w *world) peerHTLC(in, i int, c coin, fee int64) *wire.MsgTx {
	o := w.output(in, i)
	if o == nil {
		return nil
	}
	cm := w.commits[in]
	preimage := preimageOf(w.htlcs[i].secret)
	prev := cm.OutPoint(int(o.Index))
	if in == inOurs {
		s := commitment.SpendTimeout(&cm.Keys, o.HTLC, prev)
		if o.HTLC.Offered {
			s = commitment.SpendPreimage(&cm.Keys, o.HTLC, preimage, prev)
		}
		return w.peerSpend(s, min(fee, s.Amount-330))
	}
	return w.htlcTx(cm, []*commitment.HTLCOutput{o}, c, fee)
}

// htlcTx is an HTLC transaction of the peer with a coin for its fee; with several HTLCs they share it.
func (w *world) htlcTx(cm *commitment.Commitment, os []*commitment.HTLCOutput, c coin, fee int64) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	for _, o := range os {
		tx.LockTime = max(tx.LockTime, o.Tx.LockTime)
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: o.Tx.TxIn[0].PreviousOutPoint, Sequence: 1})
		tx.AddTxOut(o.Tx.TxOut[0])
	}
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: c.out, Sequence: 0xfffffffd, Witness: anyoneWitness})
	tx.AddTxOut(&wire.TxOut{Value: c.value - fee, PkScript: peerScript})
	for n, o := range os {
		amount := int64(o.HTLC.Amount / 1000)
		job := commitment.SignJob{Key: commitment.KeyHTLC, Point: cm.Keys.PerCommitmentPoint}
		job.Digest = commitment.HTLCDigest(tx, n, o.Script, amount)
		ours := w.us.Sign([]commitment.SignJob{job})[0]
		m := commitment.NewMidstate(tx)
		job.Digest = m.Digest(tx, n, o.Script, amount)
		own := w.them.Sign([]commitment.SignJob{job})[0]
		tx.TxIn[n].Witness = commitment.HTLCTimeoutStack(o.Script, ours, own)
		if !o.HTLC.Offered {
			tx.TxIn[n].Witness = commitment.HTLCSuccessStack(o.Script, ours, own, w.preimage(o.HTLC.Hash))
		}
	}
	return tx
}

func (w *world) preimage(hash [32]byte) [32]byte {
	for i := range w.htlcs {
		if p := preimageOf(w.htlcs[i].secret); sha256.Sum256(p[:]) == hash {
			return p
		}
	}
	panic("no such hash")
}

// peerDelayed is the peer's sweep of an output after its to_self_delay.
func (w *world) peerDelayed(in int, prev wire.OutPoint, amount int64) *wire.MsgTx {
	return w.peerSpend(commitment.SpendDelayed(&w.commits[in].Keys, w.p.RemoteDelay, prev, amount), 200)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func commitName(in int) string {
	return map[int]string{inOurs: "ours", inOlder: "older", inNewer: "newer", inOld: "revoked"}[in]
}

func sumOut(tx *wire.MsgTx) (sum int64) {
	for _, o := range tx.TxOut {
		sum += o.Value
	}
	return sum
}

func outText(o wire.OutPoint) string { return fmt.Sprintf("%.8s:%d", o.Hash, o.Index) }

// future is a commitment of the peer that is newer than all we know: with the HTLCs of the bits, signed by both.
func (w *world) future(t testing.TB, c config, in int) *wire.MsgTx {
	t.Helper()
	orDefault(&c.capacity, 1_000_000)
	orDefault(&c.local, c.capacity/2)
	orDefault(&c.rate, 253)
	of := w.commit(c, Remote, 20, in)
	k, err := w.p.keys(Remote, of.Point)
	must(t, err)
	const inFuture = 1 << 10
	w.commits[inFuture], err = commitment.Build(w.p.static(Remote), k, of.Spec)
	must(t, err)
	return w.tx(inFuture)
}
