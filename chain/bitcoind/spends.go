package bitcoind

import (
	"sync"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// maxSpends bounds what spends remembers. Beyond, it begins anew: it only saves questions and names conflicts.
const maxSpends = 20_000

// spends remembers which confirmed transactions spend the inputs of those that were published here. bitcoind cannot tell once all
// outputs of such a transaction are spent, unless it has an index of transactions.
type spends struct {
	mu sync.Mutex
	by map[wire.OutPoint]spender // zero: not seen
}

type spender struct {
	txid   chainhash.Hash
	height uint32
	block  chainhash.Hash
}

func newSpends() spends { return spends{by: map[wire.OutPoint]spender{}} }

// watch notes the inputs of a transaction that is to be published.
func (s *spends) watch(tx *wire.MsgTx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.by) > maxSpends {
		clear(s.by)
	}
	for _, in := range tx.TxIn {
		if _, ok := s.by[in.PreviousOutPoint]; !ok {
			s.by[in.PreviousOutPoint] = spender{}
		}
	}
}

// connect looks through a block that is read.
func (s *spends) connect(b chain.Block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.by) == 0 {
		return
	}
	for _, tx := range b.Txs {
		for _, in := range tx.TxIn {
			if _, ok := s.by[in.PreviousOutPoint]; ok {
				s.by[in.PreviousOutPoint] = spender{txid: tx.TxHash(), height: b.Height, block: b.Hash}
			}
		}
	}
}

func (s *spends) spender(out wire.OutPoint) (spender, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := s.by[out]
	return by, by != (spender{})
}
