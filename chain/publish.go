package chain

import (
	"errors"
	"fmt"
)

// What a backend says of a transaction that it does not take. Each of them wraps ErrRejected and is itself wrapped by an error with
// the backend's reason. A transaction that is confirmed, or in the mempool already, is not an error. None of them means that
// the transaction is lost for good: only a conflict that is confirmed deep enough does, and the Tracker tells that.
var (
	// ErrRejected: consensus or policy refuses it.
	ErrRejected = errors.New("transaction rejected")
	// ErrConflict: another transaction, in a block or in the mempool, spends one of its inputs and is not replaced by it.
	ErrConflict = fmt.Errorf("%w: conflict", ErrRejected)
	// ErrMissingInputs: it spends an output of a transaction that the backend does not know (yet).
	ErrMissingInputs = fmt.Errorf("%w: missing inputs", ErrRejected)
	// ErrPremature: a lock time, a relative lock or the maturity of a coinbase is not reached; try again at a later block.
	ErrPremature = fmt.Errorf("%w: premature", ErrRejected)
	// ErrFeeTooLow: it pays less than is relayed.
	ErrFeeTooLow = fmt.Errorf("%w: fee too low", ErrRejected)
)
