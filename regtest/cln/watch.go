package main

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
)

// hodl is a payment that waits here until it is settled.
type hodl struct {
	htlcs   int
	settled chan struct{} // closed then
}

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
	p.hodls[h] = &hodl{settled: make(chan struct{})}
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
		close(x.settled)
	}
	return struct{}{}, nil
}

// accepted is asked of every HTLC that is irrevocably committed, forwarded ones too.
func (p *plugin) accepted(params json.RawMessage) (any, error) {
	var in struct{ HTLC json.RawMessage }
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, err
	}
	h, err := hash(in.HTLC)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	x := p.hodls[h]
	if x != nil {
		x.htlcs++
	}
	p.mu.Unlock()
	if x != nil {
		<-x.settled
	}
	return goOn, nil
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

// told is a notification of lightningd's payer, which is a plugin too.
func told(params json.RawMessage) (part, error) {
	var in struct{ Payload part }
	err := json.Unmarshal(params, &in)
	return in.Payload, err
}

func (p *plugin) partBegins(params json.RawMessage) error {
	x, err := told(params)
	if err != nil {
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
	x, err := told(params)
	if err != nil {
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
