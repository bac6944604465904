package commitment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// hexBytes is bytes as hex in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type hex32 [32]byte

func (h *hex32) UnmarshalText(text []byte) error {
	_, err := hex.Decode(h[:], text)
	return err
}

type bolt03 struct {
	B struct {
		LocalFunding  hexBytes `json:"local_funding_pubkey"`
		RemoteFunding hexBytes `json:"remote_funding_pubkey"`
		Script        hexBytes `json:"funding_witness_script"`
		Satoshis      int64    `json:"funding_satoshis"`
		Output        int      `json:"funding_output"`
		Tx            hexBytes `json:"funding_tx"`
		TxID          string   `json:"txid"`
	} `json:"appendix_b"`
	P vectorParams `json:"parameters"`
	D struct {
		Generate []struct {
			Name   string
			Seed   hex32
			Index  uint64
			Output hex32
		}
		Insert []struct {
			Name  string
			Steps []struct {
				Index  uint64
				Secret hex32
				OK     bool
			}
		}
	} `json:"appendix_d"`
	E struct {
		BaseSecret  hex32    `json:"base_secret"`
		PointSecret hex32    `json:"per_commitment_secret"`
		BasePoint   hexBytes `json:"base_point"`
		Point       hexBytes `json:"per_commitment_point"`
		Derivations []struct {
			Name   string
			Output hexBytes
		}
	} `json:"appendix_e"`
}

type vectorParams struct {
	Capacity         int64  `json:"funding_amount_satoshi"`
	FundingTxID      string `json:"funding_txid"`
	FundingIndex     uint32 `json:"funding_output_index"`
	Number           uint64 `json:"commitment_number"`
	Delay            uint16 `json:"local_delay"`
	LocalFunding     hex32  `json:"local_funding_privkey"`
	RemoteFunding    hex32  `json:"remote_funding_privkey"`
	LocalPayment     hex32  `json:"local_payment_basepoint_secret"`
	RemotePayment    hex32  `json:"remote_payment_basepoint_secret"`
	RemoteRevocation hex32  `json:"remote_revocation_basepoint_secret"`
	LocalDelayed     hex32  `json:"local_delayed_payment_basepoint_secret"`
	PointSecret      hex32  `json:"local_per_commitment_secret"`

	LocalPaymentPoint  hexBytes `json:"local_payment_basepoint"`
	RemotePaymentPoint hexBytes `json:"remote_payment_basepoint"`
	Obscure            string   `json:"obscuring_factor"`
	LocalHTLCKey       hexBytes `json:"local_htlcpubkey"`
	RemoteHTLCKey      hexBytes `json:"remote_htlcpubkey"`
	LocalDelayedKey    hexBytes `json:"local_delayedpubkey"`
	RevocationKey      hexBytes `json:"local_revocation_pubkey"`

	HTLCs []struct {
		ID       uint64
		Offered  bool
		Amount   lnwire.MilliSatoshi `json:"amount_msat"`
		Expiry   uint32
		Preimage hex32 `json:"payment_preimage"`
	}
}

