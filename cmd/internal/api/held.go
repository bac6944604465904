package api

import (
	"context"
	"errors"

	"lightningrod/channel"
	"lightningrod/node"
)

// HTLCRef names an incoming HTLC.
type HTLCRef struct {
	Channel Number `path:"channel" doc:"number of the channel it came in by"`
	ID      Number `path:"htlc_id"`
}

// BoxPage is a page of a client's box.
type BoxPage struct {
	Page
	Client string `path:"client" hex:"33" doc:"node id"`
}

// LetterRef names an onion message in a box.
type LetterRef struct {
	Client string `path:"client" hex:"33" doc:"node id"`
	ID     Number `path:"id"`
}

// Letter is an onion message that waits for a client. What it says only the client can read.
type Letter struct {
	ID      Number `json:"id"`
	Client  string `json:"client"`
	From    string `json:"from,omitempty" doc:"the peer it came from; missing: this node"`
	Arrived string `json:"arrived_at" doc:"RFC 3339"`
	Bytes   int    `json:"bytes"`
	Quiet   bool   `json:"quiet" doc:"the client is not woken for it"`
}

// OwedID names a debt.
type OwedID struct {
	ID string `path:"id" max:"128" doc:"as in the list of debts"`
}

// Nudged is what a nudge did.
type Nudged struct {
	Devices int `json:"devices" doc:"how many are called"`
}

// FailHeld fails a held HTLC back, and with it its payment's other parts.
func (d *Daemon) FailHeld(in HTLCRef) error {
	err := d.Node.Decline(channel.Key{Channel: channel.ID(in.Channel), HTLC: uint64(in.ID)})
	if errors.Is(err, node.ErrNoHTLC) {
		return &Error{Code: NotFound, Field: "htlc_id", Message: err.Error()}
	}
	return err
}

// Letters lists a client's box.
func (d *Daemon) Letters(client string) []Letter {
	all := []Letter{}
	for _, l := range d.Node.Letters(nodeID(client)) {
		out := Letter{ID: Number(l.Seq), Client: client, Arrived: timeText(l.Arrived), Bytes: l.Bytes, Quiet: l.Quiet}
		if l.From != ([33]byte{}) {
			out.From = hexOf(l.From)
		}
		all = append(all, out)
	}
	return all
}

// DropLetter throws an onion message away.
func (d *Daemon) DropLetter(in LetterRef) error {
	err := d.Node.DropLetter(nodeID(in.Client), uint64(in.ID))
	if errors.Is(err, node.ErrNoLetter) {
		return &Error{Code: NotFound, Field: "id", Message: err.Error()}
	}
	return err
}

// Nudge wakes whom something is owed to.
func (d *Daemon) Nudge(in OwedID) (Nudged, error) {
	debts, err := d.Node.Owed()
	if err != nil {
		return Nudged{}, &Error{Code: Internal, Message: err.Error()}
	}
	for _, x := range debts {
		if owedID(x) == in.ID {
			n, err := d.Node.Nudge(x)
			return Nudged{n}, err
		}
	}
	return Nudged{}, &Error{Code: NotFound, Field: "id", Message: "nothing of this id is owed"}
}

// owedID names a debt for as long as it lasts.
func owedID(x node.Debt) string {
	switch x.Kind {
	case "message":
		return "message:" + hexOf(x.Peer)
	case "notification":
		return "notification:" + Number(x.ID).String()
	}
	return "htlc:" + Number(x.Key.Channel).String() + ":" + Number(x.Key.HTLC).String()
}

func listLetters(s *Server, _ context.Context, in BoxPage) (List[Letter], error) {
	return page(s.node.Letters(in.Client), in.Page, func(x Letter) string { return x.ID.String() })
}
