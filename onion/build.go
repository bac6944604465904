package onion

import (
	"fmt"

	sphinx "github.com/lightningnetwork/lightning-onion"
)

// Build makes the onion of a payment with the payment hash over the hops, and what is needed to read the failures that
// come back. The hops' Amount and Cltv are what each of them is to forward, those of the last what it is to get.
func Build(session [32]byte, hops []PayHop, hash [32]byte) (packet [1366]byte, secrets Secrets, err error) {
	layers := make([]layer, len(hops))
	nodes := make([][33]byte, len(hops))
	for i := range hops {
		stream, err := hops[i].payload(i == len(hops)-1)
		if err != nil {
			return packet, Secrets{}, fmt.Errorf("payload of hop %d: %w", i, err)
		}
		nodes[i], layers[i] = hops[i].Node, layer{hops[i].Node, stream}
	}
	wire, err := buildPacket(session, layers, hash[:], hopPayloadSize)
	if err != nil {
		return packet, Secrets{}, err
	}
	copy(packet[:], wire)
	return packet, SecretsOf(session, nodes), nil
}

// layer is one hop's part of an onion.
type layer struct {
	node   [33]byte
	stream []byte // the payload
}

// layersSize is the room that the payloads take, each with its length and HMAC.
func layersSize(layers []layer) int {
	n := 0
	for _, l := range layers {
		n += bigSizeLen(uint64(len(l.stream))) + len(l.stream) + sphinx.HMACSize
	}
	return n
}

// buildPacket makes an onion packet whose payloads have size bytes.
func buildPacket(session [32]byte, layers []layer, associated []byte, size int) ([]byte, error) {
	if len(layers) == 0 || len(layers) > maxHops {
		return nil, fmt.Errorf("onion of %d hops, 1 to %d", len(layers), maxHops)
	}
	if n := layersSize(layers); n > size {
		return nil, fmt.Errorf("onion payloads of %d bytes, maximum %d", n, size)
	}
	key, err := sessionKey(session)
	if err != nil {
		return nil, err
	}
	path := new(sphinx.PaymentPath)
	for i, l := range layers {
		node, err := parseNode(l.node)
		if err != nil {
			return nil, fmt.Errorf("hop %d: %w", i, err)
		}
		payload := sphinx.HopPayload{Type: sphinx.PayloadTLV, Payload: l.stream}
		path[i] = sphinx.OnionHop{NodePub: *node, HopPayload: payload}
	}
	packet, err := sphinx.NewOnionPacket(
		path, key, associated, sphinx.DeterministicPacketFiller, sphinx.WithMaxPayloadSize(size),
	)
	if err != nil {
		return nil, fmt.Errorf("build onion: %w", err)
	}
	return appendPacket(make([]byte, 0, 66+size), packet), nil
}