func loadJSON(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func priv(b [32]byte) *btcec.PrivateKey {
	key, _ := btcec.PrivKeyFromBytes(b[:])
	return key
}

func TestVectorsFunding(t *testing.T) {
	var v bolt03
	loadJSON(t, "bolt03.json", &v)
	for name, order := range map[string][2]hexBytes{
		"local first":  {v.B.LocalFunding, v.B.RemoteFunding},
		"remote first": {v.B.RemoteFunding, v.B.LocalFunding},
	} {
		t.Run("appendix B funding transaction, "+name, func(t *testing.T) {
			script, pkScript := FundingScript(PubKey(order[0]), PubKey(order[1]))
			if !bytes.Equal(script, v.B.Script) {
				t.Errorf("script %x, want %x", script, v.B.Script)
			}
			var tx wire.MsgTx
			if err := tx.Deserialize(bytes.NewReader(v.B.Tx)); err != nil {
				t.Fatal(err)
			}
			if tx.TxHash().String() != v.B.TxID {
				t.Errorf("txid %s, want %s", tx.TxHash(), v.B.TxID)
			}
			out := tx.TxOut[v.B.Output]
			if !bytes.Equal(out.PkScript, pkScript) || out.Value != v.B.Satoshis {
				t.Errorf("output %d to %x, want %d to %x", out.Value, out.PkScript, v.B.Satoshis, pkScript)
			}
		})
	}
}

func TestVectorsSecrets(t *testing.T) {
	var v bolt03
	loadJSON(t, "bolt03.json", &v)
	for _, g := range v.D.Generate {
		t.Run(g.Name, func(t *testing.T) {
			if got := SecretFromSeed(g.Seed, g.Index); got != [32]byte(g.Output) {
				t.Errorf("secret %x, want %x", got, g.Output)
			}
		})
	}
	for _, in := range v.D.Insert {
		t.Run(in.Name, func(t *testing.T) {
			var s SecretStore
			for _, step := range in.Steps {
				n := uint64(MaxNumber) - step.Index
				before := s
				err := s.Add(n, step.Secret)
				if (err == nil) != step.OK {
					t.Fatalf("commitment %d: error %v, want ok %v", n, err, step.OK)
				}
				if err != nil && s != before {
					t.Error("failed Add changed the store")
				}
				if err != nil {
					continue
				}
				if got, ok := s.Lookup(n); !ok || got != [32]byte(step.Secret) {
					t.Errorf("Lookup(%d) = %x, %v", n, got, ok)
				}
			}
		})
	}
}

func TestVectorsKeys(t *testing.T) {
	var v bolt03
	loadJSON(t, "bolt03.json", &v)
	base, secret := priv(v.E.BaseSecret), [32]byte(v.E.PointSecret)
	point := PointOf(secret)
	if pubKey(base) != PubKey(v.E.BasePoint) || point != PubKey(v.E.Point) {
		t.Fatalf("points %x and %x, want %x and %x", pubKey(base), point, v.E.BasePoint, v.E.Point)
	}
	got := []func() []byte{
		func() []byte { k, _ := DerivePubKey(pubKey(base), point); return k[:] },
		func() []byte { return DerivePrivKey(base, point).Serialize() },
		func() []byte { k, _ := DeriveRevocationPubKey(pubKey(base), point); return k[:] },
		func() []byte { return DeriveRevocationPrivKey(base, secret).Serialize() },
	}
	for i, d := range v.E.Derivations {
		t.Run(d.Name, func(t *testing.T) {
			if k := got[i](); !bytes.Equal(k, d.Output) {
				t.Errorf("key %x, want %x", k, d.Output)
			}
		})
	}
}

// anchorsVector is a case of appendix F.
type anchorsVector struct {
	Name          string
	LocalBalance  lnwire.MilliSatoshi
	RemoteBalance lnwire.MilliSatoshi
	DustLimit     int64 `json:"DustLimitSatoshis"`
	FeePerKw      uint32
	UseTestHtlcs  bool
	HtlcDescs     []struct {
		RemoteSigHex    hexBytes
		ResolutionTxHex hexBytes
	}
	ExpectedCommitmentTxHex hexBytes
	RemoteSigHex            hexBytes
}

// channel gives the private keys of both sides and the parameters of appendix C and F. Keys they do not name are
// taken from others: they are not used on these commitments.
func (p *vectorParams) channel(t testing.TB) (owner, other Privs, st Static, k Keys) {
	t.Helper()
	owner = Privs{
		Funding: priv(p.LocalFunding), Revocation: priv(p.LocalDelayed), Payment: priv(p.LocalPayment),
		DelayedPayment: priv(p.LocalDelayed), HTLC: priv(p.LocalPayment),
	}
	other = Privs{
		Funding: priv(p.RemoteFunding), Revocation: priv(p.RemoteRevocation), Payment: priv(p.RemotePayment),
		DelayedPayment: priv(p.RemotePayment), HTLC: priv(p.RemotePayment),
	}
	k, err := DeriveKeys(PointOf(p.PointSecret), owner.BasePoints(), other.BasePoints())
	if err != nil {
		t.Fatal(err)
	}
	txid, err := chainhash.NewHashFromStr(p.FundingTxID)
	if err != nil {
		t.Fatal(err)
	}
	st = Static{
		Funding:       wire.OutPoint{Hash: *txid, Index: p.FundingIndex},
		Capacity:      p.Capacity,
		OwnerIsOpener: true,
		ToSelfDelay:   p.Delay,
		Obscure:       ObscureFactor(PubKey(p.LocalPaymentPoint), PubKey(p.RemotePaymentPoint)),
	}
	return owner, other, st, k
}

func TestVectorsParameters(t *testing.T) {
	var v bolt03
	loadJSON(t, "bolt03.json", &v)
	_, _, st, k := v.P.channel(t)
	if got := hex.EncodeToString(be48(st.Obscure)); got != v.P.Obscure {
		t.Errorf("obscuring factor %s, want %s", got, v.P.Obscure)
	}
	for _, c := range []struct {
		name string
		got  PubKey
		want hexBytes
	}{
		{"local_htlcpubkey", k.OwnerHTLC, v.P.LocalHTLCKey},
		{"remote_htlcpubkey", k.OtherHTLC, v.P.RemoteHTLCKey},
		{"local_delayedpubkey", k.OwnerDelayed, v.P.LocalDelayedKey},
		{"local_revocation_pubkey", k.Revocation, v.P.RevocationKey},
	} {
		if !bytes.Equal(c.got[:], c.want) {
			t.Errorf("%s %x, want %x", c.name, c.got, c.want)
		}
	}
}

func be48(n uint64) []byte {
	return []byte{byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func TestVectorsAnchors(t *testing.T) {
	var v bolt03
	loadJSON(t, "bolt03.json", &v)
	for _, file := range []string{"bolt03-anchors.json", "eclair-zero-fee-htlc.json"} {
		var cases []anchorsVector
		loadJSON(t, file, &cases)
		for _, c := range cases {
			t.Run(strings.TrimSuffix(file, ".json")+"/"+c.Name, func(t *testing.T) { testAnchors(t, &v.P, &c) })
		}
	}
}

func testAnchors(t *testing.T, p *vectorParams, v *anchorsVector) {
	owner, other, st, k := p.channel(t)
	st.DustLimit = v.DustLimit
	sp := Spec{Number: p.Number, FeePerKw: v.FeePerKw, ToOwner: v.LocalBalance, ToOther: v.RemoteBalance}
	preimages := make(map[uint64][32]byte)
	sameAmount := strings.Contains(v.Name, "same amount")
	for _, h := range p.HTLCs {
		// HTLCs 5 and 6 are for the case "same amount and preimage" only, which has HTLC 1 besides.
		used := h.ID < 5
		if sameAmount {
			used = h.ID == 1 || h.ID >= 5
		}
		if !v.UseTestHtlcs || !used {
			continue
		}
		preimages[h.ID] = h.Preimage
		sp.HTLCs = append(sp.HTLCs, HTLC{ID: h.ID, Offered: h.Offered, Amount: h.Amount, Expiry: h.Expiry,
			Hash: sha256.Sum256(h.Preimage[:])})
	}
	c, err := Build(st, k, sp)
	if err != nil {
		t.Fatal(err)
	}
	script, pkScript := FundingScript(k.OwnerFunding, k.OtherFunding)

	// The other signs, and its signatures hold.
	theirs := SignAll(c.SignJobs(script), &other)
	jobs, err := c.VerifyJobs(script, theirs)
	if err != nil || !VerifyAll(jobs) {
		t.Fatalf("signatures do not hold: %v", err)
	}
	sameSig(t, "remote signature", theirs[0], v.RemoteSigHex)

	// The owner completes the transactions.
	ours := SignAll(c.OwnerJobs(script), &owner)
	signed := c.Signed(script, ours[0], theirs[0])
	sameTx(t, "commitment", signed, v.ExpectedCommitmentTxHex)
	mustSpend(t, signed, 0, &wire.TxOut{Value: st.Capacity, PkScript: pkScript})
	if len(c.HTLCs) != len(v.HtlcDescs) {
		t.Fatalf("%d HTLC outputs, want %d", len(c.HTLCs), len(v.HtlcDescs))
	}
	for i, h := range c.HTLCs {
		sameSig(t, "remote HTLC signature", theirs[1+i], v.HtlcDescs[i].RemoteSigHex)
		tx := h.Tx.Copy()
		tx.TxIn[0].Witness = HTLCSuccessStack(h.Script, theirs[1+i], ours[1+i], preimages[h.HTLC.ID])
		if h.HTLC.Offered {
			tx.TxIn[0].Witness = HTLCTimeoutStack(h.Script, theirs[1+i], ours[1+i])
		}
		sameTx(t, "HTLC transaction", tx, v.HtlcDescs[i].ResolutionTxHex)
		mustSpend(t, tx, 0, c.Tx.TxOut[h.Index])
	}
}

func sameSig(t *testing.T, what string, got lnwire.Sig, want []byte) {
	t.Helper()
	if b := WitnessSig(got, SigHashAll); !bytes.Equal(b[:len(b)-1], want) {
		t.Errorf("%s %x, want %x", what, b[:len(b)-1], want)
	}
}

func sameTx(t *testing.T, what string, tx *wire.MsgTx, want []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := tx.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s\n%x, want\n%x", what, b.Bytes(), want)
	}
}

// runScript runs an input through the script engine with all standardness rules. It checks no lock times against a
// chain; the engine itself holds them against the transaction.
func runScript(tx *wire.MsgTx, in int, prev *wire.TxOut) error {
	prevs := txscript.NewCannedPrevOutputFetcher(prev.PkScript, prev.Value)
	hashes := txscript.NewTxSigHashes(tx, prevs)
	e, err := txscript.NewEngine(prev.PkScript, tx, in, txscript.StandardVerifyFlags, nil, hashes, prev.Value, prevs)
	if err != nil {
		return err
	}
	return e.Execute()
}

func mustSpend(t *testing.T, tx *wire.MsgTx, in int, prev *wire.TxOut) {
	t.Helper()
	if err := runScript(tx, in, prev); err != nil {
		t.Errorf("input %d: %v", in, err)
	}
}
