package onion

import (
	"encoding/binary"
	"errors"
	"fmt"

	sphinx "github.com/lightningnetwork/lightning-onion"
	"github.com/lightningnetwork/lnd/lnwire"
)

// BlindedPath is a way to a node that does not want to be known (BOLT 4 "Route Blinding"). First is the id of its first
// node, the introduction node. FirstSCID, if not nil, names that node instead, as an end of a channel; the caller then
// looks it up and sets First before the path is used.
type BlindedPath struct {
	First     [33]byte
	FirstSCID *SCIDDir
	PathKey   [33]byte // first_path_key
	Hops      []BlindedHop
}

// SCIDDir names a node as one end of an announced channel: node_id_1 for Direction 0, node_id_2 for 1.
type SCIDDir struct {
	Direction byte
	ID        lnwire.ShortChannelID
}

// BlindedHop is one node of a BlindedPath.
type BlindedHop struct {
	Node [33]byte // blinded_node_id
	Data []byte   // encrypted_recipient_data
}

// PathNode is a node of a path to be blinded, and what it will be told.
type PathNode struct {
	Node [33]byte
	Data EncryptedData
}

// NewBlindedPath blinds a path from its introduction node to its end, usually us. The session key becomes the first
// path_key. Every node's Data says where to go next; that of the last one is the caller's to recognise. The data of
// all nodes is padded to one length.
func NewBlindedPath(session [32]byte, nodes []PathNode) (BlindedPath, error) {
	if len(nodes) == 0 || len(nodes) > maxHops {
		return BlindedPath{}, fmt.Errorf("blinded path of %d nodes, 1 to %d", len(nodes), maxHops)
	}
	key, err := sessionKey(session)
	if err != nil {
		return BlindedPath{}, err
	}
	data := make([]EncryptedData, len(nodes))
	for i := range nodes {
		data[i] = nodes[i].Data
	}
	pad(data)
	infos := make([]*sphinx.HopInfo, len(nodes))
	for i := range nodes {
		node, err := parseNode(nodes[i].Node)
		if err != nil {
			return BlindedPath{}, err
		}
		plain, err := data[i].Encode()
		if err != nil {
			return BlindedPath{}, fmt.Errorf("encrypted_data_tlv of node %d: %w", i, err)
		}
		infos[i] = &sphinx.HopInfo{NodePub: node, PlainText: plain}
	}
	made, err := sphinx.BuildBlindedPath(key, infos)
	if err != nil {
		return BlindedPath{}, fmt.Errorf("blind path: %w", err)
	}
	path := BlindedPath{First: nodes[0].Node, PathKey: serialize(key.PubKey())}
	for _, hop := range made.Path.BlindedHops {
		path.Hops = append(path.Hops, BlindedHop{serialize(hop.BlindedNodePub), hop.CipherText})
	}
	return path, nil
}

// PathTo is the blinded path over nodes whose ids are known, each told the id of the next and the last one told last.
func PathTo(session [32]byte, nodes [][33]byte, last EncryptedData) (BlindedPath, error) {
	route := make([]PathNode, len(nodes))
	for i := range nodes {
		route[i] = PathNode{Node: nodes[i], Data: last}
		if i+1 < len(nodes) {
			route[i].Data = EncryptedData{NextNode: &nodes[i+1]}
		}
	}
	return NewBlindedPath(session, route)
}

// JoinPath puts our own route to the first node of a blinded path before it, so that a message can go the whole way:
// nodes are those between us and path.First, without either. The last of them is told to go on with the path's own
// path_key. Without nodes the path is returned as it is, for us to send to path.First. For an onion message only; a
// payment reaches the first node of its path by an ordinary route.
func JoinPath(session [32]byte, nodes [][33]byte, path BlindedPath) (BlindedPath, error) {
	if len(nodes) == 0 {
		return path, nil
	}
	if path.First == [33]byte{} {
		return BlindedPath{}, errors.New("first node of the blinded path is not known by its id")
	}
	joined, err := PathTo(session, nodes, EncryptedData{NextNode: &path.First, NextPathKeyOverride: &path.PathKey})
	if err != nil {
		return BlindedPath{}, err
	}
	joined.Hops = append(joined.Hops, path.Hops...)
	return joined, nil
}

