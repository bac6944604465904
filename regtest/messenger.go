package regtest

import (
	"context"

	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Messenger is a node that sends onion messages which others have made, and shows those that arrive.
type Messenger interface {
	Node
	// SendMessage sends over these nodes, the first of which is a peer. It does not wait for anything.
	SendMessage(path []onion.PathNode, p onion.MessagePayload) error
	// OnionMessages calls f with the records, by type, of every onion message that ends here from some moment on, until ctx ends or f returns
	// false.
	OnionMessages(ctx context.Context, f func(records map[string][]byte) bool) error
}

var (
	_ Messenger = (*Lnd)(nil)
	_ Messenger = (*Cln)(nil)
)

// BlindedPath is one over these nodes, with a random key.
func BlindedPath(nodes []onion.PathNode) (onion.BlindedPath, error) {
	return onion.NewBlindedPath([32]byte(random32()), nodes)
}

func buildMessage(path []onion.PathNode, p onion.MessagePayload) (*lnwire.OnionMessage, error) {
	blinded, err := BlindedPath(path)
	if err != nil {
		return nil, err
	}
	return onion.BuildMessage([32]byte(random32()), blinded, p)
}
