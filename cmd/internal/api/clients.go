package api

import (
	"context"
	"encoding/hex"
	"errors"

	"lightningrod/node"
)

// ClientInfo is a node that has a channel with this LSP, or can be woken by it.
type ClientInfo struct {
	ID        string `json:"id"`
	Connected bool   `json:"connected"`
	Seen      string `json:"last_seen,omitempty" doc:"RFC 3339; when it last connected or left"`
	Channels  int    `json:"channels"`
	Webhooks  int    `json:"webhooks"`
	Woken     string `json:"last_woken,omitempty" doc:"RFC 3339"`
	Wakes     uint32 `json:"wakes" doc:"notifications since it was last seen"`
	Held      int    `json:"held" doc:"HTLCs of payments it makes that wait for their payee"`
	HeldMsat  uint64 `json:"held_msat"`
	Owed      int    `json:"owed" doc:"HTLCs whose outcome it does not have yet"`
	OwedMsat  uint64 `json:"owed_msat"`
	Messages  int    `json:"messages" doc:"onion messages that wait for it"`
	Bytes     int    `json:"message_bytes"`
}

type ClientID struct {
	ID string `path:"id" hex:"33" doc:"node id"`
}

// Webhook is a way to wake a client.
type Webhook struct {
	ID       string `json:"id"`
	Client   string `json:"client"`
	Name     string `json:"app_name"`
	Platform string `json:"platform" doc:"webhook, fcm or apns"`
	Host     string `json:"host,omitempty" doc:"of a webhook; the rest of its URL is the client's secret"`
	LSPS5    bool   `json:"lsps5" doc:"registered by lsps5.set_webhook"`
}

type WebhookID struct {
	ID string `path:"id" hex:"8"`
}

// Owed is something that is decided, and that its receiver does not have yet.
type Owed struct {
	ID      string `json:"id"`
	Kind    string `json:"kind" doc:"preimage, failure, message or notification"`
	Peer    string `json:"peer" doc:"whom it is owed to"`
	Here    bool   `json:"connected"`
	Channel Number `json:"channel,omitempty" doc:"of an HTLC"`
	HTLC    uint64 `json:"htlc_id"`
	Hash    string `json:"payment_hash,omitempty"`
	Amount  uint64 `json:"amount_msat,omitempty"`
	Expiry  uint32 `json:"cltv_expiry,omitempty"`
	Claim   uint32 `json:"claim_height,omitempty" doc:"of a preimage: when the channel is closed to claim it on chain"`
	Left    int64  `json:"blocks_left,omitempty" doc:"to claim_height"`
	Count   int    `json:"count,omitempty" doc:"of messages"`
	Method  string `json:"method,omitempty" doc:"of a notification"`
	Since   string `json:"since,omitempty" doc:"RFC 3339; of messages and notifications"`
}

func (d *Daemon) Clients() []ClientInfo {
	all := []ClientInfo{}
	for _, c := range d.Node.Clients() {
		all = append(all, ClientInfo{
			ID: hexOf(c.ID), Connected: c.Connected, Seen: timeText(c.Seen), Channels: c.Channels, Webhooks: c.Devices, Woken: timeText(c.Woken),
			Wakes: c.Wakes, Held: c.Held, HeldMsat: c.HeldMsat, Owed: c.Owed, OwedMsat: c.OwedMsat, Messages: c.Messages, Bytes: c.Bytes,
		})
	}
	return all
}

func (d *Daemon) Webhooks() []Webhook {
	all := []Webhook{}
	for _, w := range d.Node.Webhooks() {
		all = append(all, Webhook{ID: w.ID, Client: hexOf(w.Client), Name: w.Name, Platform: w.Platform, Host: w.Host, LSPS5: w.LSPS5})
	}
	return all
}

func (d *Daemon) RemoveWebhook(in WebhookID) error {
	err := d.Node.RemoveWebhook(in.ID)
	if errors.Is(err, node.ErrNoWebhook) {
		return &Error{Code: NotFound, Field: "id", Message: err.Error()}
	}
	return err
}

func (d *Daemon) Owed() ([]Owed, error) {
	debts, err := d.Node.Owed()
	height := d.Node.Tip()
	all := []Owed{}
	for _, x := range debts {
		out := Owed{ID: owedID(x), Kind: x.Kind, Peer: hexOf(x.Peer), Here: x.Here, Count: x.Count, Method: x.Method, Since: timeText(x.Since)}
		if x.Kind == "preimage" || x.Kind == "failure" {
			out.Channel, out.HTLC, out.Hash = Number(x.Key.Channel), x.Key.HTLC, hex.EncodeToString(x.Hash[:])
			out.Amount, out.Expiry, out.Claim = x.Msat, x.Expiry, x.Claim
			if x.Claim != 0 {
				out.Left = int64(x.Claim) - int64(height)
			}
		}
		all = append(all, out)
	}
	return all, err
}

func listOwed(s *Server, _ context.Context, p Page) (List[Owed], error) {
	all, err := s.node.Owed()
	if err != nil {
		return List[Owed]{}, &Error{Code: Internal, Message: err.Error()}
	}
	return page(all, p, func(x Owed) string { return x.ID })
}

func oneClient(s *Server, _ context.Context, in ClientID) (ClientInfo, error) {
	for _, c := range s.node.Clients() {
		if c.ID == in.ID {
			return c, nil
		}
	}
	return ClientInfo{}, &Error{Code: NotFound, Field: "id", Message: "no such client"}
}
