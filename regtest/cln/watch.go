package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// hodl is a payment that waits here until it is settled, or about to expire.
type hodl struct {
	htlcs  int
	expiry uint32        // height, of the first of them; 0: none is here
	late   bool          // it has waited too long, and fails
	over   chan struct{} // closed when it waits no longer
}

// margin is how many blocks before its expiry an HTLC is failed, so that its sender need not close the channel.
const margin = 12

// hash reads the payment hash that a command is about.
func hash(params json.RawMessage) (string, error) {
	var in struct {
		Hash string `json:"payment_hash"`
	}
	err := json.Unmarshal(params, &in)
	return in.Hash, err
}

// hodl has the HTLCs of a payment wait.
func (p *plugin) hodl(params json.RawMessage) (any, error) {
	h, err := hash(params)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hodls[h] = &hodl{over: make(chan struct{})}
	return struct{}{}, nil
}

// waiting says how many of its HTLCs wait.
func (p *plugin) waiting(params json.RawMessage) (any, error) {
	h, err := hash(params)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	if x := p.hodls[h]; x != nil {
		n = x.htlcs
	}
	return map[string]int{"htlcs": n}, nil
}

// settle lets go of them: lightningd then finds the invoice.
func (p *plugin) settle(params json.RawMessage) (any, error) {
	h, err := hash(params)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.hodls[h]; x != nil {
		delete(p.hodls, h)
		close(x.over)
	}
	return struct{}{}, nil
}

// blockAdded fails what has waited too long.
func (p *plugin) blockAdded(params json.RawMessage) error {
	var in struct{ Height uint32 }
	if err := json.Unmarshal(params, &in); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.height = in.Height
	for h, x := range p.hodls {
		if x.expiry != 0 && in.Height+margin >= x.expiry {
			delete(p.hodls, h)
			x.late = true
			close(x.over)
		}
	}
	return nil
}

// accepted is asked of every HTLC that is irrevocably committed, forwarded ones too.
func (p *plugin) accepted(params json.RawMessage) (any, error) {
	var in struct {
		HTLC struct {
			Hash   string `json:"payment_hash"`
			Msat   uint64 `json:"amount_msat"`
			Expiry uint32 `json:"cltv_expiry"`
		}
	}
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.hodls[in.HTLC.Hash]
	if x == nil {
		return goOn, nil
	}
	x.htlcs++
	if x.expiry == 0 || in.HTLC.Expiry < x.expiry {
		x.expiry = in.HTLC.Expiry
	}
	p.mu.Unlock()
	<-x.over
	p.mu.Lock()
	if !x.late {
		return goOn, nil
	}
	const incorrectOrUnknownPaymentDetails = 0x400f // BOLT 4 "Failure Messages": with the amount and the height
	reason := fmt.Sprintf("%04x%016x%08x", incorrectOrUnknownPaymentDetails, in.HTLC.Msat, p.height)
	return map[string]string{"result": "fail", "failure_message": reason}, nil
}

// goOn is the answer to a hook that changes nothing.
var goOn = map[string]string{"result": "continue"}

// failure is how an HTLC failed.
type failure struct {
	Code int `json:"code"` // failure_code of BOLT 4; 0: it did not
	Hop  int `json:"hop"`  // who says so, 1 being the first node after the payer; 0: the payer itself
}

// part is what lightningd's payer tells of an HTLC. The hops are there when it begins.
type part struct {
	Hash   string `json:"payment_hash"`
	Status string
	Hops   []struct {
		Node string `json:"next_node"`
	}
	From string `json:"failed_node_id"`
	Code int    `json:"error_code"`
}

func (p *plugin) partBegins(params json.RawMessage) error {
	var x part
	if err := json.Unmarshal(params, &x); err != nil {
		return err
	}
	var nodes []string
	for _, h := range x.Hops {
		nodes = append(nodes, h.Node)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes[x.Hash] = nodes
	return nil
}

func (p *plugin) partEnds(params json.RawMessage) error {
	var x part
	if err := json.Unmarshal(params, &x); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.Status == "failure" {
		p.failures[x.Hash] = failure{x.Code, 1 + slices.Index(p.routes[x.Hash], x.From)}
	}
	return nil
}

// failure is that of the last HTLC of a payment.
func (p *plugin) failure(params json.RawMessage) (any, error) {
	h, err := hash(params)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failures[h], nil
}

// jsonBytes are written as hex.
type jsonBytes []byte

func (b jsonBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *jsonBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// arrived is asked of every onion message for this node.
func (p *plugin) arrived(params json.RawMessage) (any, error) {
	var in struct {
		Message struct {
			Fields []struct {
				Number uint64
				Value  jsonBytes
			} `json:"unknown_fields"`
		} `json:"onion_message"`
	}
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, err
	}
	records := map[string]jsonBytes{}
	for _, f := range in.Message.Fields {
		records[strconv.FormatUint(f.Number, 10)] = f.Value
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, records)
	return goOn, nil
}

// arrivals are all that came, by the types of their records that lightningd does not know.
func (p *plugin) arrivals(json.RawMessage) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return map[string]any{"messages": slices.Clone(p.messages)}, nil
}

// custom is a peer message of a type that lightningd does not know.
type custom struct {
	Peer    string `json:"peer_id"`
	Payload string `json:"payload"` // hex, with the type
}

func (p *plugin) received(params json.RawMessage) (any, error) {
	var m custom
	if err := json.Unmarshal(params, &m); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.custom = append(p.custom, m)
	return goOn, nil
}

// receipts are all that came.
func (p *plugin) receipts(json.RawMessage) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return map[string]any{"messages": slices.Clone(p.custom)}, nil
}
