package regtest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"lightningrod/chain/embedded"
	"lightningrod/regtest"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/database"
	_ "github.com/btcsuite/btcd/database/ffldb" // the embedded chain's
	"github.com/btcsuite/btcd/wire"
)

// TestEmbeddedChainIsValid has bitcoind judge every block of an embedded chain that holds the kinds of spends that channels make, and that was
// reorganised.
func TestEmbeddedChainIsValid(t *testing.T) {
	btc := regtest.Bitcoind(t)
	r := newRecorder(t)
	r.mine(101)
	s := spender{t: t, chain: r.chain}
	s.publish(s.funding())
	r.mine(1)
	s.publish(s.commitment())
	r.mine(1)
	s.publish(s.keySpend(), s.leafSpend(), s.htlcTimeout(r.height()))
	r.mine(delay - 1)
	s.publish(s.delayedSpend(delay))
	r.mine(3)
	if left := len(r.chain.Mempool()); left > 0 {
		t.Fatalf("%d transactions are not mined", left)
	}
	if err := r.chain.Reorg(2 + delay); err != nil {
		t.Fatal(err)
	}
	r.mine(3 + delay)
	height, tip := r.chain.Tip()

	if _, genesis := btc.Tip(); genesis != *r.chain.Params().GenesisHash {
		t.Fatalf("genesis block %v, the embedded chain has %v", genesis, r.chain.Params().GenesisHash)
	}
	r.submit(btc)
	if h, got := btc.Tip(); got != tip || h != height {
		t.Fatalf("tip %d %v, the embedded chain has %d %v", h, got, height, tip)
	}
}

// TestRefusals has both judge transactions that break a rule.
func TestRefusals(t *testing.T) {
	btc := regtest.Bitcoind(t)
	r := newRecorder(t)
	r.mine(101)
	s := spender{t: t, chain: r.chain}
	s.publish(s.funding())
	r.mine(1)
	s.publish(s.commitment())
	r.mine(delay - 1)

	// In the next block one block is missing of what the script wants: to say less fails there, to say it fails in time.
	short, early := s.delayedSpend(delay-1), s.delayedSpend(delay)
	altered := s.keySpend()
	altered.TxOut[0].Value--
	ahead := s.htlcTimeout(r.height() + 2)
	bad := []struct {
		name   string
		tx     *wire.MsgTx
		reason string // bitcoind's
	}{
		{"short delay", short, "script-verify-flag-failed"},
		{"early", early, "bad-txns-nonfinal"},
		{"altered", altered, "script-verify-flag-failed"},
		{"lock time ahead", ahead, "bad-txns-nonfinal"},
	}
	for _, tc := range bad {
		if _, err := r.chain.MineTxs(nil, tc.tx); err == nil {
			t.Errorf("%s: the embedded chain mines it", tc.name)
		}
	}
	good := s.keySpend()
	r.submit(btc)
	for _, tc := range bad {
		err := btc.Client.Call(context.Background(), nil, "generateblock", "raw(51)", []string{regtest.Hex(tc.tx)})
		if err == nil || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: bitcoind says %v, want %s", tc.name, err, tc.reason)
		}
	}
	btc.MineTxs([]byte{0x51}, good)
}

// recorder is an embedded chain whose blocks are handed to another validator, in the order in which they were mined.
type recorder struct {
	t      *testing.T
	dir    string
	chain  *embedded.Chain
	blocks []chainhash.Hash
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	dir := t.TempDir()
	c, err := embedded.New(embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &recorder{t: t, dir: dir, chain: c}
}

func (r *recorder) height() uint32 {
	height, _ := r.chain.Tip()
	return height
}

func (r *recorder) mine(n int) {
	r.t.Helper()
	hashes, err := r.chain.Mine(n, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.blocks = append(r.blocks, hashes...)
}

// submit closes the chain, reads the blocks from its files and submits them to btc, which must take all.
func (r *recorder) submit(btc *regtest.Bitcoin) {
	r.t.Helper()
	if err := r.chain.Close(); err != nil {
		r.t.Fatal(err)
	}
	db, err := database.Open("ffldb", filepath.Join(r.dir, "blocks"), r.chain.Params().Net)
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	for i, h := range r.blocks {
		var raw []byte
		err := db.View(func(tx database.Tx) error {
			b, err := tx.FetchBlock(&h)
			raw = bytes.Clone(b)
			return err
		})
		if err != nil {
			r.t.Fatal(err)
		}
		var refusal *string // stays nil when the block is taken
		if err := btc.Client.Call(context.Background(), &refusal, "submitblock", hex.EncodeToString(raw)); err != nil {
			r.t.Fatal(err)
		}
		// "inconclusive": on a branch that is not longer, so not judged yet. The tip tells in the end.
		if refusal != nil && *refusal != "inconclusive" {
			r.t.Fatalf("block %v, number %d: bitcoind says %s", h, i+1, *refusal)
		}
	}
}