// Advance takes the first step of a blinded path whose first node is us, since an onion does not come back to its
// sender. It returns the path from the next node on and what our step was told: the caller acts on it as if it had
// come in a message. First of the returned path is zero if only a channel names the next node (ShortChannelID).
func (k *Router) Advance(path BlindedPath) (BlindedPath, EncryptedData, error) {
	shared, err := k.pathSecret(path.PathKey[:])
	if err != nil {
		return BlindedPath{}, EncryptedData{}, err
	}
	if len(path.Hops) == 0 || serialize(shared.blind(k.key).PubKey()) != path.Hops[0].Node {
		return BlindedPath{}, EncryptedData{}, errors.New("blinded path does not begin with us")
	}
	return k.firstStep(path, shared)
}

// firstStep opens the data of a path's first node, and gives the path from the next one on.
func (k *Router) firstStep(path BlindedPath, shared *pathSecret) (BlindedPath, EncryptedData, error) {
	if len(path.Hops) < 2 {
		return BlindedPath{}, EncryptedData{}, fmt.Errorf("blinded path of %d nodes ends with us", len(path.Hops))
	}
	data, err := k.readData(shared, path.Hops[0].Data)
	if err != nil {
		return BlindedPath{}, EncryptedData{}, err
	}
	next := BlindedPath{PathKey: shared.next(data), Hops: path.Hops[1:]}
	switch {
	case data.PathID != nil:
		return BlindedPath{}, EncryptedData{}, errors.New("encrypted_data_tlv has a path_id before the end of the path")
	case data.NextNode != nil:
		next.First = *data.NextNode
	case data.ShortChannelID == nil:
		return BlindedPath{}, EncryptedData{}, errors.New("encrypted_data_tlv names no next node")
	}
	return next, *data, nil
}

// Encode writes the path as the subtype blinded_path of BOLT 4.
func (p BlindedPath) Encode() ([]byte, error) {
	if len(p.Hops) == 0 || len(p.Hops) > 255 {
		return nil, fmt.Errorf("blinded_path of %d hops, 1 to 255", len(p.Hops))
	}
	size := 33 + 33 + 1
	for i, hop := range p.Hops {
		if len(hop.Data) > 65535 {
			return nil, fmt.Errorf("encrypted_recipient_data of hop %d has %d bytes, maximum 65535", i, len(hop.Data))
		}
		size += 33 + 2 + len(hop.Data)
	}
	b := make([]byte, 0, size)
	switch s := p.FirstSCID; {
	case s == nil && p.First == [33]byte{}:
		return nil, errors.New("blinded_path without first_node_id")
	case s == nil:
		b = append(b, p.First[:]...)
	case s.Direction > 1:
		return nil, fmt.Errorf("first_node_id at end %d of a channel, maximum 1", s.Direction)
	default:
		b = binary.BigEndian.AppendUint64(append(b, s.Direction), s.ID.ToUint64())
	}
	b = append(b, p.PathKey[:]...)
	b = append(b, byte(len(p.Hops)))
	for _, hop := range p.Hops {
		b = append(b, hop.Node[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(hop.Data)))
		b = append(b, hop.Data...)
	}
	return b, nil
}

// DecodeBlindedPath reads what Encode writes, all of b. Slices of the result share the memory of b.
func DecodeBlindedPath(b []byte) (BlindedPath, error) {
	c := cursor{b: b}
	p := c.blindedPath()
	if c.end(); c.bad != "" {
		return BlindedPath{}, fmt.Errorf("blinded_path %s", c.bad)
	}
	return p, nil
}

func (c *cursor) blindedPath() (p BlindedPath) {
	// BOLT 1 "Fundamental Types": a sciddir_or_pubkey says by its first byte which it is.
	if len(c.b) > 0 && c.b[0] <= 1 {
		p.FirstSCID = &SCIDDir{byte(c.uint(1)), c.shortChannelID()}
	} else {
		p.First = c.point()
	}
	p.PathKey = c.point()
	n := int(c.uint(1))
	if c.bad == "" && n == 0 {
		c.fail("has no hops")
	}
	if n*(33+2) > len(c.b) {
		c.fail("has %d bytes for %d hops", len(c.b), n)
	}
	if c.bad != "" {
		return BlindedPath{}
	}
	p.Hops = make([]BlindedHop, n)
	for i := range p.Hops {
		p.Hops[i] = BlindedHop{c.point(), c.bytes(int(c.uint(2)))}
	}
	return p
}
